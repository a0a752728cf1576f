//! What followers are owed is looked up: a few entities at a time for each, and for a few followers at a time.

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use futures_util::{StreamExt, stream};

use super::{
    super::{RETRY, Room},
    Notice, Outgoing, Phase,
};
use crate::{
    actors::messages::Order,
    backbone::{BackboneError, SharedBackbone, Stored},
    model::{
        EntityKey, TenantId,
        interest::{Fetched, InterestId},
    },
    wire::interest::{News, Part, Read},
};

/// Followers for whom entities are looked up at a time.
const FOLLOWERS: usize = 8;
/// Entities in one part, and of them looked up at a time.
const ENTITIES: usize = 256;
const AT_A_TIME: usize = 8;

type Found = (EntityKey, Option<Stored>);

impl Room {
    pub(super) fn post_notice(&mut self, notice: Notice) {
        self.ports.post(notice.key.outlet, Order::Subscriptions(vec![notice]));
    }

    /// Has looked up what a follower is owed, if it can take it; ends its result if that is all.
    pub(super) fn fill(&mut self, id: InterestId, ctx: &mut Context<Self>) {
        let interests = &mut self.interests;
        let Some(served) = interests.served.get_mut(&id) else { return };
        if served.is_looking || matches!(served.phase, Phase::Waiting | Phase::Filling { taken: false }) {
            return;
        }
        if interests.looking >= FOLLOWERS {
            interests.in_line.push_back(id);
            return;
        }
        let owed = interests.index.take_owed(id, ENTITIES);
        if owed.is_empty() {
            if let Phase::Filling { .. } = served.phase {
                self.send_part(id, &Part::default(), true);
            }
            return;
        }
        served.is_looking = true;
        interests.looking += 1;
        let (backbone, tenant) = (self.context.backbone.clone(), self.tenant.clone());
        let budget = self.context.config.rooms.page_bytes;
        let looking = async move { look_up(&backbone, &tenant, owed, budget).await };
        ctx.spawn(looking.into_actor(self).map(move |(found, rest, error), room, ctx| {
            room.interests.looking -= 1;
            room.looked_up(id, found, rest);
            match error {
                None => room.fill(id, ctx),
                Some(error) => {
                    tracing::warn!(tenant = %room.tenant, %error, "an entity that is followed could not be read; trying again");
                    ctx.run_later(RETRY, move |room, ctx| {
                        room.fill(id, ctx);
                        room.flush(ctx);
                    });
                }
            }
            while room.interests.looking < FOLLOWERS
                && let Some(next) = room.interests.in_line.pop_front()
            {
                room.fill(next, ctx);
            }
            room.flush(ctx);
        }));
    }

    fn looked_up(&mut self, id: InterestId, found: Vec<Found>, rest: Vec<EntityKey>) {
        let interests = &mut self.interests;
        let Some(served) = interests.served.get_mut(&id) else { return };
        served.is_looking = false;
        interests.index.put_owed_back(id, rest.into_iter());
        let is_live = served.phase == Phase::Live;
        let (mut part, mut news) = (Part::default(), News::default());
        for (key, stored) in found {
            let read = stored.and_then(|stored| Read::of(&self.tenant, stored.position, &stored.body));
            let content = read.as_ref().and_then(|read| Some((read.version(), read.content()?)));
            if interests.index.fetched(id, &key, content) == Fetched::Give
                && let Some(read) = &read
            {
                if is_live {
                    news.entered.push(read.as_entity(&key).into());
                } else {
                    part.add(&served.subscription, &key, read);
                }
            }
        }
        if !news.entered.is_empty() {
            let mut outgoing = Outgoing::default();
            self.announce_news(id, &news, &mut outgoing);
            for (outlet, notices) in outgoing.notices {
                self.ports.post(outlet, Order::Subscriptions(notices));
            }
        }
        if !part.is_empty() {
            let done = !self.interests.index.is_owed(id);
            self.send_part(id, &part, done);
        }
    }
}

/// Looks entities up, as many as their budget of bytes allows; gives back what it did not come to.
async fn look_up(
    backbone: &SharedBackbone,
    tenant: &TenantId,
    owed: Vec<EntityKey>,
    budget: usize,
) -> (Vec<Found>, Vec<EntityKey>, Option<BackboneError>) {
    let (mut found, mut bytes) = (Vec::new(), 0);
    let mut answers = stream::iter(&owed).map(|key| backbone.entity(tenant, key)).buffered(AT_A_TIME);
    let mut error = None;
    while bytes < budget
        && let Some(answer) = answers.next().await
    {
        match answer {
            Ok(stored) => {
                bytes += stored.as_ref().map_or(0, |stored| stored.body.len());
                found.push((owed[found.len()].clone(), stored));
            }
            Err(failed) => {
                error = Some(failed);
                break;
            }
        }
    }
    drop(answers);
    let rest = owed[found.len()..].to_vec();
    (found, rest, error)
}
