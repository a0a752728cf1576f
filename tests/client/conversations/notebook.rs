//! A client that keeps entities: `continuum::replica`.

use std::time::Duration;

use continuum::{
    auth::agent,
    client::ClientOptions,
    model::EntityKey,
    replica::{Link, Options, Replica, Settled, Ticket, Write, WriteError},
};
use serde_json::{Value, json, value::to_raw_value};
use tempfile::TempDir;
use tokio::time::timeout;
use uuid::Uuid;

use super::{Names, PATIENCE, fields, is_fate, text, until};

/// How long it is waited for a move at most before it is looked again: not everything that is shown tells that it moved.
const LOOK: Duration = Duration::from_millis(50);

pub struct Notebook {
    replica: Replica,
    instance: String,
    /// Up to where its events were asked for.
    heard: u64,
    /// What no node would take.
    refused: Vec<(Uuid, Settled)>,
    _dir: TempDir,
}

impl Notebook {
    pub async fn connect(client: ClientOptions) -> Result<Self, String> {
        let dir = TempDir::new().map_err(|error| error.to_string())?;
        let instance = client.instance.to_string();
        let options = Options::new(client, agent(PATIENCE), dir.path().to_owned());
        let replica = Replica::open(options).await.map_err(|error| error.to_string())?;
        let mut made = Self { replica, instance, heard: 0, refused: Vec::new(), _dir: dir };
        let step = json!({"do": "status", "connection": "online", "sync": "synced"});
        made.perform(&step, &mut Names::default()).await?;
        Ok(made)
    }

    pub async fn perform(&mut self, step: &Value, names: &mut Names) -> Result<(), String> {
        match text(step, "do") {
            "close" => {
                let left = self.replica.close(PATIENCE).await;
                if left == Some(0) { Ok(()) } else { Err(format!("writes that are left: {left:?}")) }
            }
            "publish" => {
                let event_type = text(step, "type").parse().map_err(|error| format!("{error}"))?;
                let data = to_raw_value(&step["data"]).map_err(|error| error.to_string())?;
                self.write(step, names, Write::Event { event_type, data }).await
            }
            "change" => {
                let key = key(step)?;
                let parts = ["action", "strategy", "patch", "data", "text", "ops"];
                let write = Write::Operation { key: key.clone(), base: None, fields: fields(step, &parts) };
                self.write(step, names, write).await?;
                let seen = self.replica.get(key).await.map_err(|error| error.to_string())?;
                let shown = seen.map_or(Value::Null, |seen| seen.data);
                match step.get("shows").is_none_or(|expected| names.agree(expected, &shown)) {
                    true => Ok(()),
                    false => Err(format!("it shows {shown}")),
                }
            }
            "resolve" => {
                let mut parts = fields(step, &["choice", "data"]);
                parts.insert("action".into(), "resolve".into());
                parts.insert("conflict_id".into(), names.get(step, "conflict"));
                self.write(step, names, Write::Operation { key: key(step)?, base: None, fields: parts }).await
            }
            "settled" => self.settled(step, names).await,
            "event" => self.event(step, names).await,
            "entity" | "conflicts" | "presence" | "status" => {
                let replica = &self.replica;
                let moved = async || drop(timeout(LOOK, replica.moved()).await);
                until(names, async |names| look(replica, step, names).await, moved).await
            }
            other => Err(format!("a client that keeps entities does no {other}")),
        }
    }

    async fn write(&mut self, step: &Value, names: &mut Names, write: Write) -> Result<(), String> {
        let ticket = match self.replica.write(write).await {
            Ok(ticket) => ticket,
            Err(WriteError::Invalid(refusal)) => {
                let answer = json!({"code": refusal.code.word(), "message": refusal.message});
                let id = Uuid::new_v4();
                self.refused.push((id, Settled { outcome: "refused".into(), answer }));
                Ticket { id, number: 0 }
            }
            Err(error) => return Err(error.to_string()),
        };
        names.bind(step, ticket.id.to_string());
        Ok(())
    }

