//! How members stand, for those who look after the node: some of them at a time.

use super::{Core, Member, Phase};
use crate::{
    actors::survey::{AT_ONCE, Look, Looked, SessionStands},
    model::Position,
};

impl Member {
    /// How far it was sent records, once it was welcomed.
    fn place(&self) -> Option<Position> {
        (self.phase != Phase::Waiting).then_some(self.reader.passed)
    }

    fn stands(&self) -> SessionStands {
        SessionStands {
            session: self.session,
            instance: self.instance.clone(),
            user: self.presence.user.clone(),
            since: self.presence.connected_at,
            transport: self.link.transport(),
            state: match self.phase {
                Phase::Waiting => "waiting",
                Phase::Live => "live",
                Phase::Fetching | Phase::Draining => "behind",
            },
            position: self.place(),
            outbox_bytes: self.link.waiting(),
            stuck: self.link.stuck(),
            unanswered: self.link.unsettled(),
        }
    }
}

impl Core {
    /// Looks at the members in the next places.
    pub(in super::super) fn look(&self, Look { from, sort, most }: Look) -> Looked {
        let to = self.members.capacity().min(from.saturating_add(AT_ONCE));
        let mut looked = Looked { next: (to < self.members.capacity()).then_some(to), ..Looked::default() };
        let mut ranked = Vec::new();
        for member in (from..to).filter_map(|slot| self.members.get(slot)) {
            let (place, waiting) = (member.place(), member.link.waiting());
            looked.members += 1;
            looked.outbox_bytes += waiting as u64;
            looked.lowest = looked.lowest.into_iter().chain(place).min();
            if most > 0 {
                ranked.push((sort.rank(place, waiting, member.presence.connected_at), member));
            }
        }
        ranked.sort_unstable_by_key(|(rank, _)| *rank);
        looked.sessions = ranked.into_iter().take(most).map(|(_, member)| member.stands()).collect();
        looked
    }
}
