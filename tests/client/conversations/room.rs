//! A client that keeps no entities: `continuum::client`. What it hears lies here until a step asks for it.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use continuum::{
    auth::agent,
    client::{
        Backoff, ClientOptions, Frame, Happening, Incoming, Publish, Reconnecting, Since, outstanding,
        reconnecting::Fatal,
    },
};
use serde_json::{Map, Value, json};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinHandle,
    time::timeout,
};
use uuid::Uuid;

use super::{Names, PATIENCE, fields, is_fate, text, until};

/// What it came to know.
#[derive(Default)]
struct Known {
    connection: &'static str,
    code: Option<String>,
    resumed: Option<&'static str>,
    others: Map<String, Value>,
    events: VecDeque<Value>,
    signals: Vec<Value>,
    pending: HashSet<String>,
    fates: HashMap<String, (&'static str, Value)>,
    results: HashMap<String, BTreeMap<String, Value>>,
}

#[derive(Clone, Default)]
struct Shared(Arc<(Mutex<Known>, Notify)>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.0.lock().expect("nothing panics while it holds this")
    }

    async fn moved(&self) {
        // What moved between a look and this is seen a moment later.
        let _ = timeout(Duration::from_millis(50), self.0.1.notified()).await;
    }
}

pub struct Room {
    shared: Shared,
    send: mpsc::Sender<Publish>,
    work: Option<JoinHandle<()>>,
    url: String,
    page: String,
}

impl Room {
    pub async fn connect(mut options: ClientOptions, step: &Value) -> Result<Self, String> {
        options.since = Some(step["since"].as_str().unwrap_or("latest").parse::<Since>().map_err(|e| e.to_string())?);
        let words = |name: &str| -> Vec<String> {
            step[name].as_array().into_iter().flatten().filter_map(|word| word.as_str().map(str::to_owned)).collect()
        };
        (options.types, options.capabilities) = (words("types"), words("capabilities"));
        let instance = options.instance.to_string();
        let url = options.url.http(&format!("/v1/tenants/{}/events", options.tenant));
        let shared = Shared::default();
        shared.lock().connection = "connecting";
        let (send, receive) = mpsc::channel(outstanding::MOST);
        let room = Reconnecting::new(options, Backoff::new());
        let work = tokio::spawn(follow(room, instance, shared.clone(), receive));
        let made = Self { shared, send, work: Some(work), url, page: String::new() };
        made.wait(&json!({"do": "status", "connection": "online"}), &mut Names::default()).await?;
        Ok(made)
    }

    pub async fn perform(&mut self, step: &Value, names: &mut Names) -> Result<(), String> {
        match text(step, "do") {
            "close" => {
                self.wait(&json!({"do": "status", "pending": 0}), names).await?;
                // What follows the room ends when nobody can tell it anything any more.
                self.send = mpsc::channel(1).0;
                let work = self.work.take().ok_or("it is closed")?;
                timeout(PATIENCE, work).await.map_err(|_| "it does not end")?.map_err(|error| error.to_string())
            }
            "publish" => {
                let id = Uuid::new_v4().to_string();
                self.shared.lock().pending.insert(id.clone());
                names.bind(step, id.clone());
                self.say(json!({"event_type": step["type"], "event_id": id, "data": step["data"]}))
            }
            "signal" => {
                let text = json!({"event_type": step["type"], "data": step["data"]}).to_string();
                self.send.try_send(Publish::once(text)).map_err(|error| error.to_string())
            }
            "subscribe" => {
                let name = format!("s-{}", Uuid::new_v4());
                names.bind(step, name.clone());
                let mut data = fields(step, &["region", "ids", "query"]);
                data.insert("subscription".into(), name.into());
                let text = json!({"event_type": "subscribe", "data": data}).to_string();
                self.send.try_send(Publish::once(text)).map_err(|error| error.to_string())
            }
            "history" => self.history(step, names).await,
            "settled" | "event" | "heard" | "presence" | "result" | "status" => self.wait(step, names).await,
            other => Err(format!("a client that keeps no entities does no {other}")),
        }
    }

    async fn wait(&self, step: &Value, names: &mut Names) -> Result<(), String> {
        let look = async |names: &mut Names| look(&mut self.shared.lock(), step, names);
        until(names, look, async || self.shared.moved().await).await
    }

