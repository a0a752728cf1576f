//! What the log on NATS shows of itself.

use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};
use tokio::time::timeout;

use super::{NatsLog, Shared, api::StreamInfo, shard::Shard};
use crate::{
    backbone::{
        Health,
        shown::{Held, Line, ShardShown, Shown, Tail},
    },
    model::Position,
};

/// How long a stream's leader may take to answer.
const ANSWER: Duration = Duration::from_secs(1);
/// Streams asked at a time.
const AT_ONCE: usize = 16;

fn tail(number: usize, shard: &Shard) -> Tail {
    Tail { shard: u16::try_from(number).unwrap_or(u16::MAX), end: shard.end(), read_to: shard.position() }
}

impl Shown for NatsLog {
    fn line(&self) -> Line {
        let line = &self.shared.line;
        let server = line.server().filter(|_| line.is_up()).map(|server| server.server_name);
        Line { kind: "nats", server, made: *line.connections().borrow() }
    }

    fn tails(&self) -> Vec<Tail> {
        self.shared.shards.iter().enumerate().map(|(number, shard)| tail(number, shard)).collect()
    }

    fn shards(&self) -> BoxFuture<'static, Vec<ShardShown>> {
        let shared = self.shared.clone();
        async move {
            let asked = (0..shared.shards.len()).map(|number| look(&shared, number));
            stream::iter(asked).buffered(AT_ONCE).collect().await
        }
        .boxed()
    }
}

async fn look(shared: &Shared, number: usize) -> ShardShown {
    let shard = &shared.shards[number];
    let asked = match shared.line.is_up() {
        true => timeout(ANSWER, StreamInfo::get(&shared.line, &shard.log)).await,
        false => return shown(shard, number, Err("no connection to NATS".into())),
    };
    let held = match asked {
        Ok(Ok(Some(info))) => Ok(Held {
            first: (info.state.messages > 0).then_some(Position(info.state.first_seq)),
            last: Position(info.state.last_seq),
            records: Some(info.state.messages),
            bytes: info.state.bytes,
        }),
        Ok(Ok(None)) => Err("there is no such stream".into()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the stream does not answer".into()),
    };
    shown(shard, number, held)
}

fn shown(shard: &Shard, number: usize, held: Result<Held, String>) -> ShardShown {
    let health = match (&held, shard.trouble()) {
        (Err(why), _) => Health::Down(why.clone()),
        (Ok(_), Some(why)) => Health::Degraded(why),
        (Ok(_), None) => Health::Serving,
    };
    let (stream, epoch, known) = (shard.log.clone(), shard.epoch(), tail(number, shard));
    let end = held.as_ref().map_or(known.end, |held| held.last.max(known.end));
    ShardShown { tail: Tail { end, ..known }, stream, epoch, health, held: held.ok() }
}
