//! Query parameters, turned into checked values.

use std::{borrow::Cow, collections::HashMap, sync::Arc, time::Duration};

use uuid::Uuid;

use super::door;
use crate::{
    actors::{
        outlet::{Echo, Options},
        session::Request,
    },
    auth::{Bearer, Grant, claims::NAME_BYTES},
    model::{IdError, InstanceId, TenantId, chaos::Affinity, filter::TypeFilter, resume::Since},
    wire::{Code, Deltas, Encoding, Envelope, Refusal, Variant, encoding::DEFLATE_RAW},
};

/// Greatest number of capabilities, and of bytes in each.
const CAPABILITIES: usize = 32;
const CAPABILITY_BYTES: usize = 64;
/// The tenant of clients that name none, where nobody has to prove anything.
pub(super) const DEFAULT_TENANT: &str = "default";
/// The longest that an answer may be waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A query string by name; of a repeated name the first counts.
pub(super) struct Parameters<'a>(HashMap<Cow<'a, str>, Cow<'a, str>>);

impl<'a> Parameters<'a> {
    pub(super) fn read(query: &'a str) -> Self {
        let mut parameters = HashMap::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            parameters.entry(name).or_insert(value);
        }
        Self(parameters)
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| &**value)
    }

    /// A whole number within bounds.
    pub(super) fn number(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>, Refusal> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match text.parse() {
            Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => Err(wrong(format!("'{name}' must be a whole number from {least} to {most}"))),
        }
    }

    /// Something that is off unless it is asked for.
    pub(super) fn switch(&self, name: &str) -> Result<bool, Refusal> {
        match self.get(name) {
            None | Some("" | "0" | "false") => Ok(false),
            Some("1" | "true") => Ok(true),
            Some(_) => Err(wrong(format!("'{name}' must be 0 or 1"))),
        }
    }

    /// Which types are wanted.
    pub(super) fn types(&self) -> Result<TypeFilter, Refusal> {
        TypeFilter::parse(self.get("types").unwrap_or_default())
            .map_err(|error: IdError| Refusal::of_name(Code::InvalidParameter, &error))
    }

    /// In which form records are wanted.
    pub(super) fn variant(&self) -> Result<Variant, Refusal> {
        let preview = self.number("preview", 1, 1_000_000)?.map(|limit| limit as u32);
        Ok(Variant { preview, ..Variant::whole(Envelope::Sync) })
    }

    /// How readily the asker is drawn into chaos: not at all unless it says so.
    fn affinity(&self) -> Result<Affinity, Refusal> {
        let Some(text) = self.get("chaos_affinity") else { return Ok(Affinity::NONE) };
        let affinity = text.parse().ok().and_then(Affinity::new);
        affinity.ok_or_else(|| wrong("'chaos_affinity' must be a number from 0 to 1"))
    }

    /// In which frames messages are wanted.
    fn encoding(&self, compress_bytes: usize) -> Result<Encoding, Refusal> {
        match self.get("encoding") {
            None | Some("") => Ok(Encoding::Text),
            Some(DEFLATE_RAW) => Ok(Encoding::Deflate { from: compress_bytes }),
            Some(_) => Err(wrong(format!("'encoding' must be '{DEFLATE_RAW}' or left out"))),
        }
    }

    /// How long an answer may wait until there is something to say.
    pub(super) fn wait(&self) -> Result<Duration, Refusal> {
        match self.get("wait").map(humantime::parse_duration) {
            None => Ok(Duration::ZERO),
            Some(Ok(wait)) if wait <= LONGEST_WAIT => Ok(wait),
            Some(_) => Err(wrong(format!("'wait' must be a time such as 30s, at most {}s", LONGEST_WAIT.as_secs()))),
        }
    }

    /// A place in the log, under the name that the request has for it.
    pub(super) fn since(&self, name: &str) -> Result<Since, Refusal> {
        match self.get(name) {
            None | Some("") => Ok(Since::Instance),
            Some(text) => Since::parse(text)
                .ok_or_else(|| wrong(format!("'{name}' must be a cursor, 'earliest', 'latest' or an RFC 3339 time"))),
        }
    }
}

