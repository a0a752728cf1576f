//! What the embedded log shows of itself: one shard.

use futures_util::future::{self, BoxFuture, FutureExt as _};

use super::{EmbeddedLog, EmbeddedStats};
use crate::{
    backbone::{
        Backbone as _,
        shown::{Held, Line, ShardShown, Shown, Tail},
    },
    model::Position,
};

impl EmbeddedLog {
    fn tail(&self) -> Tail {
        let end = self.shared.live.end();
        Tail { shard: 0, end, read_to: Some(end) }
    }
}

impl Shown for EmbeddedLog {
    fn line(&self) -> Line {
        Line { kind: "embedded", server: None, made: 0 }
    }

    fn tails(&self) -> Vec<Tail> {
        vec![self.tail()]
    }

    fn shards(&self) -> BoxFuture<'static, Vec<ShardShown>> {
        let EmbeddedStats { end, trimmed, held_bytes, .. } = self.stats();
        let first = (trimmed < end).then_some(Position(trimmed.0 + 1));
        // Those that were struck from the midst are not counted apart.
        let held = Some(Held { first, last: end, records: None, bytes: held_bytes });
        let (epoch, health) = (self.shared.epoch, self.health());
        let shard = ShardShown { tail: self.tail(), stream: "embedded".into(), epoch, health, held };
        future::ready(vec![shard]).boxed()
    }
}
