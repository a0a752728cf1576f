//! What the nodes that have one tenant's room say to each other about who is in it, and how each finds out that it
//! missed something.
//!
//! Every node tells its own members only, numbered, so that a hole shows; whoever finds one asks, and the answer names
//! everyone. What is lost without a trace is mended by a **digest**: everyone, or nobody, named anew now and then. A
//! neighbour from which nothing comes for several digests has nobody any more.
//!
//! Owns: the numbering, the size of a message, the bound on what others can make a room hold. Must not know: JSON.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    time::Duration,
};

use super::{
    InstanceId,
    peers::{Incarnation, NodeId},
    roster::{Claim, Claimed, Presence, Reason, Roster},
};

/// Between two digests, give or take a fifth.
pub const DIGEST: Duration = Duration::from_secs(30);
/// Digests of this room's own without a word from a neighbour, after which it is asked.
const ASK_AFTER: u32 = 2;
/// The same, after which it has nobody here.
const FORGET_AFTER: u32 = 4;
/// Bytes of names in one message, about; one more claim may go beyond.
const PART_BYTES: usize = 32 * 1024;
/// What a claim costs beside its names, about.
const CLAIM_BYTES: usize = 192;

/// One room on one node, from its start or the node's return from a pause to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Run {
    /// The node's incarnation.
    pub incarnation: Incarnation,
    /// The room's serial on that node.
    pub room: u64,
}

/// What a node says about its own members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// This one is with me now.
    Joined(Claim),
    /// I lost its connection and wait for it.
    Missed(InstanceId),
    /// This one left.
    Left(InstanceId, Reason),
    /// Everyone who is with me; in parts, which follow each other directly.
    Present {
        /// Those of this part.
        claims: Vec<Claim>,
        /// Which part.
        part: Part,
    },
}

/// Which part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Whether nothing comes before it.
    pub first: bool,
    /// Whether nothing follows.
    pub last: bool,
}

/// What one node's room says to the others'.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Something about its members.
    News {
        /// The room, as its serial on its node.
        room: u64,
        /// One more than the room's news before.
        number: u64,
        /// What.
        news: News,
    },
    /// A question who is there: to everyone, or to one node.
    Ask(Option<NodeId>),
}

/// What is to be done about something heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect<M> {
    /// Announce that this instance joined.
    Joined(InstanceId),
    /// Announce that this instance, of which the others saw this, left.
    Left(InstanceId, Presence, Reason),
    /// Close this connection: a newer one of its instance is elsewhere.
    Dismiss(M),
    /// Ask who is there: everyone, or one node.
    Ask(Option<NodeId>),
    /// Tell everyone who is here.
    Answer,
}

/// What is known of one neighbour's news.
#[derive(Debug)]
struct Source {
    run: Run,
    /// The number that the next one should have.
    next: u64,
    /// Those named so far by a list whose parts are coming in.
    named: Option<BTreeSet<InstanceId>>,
    /// Whether it was asked and has not answered.
    asked: bool,
    /// Digests of this room's own since its last word.
    silent: u32,
}

/// The same tenant's rooms on other nodes.
#[derive(Debug)]
pub struct Neighbours {
    me: NodeId,
    /// The run and number of the last news told.
    told: (Run, u64),
    sources: BTreeMap<NodeId, Source>,
    /// Instances beyond this many are not taken from others.
    most: usize,
}

impl Neighbours {
    /// None known yet. `most` bounds the roster.
    pub fn new(me: NodeId, most: usize) -> Self {
        Self { me, told: (Run::default(), 0), sources: BTreeMap::new(), most }
    }

    /// Numbers news for the others.
    pub fn tell(&mut self, run: Run, news: News) -> Said {
        let (last_run, last) = self.told;
        let number = if run == last_run { last + 1 } else { 1 };
        self.told = (run, number);
        Said::News { room: run.room, number, news }
    }

    /// Everyone who is here, in as many parts as it takes; at least one.
    pub fn list<M: Copy + PartialEq>(roster: &Roster<M>) -> Vec<News> {
        let (mut parts, mut bytes) = (vec![Vec::new()], 0);
        for claim in roster.claims() {
            bytes += size_of_claim(&claim);
            let mut part = parts.pop().unwrap_or_default();
            part.push(claim);
            parts.push(part);
            if bytes >= PART_BYTES {
                parts.push(Vec::new());
                bytes = 0;
            }
        }
        if parts.len() > 1 && parts.last().is_some_and(Vec::is_empty) {
            parts.pop();
        }
        let count = parts.len();
        let part =
            |(index, claims)| News::Present { claims, part: Part { first: index == 0, last: index + 1 == count } };
        parts.into_iter().enumerate().map(part).collect()
    }

    /// Takes in what another node said.
    pub fn hear<M: Copy + PartialEq>(
        &mut self,
        roster: &mut Roster<M>,
        from: NodeId,
        incarnation: Incarnation,
        said: Said,
    ) -> Vec<Effect<M>> {
        let mut effects = Vec::new();
        match said {
            Said::Ask(of) if of.is_none_or(|of| of == self.me) => effects.push(Effect::Answer),
            Said::Ask(_) => {}
            Said::News { room, number, news } => {
                let run = Run { incarnation, room };
                if self.follow(from, run, number, &news, &mut effects) {
                    self.take_in(roster, from, news, &mut effects);
                }
            }
        }
        effects
    }

