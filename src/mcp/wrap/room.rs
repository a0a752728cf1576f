//! The room around a call: what the others wrote before it, what it did behind it, and what is new since the last one.
//!
//! Owns: that no call waits longer than it may, whatever the node or the disk does, that each change is told once, and that
//! nothing of what a tool was given or gave leaves unless it was asked for. Must not know: lines and processes.

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value, value::to_raw_value};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{Answers, Config, Tell, notice::News, traffic::Call};
use crate::{
    model::{EventType, InstanceId},
    replica::{Change, Pulled, Replica, StoreError, Write},
};

/// The event that says that a tool was called.
pub(super) const TOOL_CALLED: &str = "tool_called";
/// What the disk may take beside the waiting.
const DISK: Duration = Duration::from_secs(1);
/// Most changes that are looked at for one notice, and at a time.
const LOOK: u64 = 96;
const PAGE: usize = 16;
/// Longest name of a tool and longest content that the room is told, in bytes.
const NAME: usize = 256;
const CONTENT: usize = 64 << 10;

/// A room, as a wrapper needs it.
#[derive(Clone, Debug)]
pub struct Room(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    replica: Arc<Replica>,
    instance: InstanceId,
    /// Up to which change the client was told.
    told: Mutex<u64>,
}

/// How a call went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Went {
    /// It worked, as far as its answer says.
    Well,
    /// It did not.
    Badly,
    /// Nobody waits for it any more.
    GivenUp,
}

impl Room {
    /// A room in which we are `instance`, as the replica says it too. What happened before is no news.
    ///
    /// # Errors
    ///
    /// The replica cannot be read.
    pub async fn new(replica: Arc<Replica>, instance: InstanceId) -> Result<Self, StoreError> {
        let last = replica.last_change().await?;
        Ok(Self(Arc::new(Inner { replica, instance, told: Mutex::new(last) })))
    }

    /// Before a call: waits for what the others wrote. Gives whether all of it is here. Of pulls that come together the replica makes
    /// one question.
    pub(super) async fn before(&self, config: &Config) -> bool {
        let pulled = timeout(config.before + DISK, self.0.replica.pull(config.before)).await;
        if let Ok(Err(error)) = &pulled {
            tracing::warn!(%error, "the room cannot be asked before a call");
        }
        matches!(pulled, Ok(Ok(Pulled::Fresh)))
    }

    /// Behind a call: notes it, waits until that and all else that was written here is sent, and gives what there is to say,
    /// if somebody wants to hear it.
    pub(super) async fn after(
        &self,
        config: &Config,
        (call, went): (&Call, Went),
        result: Option<&[u8]>,
        is_heard: bool,
        hurry: &CancellationToken,
    ) -> Option<String> {
        // Not waited for beyond this: what is on its way to the disk gets there.
        let noted = timeout(DISK, self.note(config, (call, went), result)).await;
        let not_noted = noted.unwrap_or_else(|_| Some("the disk is slow".to_owned()));
        if went == Went::GivenUp {
            return None;
        }
        // A node that is known to be away is not waited for: only who finds out waits.
        let within = if self.0.replica.is_away() { Duration::ZERO } else { config.after };
        let pushing = timeout(within + DISK, self.0.replica.push(within));
        let pushed = tokio::select! {
            pushed = pushing => Some(pushed),
            () = hurry.cancelled() => None,
        };
        if let Some(Ok(Err(error))) = pushed {
            tracing::warn!(%error, "what was written cannot be sent behind a call");
        }
        if !is_heard || config.answers == Answers::Untouched {
            return None;
        }
        match timeout(DISK, self.news(call.is_fresh, not_noted)).await {
            Ok(Ok(news)) => Some(news.text()),
            Ok(Err(error)) => {
                tracing::warn!(%error, "an answer goes without a notice");
                None
            }
            Err(_) => None,
        }
    }

    /// Gives why it was not noted.
    async fn note(&self, config: &Config, (call, went): (&Call, Went), result: Option<&[u8]>) -> Option<String> {
        if config.tell == Tell::Nothing {
            return None;
        }
        let event_type: EventType = TOOL_CALLED.parse().expect("a good name");
        let data = to_raw_value(&told(config, (call, went), result)).expect("a value is JSON");
        let error = self.0.replica.write(Write::Event { event_type, data }).await.err()?;
        tracing::warn!(%error, tool = call.tool, "a call is not noted");
        Some(error.to_string())
    }

    /// How it stands, and what others did since this was asked last.
    async fn news(&self, is_fresh: bool, not_noted: Option<String>) -> Result<News, StoreError> {
        let Inner { replica, instance, told, .. } = &*self.0;
        let mut told = told.lock().await;
        let last = replica.last_change().await?;
        let first = (*told).max(last.saturating_sub(LOOK));
        let (mut at, mut changes) = (first, Vec::new());
        while at < last {
            let (page, _) = replica.changes(at, PAGE).await?;
            let Some(end) = page.last() else { break };
            at = end.number;
            // Nobody's content is told: there is no need to keep it.
            let others = page.into_iter().filter(|change| change.by != instance.as_str());
            changes.extend(others.map(|change| Change { data: None, ..change }));
        }
        let status = replica.status().await?;
        let is_cut = first > *told;
        *told = at.max(*told);
        Ok(News { status, is_fresh, not_noted, changes, is_cut })
    }
}

