//! What a person sees: records on standard output, notices on standard error.

use std::{
    borrow::Cow,
    fmt,
    io::{self, IsTerminal, Write},
};

use crate::client::{Envelope, Frame, Incoming};

const DIM: &str = "\x1b[2m";
const BOLD: &str = "\x1b[1m";
const RED: &str = "\x1b[31m";
const RESET: &str = "\x1b[0m";
/// Readable on dark and light backgrounds.
const INSTANCE_COLOURS: [&str; 6] = ["\x1b[32m", "\x1b[33m", "\x1b[34m", "\x1b[35m", "\x1b[36m", "\x1b[91m"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Plain,
    Colour,
}

impl Style {
    fn of(stream: &impl IsTerminal) -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if stream.is_terminal() && !unwanted { Self::Colour } else { Self::Plain }
    }

    fn paint<'a>(self, colour: &str, text: impl Into<Cow<'a, str>>) -> Cow<'a, str> {
        match self {
            Self::Plain => text.into(),
            Self::Colour => format!("{colour}{}{RESET}", text.into()).into(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Form {
    Person(Style),
    Json,
}

/// Writes frames for a person or as they came.
#[derive(Debug)]
pub struct Printer {
    form: Form,
    notices: Style,
}

impl Printer {
    /// One line a record, in colour on a terminal.
    pub fn for_person() -> Self {
        Self { form: Form::Person(Style::of(&io::stdout())), notices: Style::of(&io::stderr()) }
    }

    /// The node's messages as they are, one a line.
    pub fn json() -> Self {
        Self { form: Form::Json, notices: Style::of(&io::stderr()) }
    }

    /// One message of the node, with what is to be thought of it.
    pub fn frame(&self, frame: &Frame, note: Option<&str>) -> io::Result<()> {
        match self.form {
            Form::Json => line(&on_one_line(&frame.text)),
            Form::Person(style) => {
                if let Incoming::Record(place) = &frame.message {
                    let note = note.map(|note| format!("  [{}]", style.paint(DIM, harmless(note)))).unwrap_or_default();
                    return line(&(record(style, place.seq, &frame.envelope) + &note));
                }
                if let Some(text) = notice(frame) {
                    eprintln!("{}", self.notices.paint(DIM, format!("-- {}", harmless(&text))));
                }
                Ok(())
            }
        }
    }

    /// Something that the person should know.
    pub fn trouble(&self, what: fmt::Arguments<'_>) {
        eprintln!("{} {}", self.notices.paint(RED, "continuum:"), harmless(&what.to_string()));
    }
}

fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

fn record(style: Style, seq: u64, envelope: &Envelope) -> String {
    let time = envelope.timestamp.get(11..19).unwrap_or("--:--:--");
    let colour = envelope.instance_id.bytes().fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    format!(
        "{}  {}  {}  {}  {}",
        style.paint(DIM, format!("{seq:>6}")),
        style.paint(DIM, harmless(time)),
        style.paint(INSTANCE_COLOURS[colour % INSTANCE_COLOURS.len()], harmless(&envelope.instance_id)),
        style.paint(BOLD, harmless(&envelope.event_type)),
        harmless(&on_one_line(envelope.data.get())),
    )
}

fn notice(frame: &Frame) -> Option<String> {
    let who = |field: &str| {
        let data: serde_json::Value = serde_json::from_str(frame.envelope.data.get()).ok()?;
        Some(data.get(field)?.as_str()?.to_owned())
    };
    Some(match &frame.message {
        Incoming::Ready(ready) => format!(
            "joined: the room stands at {}, {} missed, {} here",
            ready.position, ready.resume.missed, ready.instances_total
        ),
        Incoming::Resync(resync) => {
            format!("the cursor could not be honoured ({}); all that the room holds follows", resync.reason)
        }
        Incoming::CaughtUp(at) => format!("caught up at {}", at.position),
        Incoming::Lagging => "reading too slowly; what is missing follows".to_owned(),
        Incoming::Queued(_) => "queued: the log is out of reach, the node keeps it and stores it by itself".to_owned(),
        Incoming::Stored(stored) => format!("stored: what was queued stands at {}", stored.seq),
        Incoming::Draining(_) => "the node is going away".to_owned(),
        Incoming::Error(error) => format!("{} ({})", error.message, error.code),
        Incoming::Other => match frame.envelope.event_type.as_str() {
            "instance_joined" => format!("{} joined", who("instance_id")?),
            "instance_left" => format!("{} left ({})", who("instance_id")?, who("reason")?),
            "presence_changed" | "sync_response" => {
                format!("{} {}", frame.envelope.event_type, on_one_line(frame.envelope.data.get()))
            }
            _ => return None,
        },
        Incoming::Record(_) | Incoming::Advance(_) | Incoming::Heartbeat | Incoming::Ack(_) | Incoming::Fate(_) => {
            return None;
        }
    })
}

/// Line breaks in JSON stand only between tokens, where a space means the same.
fn on_one_line(json: &str) -> Cow<'_, str> {
    if json.contains(['\n', '\r']) { json.replace(['\n', '\r'], " ").into() } else { json.into() }
}

/// What others wrote must not steer this person's terminal.
fn harmless(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_control) {
        text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect::<String>().into()
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(data: &str) -> Frame {
        let text = format!(
            r#"{{"event_type":"note","seq":22,"prev":21,"event_id":"11111111-1111-4111-8111-111111111111",
            "timestamp":"2025-12-06T10:00:07.000Z","instance_id":"claude-1","data":{data}}}"#
        );
        Frame::parse(text.into()).expect("a record")
    }

    #[test]
    fn a_record_is_one_line_of_seq_time_instance_type_and_data() {
        let frame = frame("{\"a\":\n 1}");
        assert_eq!(record(Style::Plain, 22, &frame.envelope), "    22  10:00:07  claude-1  note  {\"a\":  1}");
        assert!(record(Style::Colour, 22, &frame.envelope).contains("\x1b[1mnote\x1b[0m"));
    }

    #[test]
    fn what_was_queued_and_then_stored_is_told() {
        let told = |text: String| notice(&Frame::parse(text.into()).expect("a message")).expect("a notice");
        let id = r#""event_id":"11111111-1111-4111-8111-111111111111""#;
        let queued = format!(r#"{{"event_type":"queued","data":{{{id}}}}}"#);
        assert!(told(queued).starts_with("queued: "));
        let stored = format!(r#"{{"event_type":"stored","data":{{{id},"seq":22}}}}"#);
        assert!(told(stored).ends_with("stands at 22"));
    }

    #[test]
    fn what_others_wrote_cannot_steer_the_terminal() {
        let frame = frame("\"\u{9b}2J\"");
        assert!(record(Style::Plain, 22, &frame.envelope).ends_with("\"\u{fffd}2J\""));
    }
}
