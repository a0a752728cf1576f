//! Channels: what a client of `/ws` wants to hear, by names that a seed made up.
//!
//! A client that never subscribes hears everything; from its first subscription on it hears what it subscribed to.

use super::glob;

/// The channels that somebody is subscribed to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Channels(Vec<String>);

/// Greatest number of channels of one client.
pub const MOST: usize = 256;

impl Channels {
    /// Adds channels; those that are known already are not added again. `false` if there would be too many.
    pub fn add(&mut self, names: &[String]) -> bool {
        let before = self.0.len();
        for name in names {
            if !self.0.contains(name) {
                self.0.push(name.clone());
            }
        }
        let fits = self.0.len() <= MOST;
        if !fits {
            self.0.truncate(before);
        }
        fits
    }

    /// Takes channels away.
    pub fn remove(&mut self, names: &[String]) {
        self.0.retain(|known| !names.contains(known));
    }

    /// Their names.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// Whether a type is heard on one of them: `memories` has what happens to memories, `tenant.updates` everything else that
    /// happens in the tenant, any other channel the types of its name, with what follows behind a dot, or that it
    /// matches as a pattern.
    pub fn admit(&self, event_type: &str) -> bool {
        let is_memory = event_type.starts_with("memory.");
        self.0.iter().any(|channel| match channel.as_str() {
            "memories" => is_memory,
            "tenant.updates" => !is_memory,
            name => {
                let below = event_type.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
                below || glob::matches(name, event_type)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_has_the_types_that_its_name_stands_for() {
        let mut channels = Channels::default();
        assert!(channels.add(&["memories".into(), "team".into()]));
        for (event_type, heard) in [
            ("memory.created", true),
            ("memory.embedding_complete", true),
            ("team", true),
            ("team.note", true),
            ("teams", false),
            ("node.create", false),
            ("tenant.user_joined", false),
        ] {
            assert_eq!(channels.admit(event_type), heard, "{event_type}");
        }
        channels.remove(&["memories".into()]);
        assert!(!channels.admit("memory.created"));
        assert!(channels.add(&["tenant.updates".into()]));
        assert!(channels.admit("node.create") && !channels.admit("memory.created"));
    }

    #[test]
    fn too_many_channels_change_nothing() {
        let mut channels = Channels::default();
        let many: Vec<_> = (0..=MOST).map(|n| format!("c{n}")).collect();
        assert!(!channels.add(&many));
        assert_eq!(channels.names(), &[] as &[String]);
    }
}