/// What the room is told of a call.
fn told(config: &Config, (call, went): (&Call, Went), result: Option<&[u8]>) -> Value {
    let mut data = Map::new();
    data.insert("tool".into(), cut(&call.tool).into());
    data.insert("server".into(), cut(&config.name).into());
    data.insert("ok".into(), (went == Went::Well).into());
    if went == Went::GivenUp {
        data.insert("cancelled".into(), true.into());
    }
    let took = Instant::now().saturating_duration_since(call.since).as_millis();
    data.insert("duration_ms".into(), u64::try_from(took).unwrap_or(u64::MAX).into());
    if config.tell == Tell::Contents {
        // As text: what JSON holds here is for the tool and its client to agree on, not for the node.
        let result = result.and_then(|line| std::str::from_utf8(line).ok()).map(str::trim_ascii);
        for (name, text) in [("arguments", call.arguments.as_deref()), ("answer", result)] {
            match text {
                Some(text) if text.len() <= CONTENT => data.insert(name.into(), text.into()),
                Some(text) => data.insert(format!("{name}_bytes"), text.len().into()),
                None => None,
            };
        }
    }
    data.into()
}

fn cut(name: &str) -> &str {
    &name[..name.floor_char_boundary(NAME)]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        client::ClientOptions,
        replica::{Link, Options},
    };

    /// Where nobody listens.
    async fn alone(dir: &std::path::Path) -> Room {
        let url = "ws://127.0.0.1:1".parse().expect("a URL");
        let (tenant, instance): (_, InstanceId) = ("t".parse().expect("a tenant"), "a".parse().expect("an instance"));
        let options = Options::new(
            ClientOptions::new(url, tenant, instance.clone()),
            ureq::Agent::new_with_defaults(),
            dir.to_owned(),
        );
        let replica = Replica::open(options).await.expect("it opens");
        Room::new(Arc::new(replica), instance).await.expect("it can be read")
    }

    #[tokio::test]
    async fn a_node_that_is_lost_while_a_tool_runs_is_not_waited_for_behind_it() {
        let dir = tempfile::TempDir::new().expect("a directory");
        let (room, mut config) = (alone(dir.path()).await, Config::new("s".into(), Vec::new()));
        config.after = Duration::from_secs(3_600);
        let is_offline = async {
            loop {
                let moved = timeout(Duration::from_millis(10), room.0.replica.moved());
                match room.0.replica.status().await.expect("it can be read").connection {
                    Link::Offline { .. } => return,
                    _ => _ = moved.await,
                }
            }
        };
        timeout(Duration::from_secs(60), is_offline).await.expect("it is known before long");
        let call = Call { tool: "t".into(), arguments: None, since: Instant::now(), is_fresh: false };
        let (hurry, went) = (CancellationToken::new(), (&call, Went::Well));
        let text = timeout(Duration::from_secs(60), room.after(&config, went, None, true, &hurry)).await;
        let text = text.expect("it does not wait").expect("there is something to say");
        assert!(text.contains("stale (never in step); 1 pending") && text.contains("in time"), "{text}");
    }

    #[test]
    fn nothing_of_what_a_tool_was_given_or_gave_leaves_unless_it_was_asked_for() {
        let call =
            Call { tool: "t".repeat(300), arguments: Some("1e400".into()), since: Instant::now(), is_fresh: true };
        let mut config = Config::new("/usr/bin/server".into(), vec!["--key=s3".into()]);
        let mut of = |tell, went| {
            config.tell = tell;
            let mut data = told(&config, (&call, went), Some(b"{\"id\":1}\n"));
            assert!(data["duration_ms"].is_u64());
            data.as_object_mut().expect("an object").remove("duration_ms");
            data
        };
        let name = "t".repeat(NAME);
        assert_eq!(of(Tell::Calls, Went::Well), json!({"tool": name, "server": "server", "ok": true}));
        let given_up = json!({"tool": name, "server": "server", "ok": false, "cancelled": true});
        assert_eq!(of(Tell::Calls, Went::GivenUp), given_up);
        let whole =
            json!({"tool": name, "server": "server", "ok": false, "arguments": "1e400", "answer": r#"{"id":1}"#});
        assert_eq!(of(Tell::Contents, Went::Badly), whole);
        let long = Call { arguments: Some("1".repeat(CONTENT + 1)), ..call };
        let data = told(&config, (&long, Went::Well), None);
        assert_eq!((data["arguments_bytes"].as_u64(), data.get("arguments")), (Some(CONTENT as u64 + 1), None));
    }
}
