//! Whether the node should get traffic, and why not: said to probes, to the other nodes and to people.
//!
//! Owns: the words. Must not know: HTTP.

use super::context::NodeContext;
use crate::{backbone::Health, journal::Standing};

/// Whether the node should get traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Yes.
    Ready,
    /// It serves, with something missing.
    Degraded(String),
    /// The log was not reached yet.
    Starting(String),
    /// It goes away.
    Draining,
    /// The log is out of reach and nothing more can be kept.
    JournalFull(String),
}

impl Readiness {
    /// A node's own.
    pub fn now(context: &NodeContext) -> Self {
        if context.is_draining() {
            Self::Draining
        } else if context.authority.asks() && !context.authority.registry().is_ready() {
            Self::Starting("API keys and revocations have not been read yet".into())
        } else {
            Self::of(context.backbone.health(), context.journal.as_ref().map(|journal| journal.standing()))
        }
    }

    /// By the log and the journal, if there is one.
    fn of(health: Health, standing: Option<Standing>) -> Self {
        match (health, standing) {
            (Health::Down(why) | Health::Degraded(why), Some(Standing::Full)) => Self::JournalFull(why),
            (Health::Down(why), _) => Self::Starting(why),
            (Health::Degraded(why), _) => Self::Degraded(why),
            (Health::Serving, None | Some(Standing::Empty)) => Self::Ready,
            (Health::Serving, Some(Standing::Holding(1))) => Self::Degraded("1 publish waits in the journal".into()),
            (Health::Serving, Some(Standing::Holding(entries))) => {
                Self::Degraded(format!("{entries} publishes wait in the journal"))
            }
            (Health::Serving, Some(Standing::Full)) => {
                Self::Degraded("the journal is full and is being drained".into())
            }
        }
    }

    /// The word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Degraded(_) => "degraded",
            Self::Starting(_) => "starting",
            Self::Draining => "draining",
            Self::JournalFull(_) => "journal_full",
        }
    }

    /// Why it is so.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Degraded(why) | Self::Starting(why) | Self::JournalFull(why) => Some(why),
            Self::Ready | Self::Draining => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(health: Health, standing: Option<Standing>) -> Readiness {
        Readiness::of(health, standing)
    }

    #[test]
    fn a_node_whose_log_is_away_gets_traffic_as_long_as_its_journal_has_room() {
        let away = || Health::Degraded("the log is away".into());
        for standing in [Standing::Empty, Standing::Holding(7)] {
            assert_eq!(of(away(), Some(standing)), Readiness::Degraded("the log is away".into()));
        }
        assert_eq!(of(away(), Some(Standing::Full)), Readiness::JournalFull("the log is away".into()));
    }

    #[test]
    fn a_node_that_drains_its_journal_serves_and_says_so() {
        for standing in [Standing::Holding(1), Standing::Holding(2), Standing::Full] {
            assert_eq!(of(Health::Serving, Some(standing)).word(), "degraded");
        }
        for standing in [None, Some(Standing::Empty)] {
            assert_eq!(of(Health::Serving, standing), Readiness::Ready);
        }
    }

    #[test]
    fn a_log_that_was_never_reached_is_a_node_that_starts() {
        let never = || Health::Down("not reached yet".into());
        assert_eq!(of(never(), Some(Standing::Holding(3))), Readiness::Starting("not reached yet".into()));
        assert_eq!(of(never(), None).word(), "starting");
    }
}