    fn say(&self, message: Value) -> Result<(), String> {
        let publish = Publish::from_json(&message.to_string()).map_err(|error| error.to_string())?;
        self.send.try_send(publish).map_err(|error| error.to_string())
    }

    async fn history(&mut self, step: &Value, names: &mut Names) -> Result<(), String> {
        let mut url = format!("{}?limit={}", self.url, step["limit"]);
        if let Some(types) = step["types"].as_array() {
            let types: Vec<&str> = types.iter().filter_map(Value::as_str).collect();
            url += &format!("&types={}", types.join(","));
        }
        if step["go_on"] == true {
            url += &format!("&after={}", self.page);
        }
        let asked = tokio::task::spawn_blocking(move || {
            let mut answer = agent(PATIENCE).get(url).call().map_err(|error| error.to_string())?;
            let text = answer.body_mut().read_to_string().map_err(|error| error.to_string())?;
            serde_json::from_str::<Value>(&text).map_err(|error| format!("{error}: {text}"))
        });
        let page = asked.await.expect("it does not panic")?;
        self.page = page["cursor"].as_str().ok_or("no cursor")?.to_owned();
        let events = page["events"].as_array().ok_or("no events")?.iter();
        let shown = json!({"events": events.map(event).collect::<Value>(), "more": page["more"]});
        if names.agree_in(step, &["events", "more"], &shown) { Ok(()) } else { Err(format!("there is {shown}")) }
    }

    /// No event and no signal that was not asked for.
    pub fn nothing_is_left(&self) -> Result<(), String> {
        let known = self.shared.lock();
        match known.events.is_empty() && known.signals.is_empty() {
            true => Ok(()),
            false => Err(format!("{:?} {:?}", known.events, known.signals)),
        }
    }
}

fn event(envelope: &Value) -> Value {
    json!({"type": envelope["event_type"], "data": envelope["data"], "from": envelope["instance_id"]})
}

/// Whether these are the others in the room.
pub fn are_here(step: &Value, names: &mut Names, others: &Map<String, Value>) -> bool {
    let expected = step["others"].as_object().expect("an object");
    expected.len() == others.len()
        && expected.iter().all(|(name, said)| {
            let fields: Vec<&str> = said.as_object().expect("an object").keys().map(String::as_str).collect();
            others.get(name).is_some_and(|other| names.agree_in(said, &fields, other))
        })
}

/// Whether it is as a step expects; what the step asked for is then taken.
fn look(known: &mut Known, step: &Value, names: &mut Names) -> (bool, Value) {
    let wanted = || Value::Object(fields(step, &["type", "data", "from"]));
    match text(step, "do") {
        "settled" => {
            let id = names.get(step, "of");
            match known.fates.get(id.as_str().unwrap_or_default()) {
                Some((status, answer)) => (is_fate(step, names, status, answer), json!([status, answer])),
                None => (false, Value::Null),
            }
        }
        "event" => {
            let next = known.events.front().cloned().unwrap_or_default();
            let is_so = names.agree(&wanted(), &next);
            if is_so {
                known.events.pop_front();
            }
            (is_so, json!(known.events))
        }
        "heard" => {
            let at = known.signals.iter().position(|signal| signal["type"] == step["type"]);
            let is_so = at.is_some_and(|at| names.agree(&wanted(), &known.signals[at]));
            if let (true, Some(at)) = (is_so, at) {
                known.signals.remove(at);
            }
            (is_so, json!(known.signals))
        }
        "presence" => (are_here(step, names, &known.others), json!(known.others)),
        "result" => {
            let of = names.get(step, "of");
            let result = json!(known.results.get(of.as_str().unwrap_or_default()));
            (names.agree(&step["entities"], &result), result)
        }
        _ => {
            let sync = if known.connection == "online" { "synced" } else { "stale" };
            let refused = known.fates.values().filter(|(status, _)| *status == "refused").count();
            let shown = json!({"connection": known.connection, "code": known.code, "sync": sync, "resumed": known.resumed,
                "pending": known.pending.len(), "refused": refused, "conflicted": 0});
            let said = ["connection", "code", "sync", "resumed", "pending", "refused", "conflicted"];
            (names.agree_in(step, &said, &shown), shown)
        }
    }
}

