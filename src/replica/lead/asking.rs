//! What is asked of the node beside the writes: the whole state, where the room stands, what lies open.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use super::{Leading, State, Stop};
use crate::{
    client::Publish,
    model::EntityKey,
    replica::{conflicts, mirror, shared::number, status::Link, store::Care},
};

/// Most that lies open that is kept here.
const OPEN: usize = 1_000;
/// Pause before it is asked again what could not be had.
const LATER: Duration = Duration::from_secs(10);
/// The same of what was had, and is older than what is here.
const BEHIND: Duration = Duration::from_secs(1);

/// What lies open.
pub(super) struct Conflicts {
    pub(super) open: Vec<(String, EntityKey, Value)>,
    /// The log's position up to which it holds everything.
    pub(super) position: u64,
}

impl Leading {
    /// Asks what there is to ask.
    pub(super) async fn ask(&mut self) -> Result<(), Stop> {
        if !self.is_connected() || self.room.outstanding().is_full() {
            return Ok(());
        }
        if let State::Wanted(at) = self.state
            && at <= Instant::now()
        {
            self.asked = Uuid::new_v4();
            let (id, types) = (self.asked.to_string(), &self.shared.options.kinds);
            let question = json!({"event_type": "graph.sync", "event_id": id, "data": {"types": types}});
            let _ = self.room.publish(Publish::once(question.to_string()));
            self.state = State::Coming;
        }
        let may_pull = self.is_pull_wanted && self.pulling.is_none() && self.pull_after <= Instant::now();
        if may_pull && self.shared.live().0.link == Link::Online {
            let (asked, answered) = self
                .shared
                .store
                .read(|transaction| Ok((number(transaction, "asked")?, number(transaction, "answered")?)))
                .await?;
            self.is_pull_wanted = asked > answered;
            if self.is_pull_wanted {
                self.pull = Uuid::new_v4();
                let question = json!({"event_type": "sync_request", "event_id": self.pull.to_string()});
                let _ = self.room.publish(Publish::once(question.to_string()));
                self.pulling = Some((asked, None));
            }
        }
        if self.conflicts_due.is_some_and(|at| at <= Instant::now()) {
            self.conflicts_due = None;
            let (options, answer) = (self.shared.options.clone(), self.conflicts.0.clone());
            let token = options.token.token().ok().flatten();
            let first = options.client.url.http(&format!("/v1/tenants/{}/conflicts?limit=100", options.client.tenant));
            let who = format!("&instance_id={}", escaped(options.client.instance.as_str()));
            let who = match &options.client.user {
                Some(user) if token.is_none() => format!("{who}&user_id={}", escaped(user)),
                _ => who,
            };
            tokio::task::spawn_blocking(move || {
                let found = conflicts(&options.agent, &format!("{first}{who}"), token.as_deref());
                if let Err(error) = &found {
                    tracing::debug!(error, "what lies open cannot be asked for now");
                }
                // Nobody waits for it any more if this fails.
                let _ = answer.blocking_send(found.ok());
            });
        }
        Ok(())
    }

    /// Takes what lies open.
    pub(super) async fn take_conflicts(&mut self, conflicts: Option<Conflicts>) -> Result<(), Stop> {
        let Some(conflicts) = conflicts else {
            self.conflicts_due = Some(Instant::now() + LATER);
            return Ok(());
        };
        let options = &self.shared.options;
        let Conflicts { open, position } = conflicts;
        let wanted: Vec<_> = open.into_iter().filter(|(_, key, _)| options.mirrors(key)).collect();
        self.open = wanted.iter().map(|(_, key, _)| key.clone()).collect();
        let write = self.shared.store.write(Care::Quick, move |transaction| {
            conflicts::set(transaction, &wanted)?;
            // A later change may have settled what it was open with.
            let keys = wanted.iter().map(|(_, key, _)| mirror::version(transaction, key));
            Ok(keys.collect::<Result<Vec<_>, _>>()?.into_iter().max().unwrap_or_default())
        });
        let latest = write.await?.max(self.open_at);
        if latest > position && self.conflicts_due.is_none() {
            self.conflicts_due = Some(Instant::now() + BEHIND);
        }
        self.shared.has_moved();
        Ok(())
    }
}

fn escaped(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// Reads all pages. Blocks.
fn conflicts(agent: &ureq::Agent, url: &str, token: Option<&str>) -> Result<Conflicts, String> {
    #[derive(Deserialize)]
    struct Page {
        conflicts: Vec<Value>,
        position: u64,
        next: Option<String>,
    }
    let (mut open, mut page) = (Vec::new(), String::new());
    loop {
        let request = agent.get(format!("{url}{page}"));
        let request = match token {
            Some(token) => request.header("Authorization", format!("Bearer {token}")),
            None => request,
        };
        let mut answer = request.call().map_err(|error| error.to_string())?;
        let text = answer.body_mut().read_to_string().map_err(|error| error.to_string())?;
        if answer.status() != 200 {
            return Err(format!("status {}", answer.status()));
        }
        let Page { conflicts, position, next } = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        for mut one in conflicts {
            let word = |name: &str| one[name].as_str().map(str::to_owned);
            let (Some(id), Some(kind), Some(entity)) = (word("conflict_id"), word("entity_type"), word("entity_id"))
            else {
                return Err("a conflict without its names".to_owned());
            };
            let key = EntityKey::new(&kind, &entity).map_err(|error| error.to_string())?;
            if let Some(fields) = one.as_object_mut() {
                fields.retain(|name, _| name != "entity_type" && name != "entity_id");
            }
            open.push((id, key, one));
        }
        match next {
            Some(next) if open.len() < OPEN => page = format!("&page={}", escaped(&next)),
            _ => return Ok(Conflicts { open, position }),
        }
    }
}