    /// Whether news is to be taken in; asks if some before it are missing.
    fn follow<M>(&mut self, from: NodeId, run: Run, number: u64, news: &News, effects: &mut Vec<Effect<M>>) -> bool {
        let fresh = Source { run, next: 1, named: None, asked: false, silent: 0 };
        let source = self.sources.entry(from).or_insert(fresh);
        if run > source.run {
            // Those of the run before stay until this one has named everybody.
            *source = Source { run, next: 1, named: None, asked: false, silent: 0 };
        }
        if run < source.run || number < source.next {
            return false;
        }
        source.silent = 0;
        let starts_anew = matches!(news, News::Present { part: Part { first: true, .. }, .. });
        if number != source.next && !starts_anew {
            source.named = None;
            if !mem::replace(&mut source.asked, true) {
                effects.push(Effect::Ask(Some(from)));
            }
        }
        source.next = number.saturating_add(1);
        true
    }

    fn take_in<M: Copy + PartialEq>(
        &mut self,
        roster: &mut Roster<M>,
        from: NodeId,
        news: News,
        effects: &mut Vec<Effect<M>>,
    ) {
        match news {
            News::Joined(claim) => self.claimed(roster, from, claim, effects),
            News::Missed(instance) => roster.missed_there(from, &instance),
            News::Left(instance, reason) => {
                if let Some(presence) = roster.left_there(from, &instance) {
                    effects.push(Effect::Left(instance, presence, reason));
                }
            }
            News::Present { claims, part } => {
                let Some(source) = self.sources.get_mut(&from) else { return };
                let mut named = if part.first { Some(BTreeSet::new()) } else { source.named.take() };
                for claim in claims {
                    let instance = claim.instance.clone();
                    self.claimed(roster, from, claim, effects);
                    // What the roster has no room for is not remembered here either.
                    if let Some(named) = named.as_mut().filter(|_| roster.contains(&instance)) {
                        named.insert(instance);
                    }
                }
                let Some(source) = self.sources.get_mut(&from) else { return };
                match named {
                    Some(named) if part.last => {
                        source.asked = false;
                        let gone = roster.keep_only(from, &named);
                        if !gone.is_empty() {
                            // Their end was not heard, so an older connection may be elsewhere that was not listened to.
                            effects.push(Effect::Ask(None));
                        }
                        lost(gone, effects);
                    }
                    unfinished => source.named = unfinished,
                }
            }
        }
    }

    fn claimed<M: Copy + PartialEq>(
        &self,
        roster: &mut Roster<M>,
        from: NodeId,
        claim: Claim,
        effects: &mut Vec<Effect<M>>,
    ) {
        if roster.len() >= self.most && !roster.contains(&claim.instance) {
            return;
        }
        let instance = claim.instance.clone();
        match roster.claimed(from, claim) {
            Claimed::New => effects.push(Effect::Joined(instance)),
            Claimed::Takes(member) => effects.push(Effect::Dismiss(member)),
            Claimed::Known | Claimed::Older => {}
        }
    }

    /// Another node is gone, unless it is back already.
    pub fn gone<M: Copy + PartialEq>(
        &mut self,
        roster: &mut Roster<M>,
        node: NodeId,
        incarnation: Incarnation,
    ) -> Vec<Effect<M>> {
        let mut effects = Vec::new();
        if self.sources.get(&node).is_some_and(|source| source.run.incarnation <= incarnation) {
            self.sources.remove(&node);
            lost(roster.node_gone(node), &mut effects);
        }
        effects
    }

    /// Another node said farewell; who was there has until `gone_at` to come back elsewhere.
    pub fn departed<M: Copy + PartialEq>(&mut self, roster: &mut Roster<M>, node: NodeId, gone_at: Duration) {
        self.sources.remove(&node);
        roster.node_departed(node, gone_at);
    }

    /// The time for a digest has come: asks neighbours that were silent for long, forgets those that stay silent.
    pub fn tick<M: Copy + PartialEq>(&mut self, roster: &mut Roster<M>) -> Vec<Effect<M>> {
        let mut effects = Vec::new();
        let mut forgotten = Vec::new();
        for (node, source) in &mut self.sources {
            source.silent += 1;
            source.asked = source.silent >= ASK_AFTER;
            if source.silent >= FORGET_AFTER {
                forgotten.push(*node);
            } else if source.asked {
                effects.push(Effect::Ask(Some(*node)));
            }
        }
        for node in forgotten {
            self.sources.remove(&node);
            lost(roster.node_gone(node), &mut effects);
        }
        effects
    }

    /// This node could not hear until now: nobody was silent.
    pub fn excuse(&mut self) {
        for source in self.sources.values_mut() {
            (source.silent, source.asked) = (0, false);
        }
    }

    /// Whether any neighbour is known.
    pub fn any(&self) -> bool {
        !self.sources.is_empty()
    }
}

fn lost<M>(gone: Vec<(InstanceId, Presence)>, effects: &mut Vec<Effect<M>>) {
    effects.extend(gone.into_iter().map(|(instance, presence)| Effect::Left(instance, presence, Reason::Lost)));
}

fn size_of_claim(claim: &Claim) -> usize {
    let Presence { capabilities, user, name, .. } = &claim.presence;
    let words: usize = capabilities.iter().map(|word| word.len() + 3).sum();
    let names: usize = [user, name].into_iter().flatten().map(|name| name.len()).sum();
    CLAIM_BYTES + claim.instance.as_str().len() + words + names
}

#[cfg(test)]
mod tests;