/// Goes on until nobody is there to tell.
async fn follow(mut room: Reconnecting, own: String, shared: Shared, mut orders: mpsc::Receiver<Publish>) {
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(publish) => room.publish(publish).expect("there is room"),
                None => break,
            },
            happening = room.next() => {
                let goes_on = hear(&mut shared.lock(), &own, happening);
                shared.0.1.notify_one();
                if !goes_on {
                    return;
                }
            }
        }
    }
    room.close().await;
    shared.lock().connection = "closed";
}

fn hear(known: &mut Known, own: &str, happening: Result<Happening, Fatal>) -> bool {
    match happening {
        Ok(Happening::Waiting { .. }) => known.connection = "waiting",
        Ok(Happening::Refused(refused)) => {
            let named = refused.1.event_id.clone().unwrap_or_default();
            settle(known, &named, "refused", &refused.0);
        }
        Ok(Happening::Frame(frame)) => take(known, own, &frame),
        Err(fatal) => {
            known.connection = "blocked";
            known.code = if let Fatal::Refused(refusal) = fatal { refusal.code } else { None };
            return false;
        }
    }
    true
}

fn settle(known: &mut Known, id: &str, status: &'static str, frame: &Frame) {
    known.pending.remove(id);
    let answer = serde_json::from_str(frame.envelope.data.get()).unwrap_or_default();
    known.fates.insert(id.to_owned(), (status, answer));
}

fn take(known: &mut Known, own: &str, frame: &Frame) {
    let message: Value = serde_json::from_str(&frame.text).expect("it was read");
    let (kind, data) = (frame.envelope.event_type.as_str(), &message["data"]);
    match &frame.message {
        Incoming::Ready(_) => {
            known.connection = "connecting";
            known.resumed = Some(if data["resume"]["outcome"] == "honoured" { "complete" } else { "reset" });
            let here = data["instances"].as_array().into_iter().flatten();
            known.others =
                here.filter_map(|one| Some((one["instance_id"].as_str()?.to_owned(), one.clone()))).collect();
        }
        Incoming::Resync(_) => known.resumed = Some("reset"),
        Incoming::CaughtUp(_) => known.connection = "online",
        Incoming::Ack(ack) | Incoming::Stored(ack) => settle(known, &ack.event_id.to_string(), "stored", frame),
        Incoming::Record(_) if frame.envelope.instance_id != own && !is_change(kind) => {
            known.events.push_back(event(&message))
        }
        Incoming::Other => match (kind, kind.split_once('.')) {
            ("instance_joined", _) => {
                known.others.insert(data["instance_id"].as_str().unwrap_or_default().to_owned(), data.clone());
            }
            ("instance_left", _) => {
                known.others.remove(data["instance_id"].as_str().unwrap_or_default());
            }
            ("typing" | "cursor.move" | "selection.change" | "user.presence", _) | (_, Some(("signal", _))) => {
                known.signals.push(event(&message));
            }
            (_, Some(("region" | "ids" | "query", _))) => result(known, data),
            _ => {}
        },
        _ => {}
    }
}

fn is_change(kind: &str) -> bool {
    let first = kind.split('.').next().unwrap_or_default();
    matches!(first, "node" | "edge" | "memory" | "conflict" | "sync_event" | "context_changed")
}

/// What a message says of the result of a subscription.
fn result(known: &mut Known, data: &Value) {
    let result = known.results.entry(data["subscription"].as_str().unwrap_or_default().to_owned()).or_default();
    if data["part"] == 1 {
        result.clear();
    }
    let name = |one: &Value| {
        format!("{}/{}", one["entity_type"].as_str().unwrap_or("?"), one["entity_id"].as_str().unwrap_or("?"))
    };
    let list = |field: &str| data[field].as_array().cloned().unwrap_or_default();
    for (kind, field) in [("node", "nodes"), ("edge", "edges")] {
        for mut one in list(field) {
            let id = one["id"].as_str().unwrap_or_default().to_owned();
            if let Some(content) = one.as_object_mut() {
                content.retain(|field, _| !matches!(field.as_str(), "id" | "version"));
            }
            result.insert(format!("{kind}/{id}"), one);
        }
    }
    for one in ["results", "entered", "changed"].iter().flat_map(|field| list(field)) {
        result.insert(name(&one), one["data"].clone());
    }
    for one in list("left") {
        result.remove(&name(&one));
    }
}
