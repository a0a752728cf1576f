//! Server-side filters over types: a comma-separated list of names in which `*` stands for any run of characters.

use memchr::memmem;

use super::{
    EventType, IdError,
    rights::{Patterns, STARS, stars},
};

/// Greatest number of patterns in one filter.
const MAX_PATTERNS: usize = 64;

/// Which types a session wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeFilter(Patterns);

impl Default for TypeFilter {
    fn default() -> Self {
        Self(Patterns::all())
    }
}

impl TypeFilter {
    /// Reads `memory.*,concept_learned`. Empty parts are skipped; nothing at all wants everything.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let mut patterns: Vec<String> = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            if part.len() > 128 {
                return Err(IdError::TooLong { what: "types", limit: 128 });
            }
            if !part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'*')) {
                return Err(IdError::Forbidden { what: "types", allowed: "event types and '*', joined by commas" });
            }
            if stars(part) > STARS {
                return Err(IdError::Malformed { what: "types", form: "names with at most 8 '*' each" });
            }
            patterns.push(part.into());
        }
        if patterns.len() > MAX_PATTERNS {
            return Err(IdError::TooLong { what: "types", limit: MAX_PATTERNS });
        }
        Ok(if patterns.is_empty() { Self::default() } else { Self(Patterns::of(patterns)) })
    }

    /// Whether everything passes.
    pub fn is_open(&self) -> bool {
        self.0.is_all()
    }

    /// Whether this type passes.
    pub fn admits(&self, event_type: &EventType) -> bool {
        self.admits_name(event_type.as_str())
    }

    /// The same for a name that is known to be a type.
    pub fn admits_name(&self, name: &str) -> bool {
        self.0.admits(name)
    }
}

/// Glob match in linear time: what stands between two `*` is looked for behind what was found before it, by a search that never
/// goes back.
pub(super) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let mut parts = pattern.split(|byte| *byte == b'*');
    let Some(rest) = name.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let Some(end) = parts.next_back() else { return rest.is_empty() };
    let Some(mut rest) = rest.strip_suffix(end) else { return false };
    for part in parts {
        match memmem::find(rest, part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_stand_for_any_run() {
        let filter = TypeFilter::parse("memory.*, concept_learned,*_made").expect("filter");
        for name in ["memory.created", "memory.a.b", "concept_learned", "decision_made"] {
            assert!(filter.admits(&name.parse().expect("type")), "{name}");
        }
        for name in ["memory", "concept_learned2", "made_up"] {
            assert!(!filter.admits(&name.parse().expect("type")), "{name}");
        }
    }

    #[test]
    fn a_glob_is_what_trying_every_run_finds() {
        fn slowly(pattern: &[u8], name: &[u8]) -> bool {
            match pattern.split_first() {
                None => name.is_empty(),
                Some((b'*', rest)) => (0..=name.len()).any(|taken| slowly(rest, &name[taken..])),
                Some((byte, rest)) => name.split_first().is_some_and(|(n, name)| n == byte && slowly(rest, name)),
            }
        }
        let words = |letters: &[u8], longest: u32| -> Vec<Vec<u8>> {
            let of = |length: u32| {
                (0..(letters.len() as u64).pow(length)).map(move |mut n| {
                    let mut letter = || {
                        let letter = letters[(n % letters.len() as u64) as usize];
                        n /= letters.len() as u64;
                        letter
                    };
                    (0..length).map(|_| letter()).collect::<Vec<_>>()
                })
            };
            (0..=longest).flat_map(of).collect()
        };
        let names = words(b"ab", 6);
        for pattern in words(b"ab*", 6) {
            for name in &names {
                assert_eq!(matches(&pattern, name), slowly(&pattern, name), "{pattern:?} {name:?}");
            }
        }
    }

    #[test]
    fn nothing_and_a_star_want_everything() {
        assert!(TypeFilter::parse("").expect("filter").is_open());
        assert!(TypeFilter::parse("a,*").expect("filter").is_open());
        assert!(TypeFilter::parse("a b").is_err());
        assert!(TypeFilter::parse(&"*a".repeat(8)).is_ok() && TypeFilter::parse(&"*a".repeat(9)).is_err());
        assert!(TypeFilter::parse(&vec!["a"; 65].join(",")).is_err());
    }
}
