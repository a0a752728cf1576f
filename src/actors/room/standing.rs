//! What a room tells those who look after the node: numbers that it has at hand.

use actix::{Context, Handler};

use super::Room;
use crate::{
    actors::survey::{AT_ONCE, Behind, RoomStands, Stand},
    model::{Position, trail::Lag},
};

impl Room {
    fn lag(&self, place: Position) -> Lag {
        let lag = self.trail.behind(place, self.context.uptime());
        if lag.exact {
            return lag;
        }
        match self.ring.count_after(place) {
            Some(records) => Lag { records: records as u64, exact: true, ..lag },
            None => lag,
        }
    }
}

impl Handler<Stand> for Room {
    type Result = actix::MessageResult<Stand>;

    fn handle(&mut self, _: Stand, _: &mut Context<Self>) -> Self::Result {
        actix::MessageResult(RoomStands {
            is_open: self.opening.is_none(),
            members_here: self.roster.connected_here(),
            members_total: self.roster.connected(),
            streams_here: self.readers.count(),
            epoch: self.epoch,
            head: self.head,
            appends: self.appends.count(),
            operations: self.lanes.count(),
            subscriptions: self.interests.count(),
            outlets: self.ports.outlets().cloned().collect(),
        })
    }
}

impl Handler<Behind> for Room {
    type Result = Vec<Lag>;

    fn handle(&mut self, Behind(places): Behind, _: &mut Context<Self>) -> Self::Result {
        places.into_iter().take(AT_ONCE).map(|place| self.lag(place)).collect()
    }
}
