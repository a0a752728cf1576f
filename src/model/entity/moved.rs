//! An entity that moves to another log, where the positions of the old one mean nothing.
//!
//! Owns: what of its state still says something there. Every position becomes that of the one record which the entity is in the new
//! log, so whoever has seen that record has seen everything, and an operation on an older version of the new log clashes with all of it.

use super::{
    DEPTH, Limits, Position, State, THIS,
    change::is_deeper,
    recent::{IDS, REPLICAS},
    texts::TEXTS,
};

/// Longest name of a user, in bytes.
const NAME_BYTES: usize = 1024;

impl State {
    /// Lets every position stand for the record that is being made. Edits of texts are forgotten: none of them lies behind it.
    pub fn restamp(&mut self) {
        self.clocks.restamp();
        self.recent.restamp();
        self.open.iter_mut().filter(|open| open.base != Position::START).for_each(|open| open.base = THIS);
        self.texts.iter_mut().for_each(|text| {
            text.since = THIS;
            text.edits.clear();
        });
        self.stands_at = Position::START;
    }

    /// Holds a state that somebody else has written down to what this node would have written.
    ///
    /// # Errors
    ///
    /// In words: what is wrong with it.
    pub fn check(&self, limits: Limits) -> Result<(), &'static str> {
        let Some(created) = &self.created else { return Err("nobody has made the entity") };
        let stamps = [Some(created), self.changed.as_ref()].into_iter().flatten();
        let mut stamps = stamps.chain(self.open.iter().map(|open| &open.stamp));
        if stamps.any(|stamp| [&stamp.by.user, &stamp.by.name].iter().any(|name| is_long(name.as_deref()))) {
            return Err("a user's name is too long");
        }
        if self.open.len() > limits.open {
            return Err("too many conflicts and variants are open");
        }
        let contents = self.open.iter().flat_map(|open| [&open.was, &open.proposed]).flatten();
        if contents.into_iter().any(|content| is_deeper(content, DEPTH)) {
            return Err("what was proposed is nested too deeply");
        }
        if self.texts.len() > TEXTS || self.recent.len() > IDS + REPLICAS || !self.clocks.are_bounded() {
            return Err("it remembers more than an entity does");
        }
        Ok(())
    }
}

fn is_long(name: Option<&str>) -> bool {
    name.is_some_and(|name| name.len() > NAME_BYTES)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn state() -> State {
        let stamp = json!({"by": {"instance_id": "a"}, "at": 7});
        let state = json!({
            "created": stamp,
            "clocks": {"by": ["a"], "at": [["", 900, 0], ["/t", 901, null]]},
            "recent": {"ids": [["00000000-0000-0000-0000-000000000001", {"version": 900}]]},
            "open": [{"id": "00000000-0000-0000-0000-000000000002", "kind": "conflict", "base": 899, "proposed": {"t": 1},
                "paths": ["/t"], "stamp": stamp}],
            "texts": [{"path": "/t", "since": 3, "edits": [{"v": 901, "r": "a", "ops": ["x"]}]}],
        });
        serde_json::from_value(state).expect("a state")
    }

    #[test]
    fn nothing_of_the_old_logs_positions_is_left() {
        let mut moved = state();
        moved.restamp();
        let text = serde_json::to_string(&moved).expect("JSON");
        assert!(["899", "900", "901", "\"x\""].iter().all(|gone| !text.contains(gone)), "{text}");
        assert!(text.contains("00000000-0000-0000-0000-000000000001"), "{text}");
    }

    #[test]
    fn a_state_that_no_node_wrote_is_refused() {
        let limits = Limits { data_bytes: 1 << 20, open: 1 };
        assert_eq!(state().check(limits), Ok(()));
        let nobody = State { created: None, ..state() };
        let mut crowded = state();
        crowded.open = vec![crowded.open[0].clone(), crowded.open[0].clone()];
        let mut deep = state();
        deep.open[0].proposed = Some((0..70).fold(json!(1), |inner, _| json!([inner])));
        let mut long = state();
        long.texts = vec![long.texts[0].clone(); TEXTS + 1];
        for wrong in [nobody, crowded, deep, long] {
            assert!(wrong.check(limits).is_err(), "{wrong:?}");
        }
    }
}
