//! What the tenant takes of its messages here, told to its rooms on other nodes, so that all count the same.

use std::time::Duration;

use actix::{AsyncContext as _, Context};

use super::Room;
use crate::{backbone::Channel, wire::peer};

/// Between two words about it.
const PAUSE: Duration = Duration::from_secs(1);

impl Room {
    /// Sees to it that the others hear soon of what was just taken; on a node that is alone it costs nothing.
    pub(super) fn tell_spent_later(&mut self, ctx: &mut Context<Self>) {
        if self.talk.spending || !self.context.nodes.any() {
            return;
        }
        self.talk.spending = true;
        ctx.run_later(PAUSE, |room, _| {
            room.talk.spending = false;
            let count = room.tenant_use.take_untold();
            if count > 0 {
                let channel = Channel::Room(room.tenant.clone());
                room.context.backbone.signal(&channel, peer::spent(room.context.nodes.speaker(), count));
            }
        });
    }
}