/// Who a handshake says it is, or who its bearer is; `envelope` says what may be left out.
fn grant(
    parameters: &Parameters<'_>,
    envelope: Envelope,
    bearer: Option<&Arc<Bearer>>,
) -> Result<(Grant, Kept), Refusal> {
    let tenant = match (parameters.get("tenant_id"), bearer, envelope) {
        (Some(name), _, _) => tenant(name)?,
        (None, Some(bearer), _) => bearer.identity.tenant.clone(),
        // Without a token they all are of one tenant.
        (None, None, Envelope::Typed) => tenant(DEFAULT_TENANT)?,
        (None, None, Envelope::Sync) => tenant("")?,
    };
    let instance = match (envelope, parameters.get("instance_id"), parameters.get("device_id")) {
        (Envelope::Sync, instance, _) | (Envelope::Typed, instance @ Some(_), _) | (_, None, instance) => instance,
    };
    let instance = instance.map(self::instance).transpose()?;
    let (user, name) = (named(parameters, "user_id")?, named(parameters, "user_name")?);
    let instance = match bearer {
        Some(bearer) => bearer.instance(instance).map_err(door::mismatch)?,
        None => instance,
    };
    let (instance, kept) = match (instance, envelope) {
        (Some(instance), _) => (instance, Kept::Yes),
        // Clients of this envelope need not name an instance: each is a newcomer.
        (None, Envelope::Typed) => (self::instance(&Uuid::new_v4().to_string())?, Kept::No),
        (None, Envelope::Sync) => (self::instance("")?, Kept::No),
    };
    let grant = match bearer {
        Some(bearer) => bearer.grant(tenant, instance, user.as_deref()).map_err(door::mismatch)?,
        None => Grant::unauthenticated(tenant, instance).acting_for(user, name),
    };
    Ok((grant, kept))
}

fn instance(name: &str) -> Result<InstanceId, Refusal> {
    name.parse().map_err(|error| Refusal::of_name(Code::InvalidInstance, &error))
}

/// Whether an instance can come back under its name, so that its place is worth keeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    Yes,
    No,
}

pub(super) fn named(parameters: &Parameters<'_>, name: &str) -> Result<Option<Arc<str>>, Refusal> {
    match parameters.get(name) {
        None | Some("") => Ok(None),
        Some(text) if text.len() > NAME_BYTES || text.chars().any(char::is_control) => {
            Err(wrong(format!("'{name}' must have at most {NAME_BYTES} bytes and no control characters")))
        }
        Some(text) => Ok(Some(text.into())),
    }
}

/// What a WebSocket handshake asks for.
/// `compress_bytes` is from which size on messages are compressed for whoever asks for that.
pub fn session_request(
    query: &str,
    envelope: Envelope,
    compress_bytes: usize,
    bearer: Option<&Arc<Bearer>>,
) -> Result<Request, Refusal> {
    let parameters = Parameters::read(query);
    let (grant, kept) = grant(&parameters, envelope, bearer)?;
    let echo = if parameters.switch("echo")? { Echo::On } else { Echo::Off };
    let deltas = if parameters.switch("deltas")? { Deltas::On } else { Deltas::Off };
    let encoding = parameters.encoding(compress_bytes)?;
    let variant = Variant { envelope, deltas, encoding, ..parameters.variant()? };
    let options = Options { filter: parameters.types()?, echo, variant, channels: None };
    let since = match (parameters.since("since")?, kept) {
        (Since::Instance, Kept::No) => Since::Latest,
        (since, _) => since,
    };
    Ok(Request {
        grant,
        since,
        requested: parameters.get("since").unwrap_or_default().to_owned(),
        options,
        capabilities: capabilities(parameters.get("capabilities").unwrap_or_default())?,
        affinity: parameters.affinity()?,
    })
}

/// What an event stream is asked for.
pub(super) struct Wish {
    /// Where to go on.
    pub(super) since: Since,
    /// The same as it was written.
    pub(super) requested: String,
    /// Which types.
    pub(super) filter: TypeFilter,
    /// In which form.
    pub(super) variant: Variant,
}

/// What an event stream is asked for; a browser that comes back says in a header which event it saw last, and its query
/// is still the one that it came with first.
pub(super) fn stream_wish(query: &str, last_event_id: Option<&str>) -> Result<Wish, Refusal> {
    let parameters = Parameters::read(query);
    let since = match parameters.since("since")? {
        Since::Instance => Since::Latest,
        since => since,
    };
    let (since, requested) = match last_event_id.map(str::trim).filter(|id| !id.is_empty()) {
        None => (since, parameters.get("since").unwrap_or_default()),
        Some(id) => (id.parse().map(Since::Cursor).map_err(|_| wrong("'Last-Event-ID' must be a cursor"))?, id),
    };
    let requested = requested.to_owned();
    Ok(Wish { since, requested, filter: parameters.types()?, variant: parameters.variant()? })
}

/// A tenant from a path or a query.
pub(super) fn tenant(text: &str) -> Result<TenantId, Refusal> {
    text.parse().map_err(|error| Refusal::of_name(Code::InvalidTenant, &error))
}

fn capabilities(text: &str) -> Result<Vec<Box<str>>, Refusal> {
    let words: Vec<Box<str>> = text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(Box::from).collect();
    let fits = |word: &str| word.len() <= CAPABILITY_BYTES && !word.chars().any(char::is_control);
    if words.len() > CAPABILITIES || !words.iter().all(|word| fits(word)) {
        let message = format!("'capabilities' may hold {CAPABILITIES} words of at most {CAPABILITY_BYTES} bytes");
        return Err(wrong(message));
    }
    Ok(words)
}

fn wrong(message: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(Code::InvalidParameter, message)
}
