//! One pass over all entities, for everybody who waits for one: queries find their results, and the graph becomes known.

use std::{
    collections::{HashMap, HashSet},
    mem,
};

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};

use super::{
    super::{RETRY, Room},
    Outgoing,
};
use crate::{
    actors::messages::Order,
    backbone::{BackboneError, EntityMark, EntityPage, Page, ReadBudget, Stored, Subject},
    model::{
        EntityKey, Position,
        interest::{Change, InterestId, Touched},
    },
    wire::{Code, Refusal, interest::Read},
};

/// Entities in one page.
const ENTITIES: usize = 1_000;
/// Entities that may change during a pass: about 150 bytes each.
const CHANGED: usize = 262_144;

/// A pass that is under way.
#[derive(Debug)]
pub(super) struct Search {
    /// For whom.
    ids: HashSet<InterestId>,
    /// What changed since it began, and when last: what is read of it may be older.
    changed: HashMap<EntityKey, Position>,
    /// Everything up to here has to be in what was shown; later changes come by themselves.
    until: Position,
}

impl Room {
    /// Begins a pass for those who wait, unless one is under way.
    pub(super) fn search_for_waiting(&mut self, ctx: &mut Context<Self>) {
        let interests = &mut self.interests;
        if interests.search.is_some() || interests.waiting.is_empty() {
            return;
        }
        let ids: HashSet<_> = mem::take(&mut interests.waiting).into_iter().collect();
        let is_region = |id| interests.served.get(id).is_some_and(|served| served.subscription.interest.is_region());
        if ids.iter().any(is_region) {
            interests.index.keep_graph();
        }
        interests.search = Some(Search { ids, changed: HashMap::new(), until: self.head });
        self.search_on(None, ctx);
    }

    /// Notes that what the pass reads of an entity may be old.
    pub(super) fn note_for_search(&mut self, key: &EntityKey, position: Position) {
        let Some(search) = &mut self.interests.search else { return };
        search.changed.insert(key.clone(), position);
        if search.changed.len() > CHANGED {
            let message = "too much changes at this moment; subscribe again";
            self.give_search_up(&Refusal::new(Code::Busy, message));
        }
    }

    /// Ends everything for which the pass goes on.
    fn give_search_up(&mut self, refusal: &Refusal) {
        if let Some(search) = &mut self.interests.search {
            search.changed = HashMap::new();
            for id in mem::take(&mut search.ids) {
                self.end_subscription(id, refusal);
            }
        }
    }

    fn search_on(&mut self, mark: Option<EntityMark>, ctx: &mut Context<Self>) {
        let budget = ReadBudget { records: ENTITIES, bytes: self.context.config.rooms.page_bytes };
        let reading = self.context.backbone.entities(&self.tenant, mark.clone(), budget);
        ctx.spawn(reading.into_actor(self).map(move |page, room, ctx| {
            match page {
                Ok(EntityPage { entities, as_of, next }) => {
                    room.show_all(entities);
                    match next {
                        Some(_) if room.is_still_searching() => room.search_on(next, ctx),
                        Some(_) => room.searched(ctx),
                        None => room.search_log(as_of, ctx),
                    }
                }
                Err(error) => room.search_again(&error, ctx, move |room, ctx| room.search_on(mark, ctx)),
            }
            room.flush(ctx);
        }));
    }

    /// What was answered may lie a little behind what the room had seen: the log tells the rest.
    fn search_log(&mut self, after: Position, ctx: &mut Context<Self>) {
        if self.interests.search.as_ref().is_none_or(|search| search.until <= after) {
            return self.searched(ctx);
        }
        let reading = self.context.backbone.read(&self.tenant, after, self.page_budget());
        ctx.spawn(reading.into_actor(self).map(move |page, room, ctx| {
            match page {
                Ok(Page { records, more, .. }) => {
                    let last = records.last().map(|stored| stored.position);
                    let entities = records.into_iter().filter_map(|stored| match &stored.subject {
                        Subject::Entity(key) => Some((key.clone(), stored)),
                        Subject::Event(_) => None,
                    });
                    room.show_all(entities.collect());
                    match last {
                        Some(last) if more => room.search_log(last, ctx),
                        _ => room.searched(ctx),
                    }
                }
                Err(error) => room.search_again(&error, ctx, move |room, ctx| room.search_log(after, ctx)),
            }
            room.flush(ctx);
        }));
    }

    fn search_again(
        &self,
        error: &BackboneError,
        ctx: &mut Context<Self>,
        then: impl FnOnce(&mut Self, &mut Context<Self>) + 'static,
    ) {
        tracing::warn!(tenant = %self.tenant, %error, "entities cannot be read; trying again");
        ctx.run_later(RETRY, then);
    }

    /// Whether somebody is left for whom the pass goes on.
    fn is_still_searching(&self) -> bool {
        let is_here = |id| self.interests.served.contains_key(id);
        self.interests.search.as_ref().is_some_and(|search| search.ids.iter().any(is_here))
    }

    fn show_all(&mut self, entities: Vec<(EntityKey, Stored)>) {
        let (mut outgoing, mut owed) = (Outgoing::default(), Vec::new());
        for (key, Stored { position, body, .. }) in entities {
            let Some(search) = &mut self.interests.search else { return };
            if search.changed.get(&key).is_some_and(|changed| *changed >= position)
                || !self.interests.index.cares_for(&key)
            {
                continue;
            }
            let Some(read) = Read::of(&self.tenant, position, &body) else { continue };
            let change = Change { touched: Touched::All, ..read.change(&key) };
            let updates = self.interests.index.show(&change);
            self.tell_updates(updates, None, &mut outgoing, &mut owed);
        }
        for (outlet, notices) in outgoing.notices {
            self.ports.post(outlet, Order::Subscriptions(notices));
        }
        self.bound_graph();
    }

    /// Ends all regions if the graph is too large.
    pub(super) fn bound_graph(&mut self) {
        let most = self.context.config.rooms.graph_entities;
        if self.interests.index.graph_len() <= most {
            return;
        }
        let message = format!("this room's graph has more than {most} nodes and edges; it has no regions");
        let served = self.interests.served.iter();
        let regions = served.filter(|(_, served)| served.subscription.interest.is_region()).map(|(id, _)| *id);
        for id in regions.collect::<Vec<_>>() {
            self.end_subscription(id, &Refusal::new(Code::LimitReached, message.clone()));
        }
    }

    /// Everything was shown.
    fn searched(&mut self, ctx: &mut Context<Self>) {
        let Some(Search { ids, .. }) = self.interests.search.take() else { return };
        for id in ids {
            let Some(served) = self.interests.served.get(&id) else { continue };
            if served.subscription.interest.is_region() {
                self.interests.knows_graph = true;
                self.begin_region(id, ctx);
            } else {
                self.interests.index.searched(id);
                self.fill_from_start(id, ctx);
            }
        }
        self.search_for_waiting(ctx);
    }
}