    async fn settled(&self, step: &Value, names: &mut Names) -> Result<(), String> {
        let id: Uuid = names.get(step, "of").as_str().and_then(|id| id.parse().ok()).ok_or("no write")?;
        let here = self.refused.iter().find(|(refused, _)| *refused == id).map(|(_, settled)| settled.clone());
        let settled = match here {
            Some(settled) => Some(settled),
            None => {
                self.replica.settled(Ticket { id, number: 0 }, PATIENCE).await.map_err(|error| error.to_string())?
            }
        };
        let settled = settled.ok_or("it is not known yet")?;
        let status = match settled.outcome.as_str() {
            "conflict_resolved" => "resolved",
            "conflict_pending" => "pending",
            "rollback" => "rolled_back",
            other => other,
        };
        if is_fate(step, names, status, &settled.answer) { Ok(()) } else { Err(format!("it is {settled:?}")) }
    }

    async fn event(&mut self, step: &Value, names: &mut Names) -> Result<(), String> {
        let (replica, instance, heard) = (&self.replica, &self.instance, self.heard);
        let mut next = None;
        let look = async |names: &mut Names| {
            next = events(replica, instance, heard).await.into_iter().next();
            let shown = next.as_ref().map_or(Value::Null, |(_, event)| event.clone());
            (names.agree(&Value::Object(fields(step, &["type", "data", "from"])), &shown), shown)
        };
        until(names, look, async || drop(timeout(LOOK, replica.moved()).await)).await?;
        self.heard = next.map_or(heard, |(number, _)| number);
        Ok(())
    }

    pub async fn nothing_is_left(&self) -> Result<(), String> {
        let left = events(&self.replica, &self.instance, self.heard).await;
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    }
}

/// Events of others behind a place in the list of them.
async fn events(replica: &Replica, instance: &str, after: u64) -> Vec<(u64, Value)> {
    let (changes, _) = replica.changes(after, 10_000).await.expect("readable");
    let events = changes.into_iter().filter(|change| change.action == "event" && change.by != instance);
    let shown = events.map(|event| {
        let data: Value = event.data.and_then(|data| serde_json::from_str(&data.0).ok()).unwrap_or_default();
        (event.number, json!({"type": event.event_type, "data": data, "from": event.by}))
    });
    shown.collect()
}

async fn look(replica: &Replica, step: &Value, names: &mut Names) -> (bool, Value) {
    match text(step, "do") {
        "entity" => {
            let seen = replica.get(key(step).expect("a key")).await.expect("readable");
            let shown = match seen {
                Some(seen) => json!({"data": seen.data, "pending": seen.pending, "version": seen.version}),
                None => json!({"data": null, "pending": 0, "version": 0}),
            };
            let pending = step.get("pending").cloned().unwrap_or(json!(0));
            (names.agree_in(step, &["data", "version"], &shown) && pending == shown["pending"], shown)
        }
        "conflicts" => {
            let open = replica.conflicts().await.expect("readable");
            let expected = step["open"].as_array().expect("a list");
            let is_so = open.len() == expected.len()
                && expected.iter().all(|wanted| {
                    open.iter().any(|one| {
                        let key = format!("{}/{}", one.entity_type, one.entity_id);
                        wanted["entity"] == key.as_str()
                            && names.agree(&wanted["id"], &one.shown["conflict_id"])
                            && names.agree_in(wanted, &["kind", "proposed", "paths"], &one.shown)
                    })
                });
            (is_so, json!(open))
        }
        "presence" => {
            let others: serde_json::Map<String, Value> =
                replica.here().into_iter().filter(|(name, _)| name != replica.instance().as_str()).collect();
            (super::room::are_here(step, names, &others), json!(others))
        }
        _ => {
            let status = replica.status().await.expect("readable");
            let connection = match &status.connection {
                Link::Connecting | Link::CatchingUp => "connecting",
                Link::Online => "online",
                Link::Offline { .. } => "waiting",
                Link::Refused { .. } => "blocked",
            };
            let shown = json!({"connection": connection, "sync": status.sync, "pending": status.pending,
                "conflicted": status.conflicted, "refused": status.refused});
            (names.agree_in(step, &["connection", "sync", "pending", "conflicted", "refused"], &shown), shown)
        }
    }
}

fn key(step: &Value) -> Result<EntityKey, String> {
    let (kind, id) = text(step, "entity").split_once('/').ok_or("an entity is type/id")?;
    EntityKey::new(kind, id).map_err(|error| error.to_string())
}
