//! Server-side filters over types: a comma-separated list of names in which one `*` stands for any run of characters.

use super::{EventType, IdError, glob::has_one_star, rights::Patterns};

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
            if !has_one_star(part) {
                return Err(IdError::Malformed { what: "types", form: "names with at most one '*' each" });
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
    fn nothing_and_a_star_want_everything() {
        assert!(TypeFilter::parse("").expect("filter").is_open());
        assert!(TypeFilter::parse("a,*").expect("filter").is_open());
        assert!(TypeFilter::parse("a b").is_err());
        assert!(TypeFilter::parse("a*b").is_ok() && TypeFilter::parse("*a*").is_err());
        assert!(TypeFilter::parse(&vec!["a"; 65].join(",")).is_err());
    }
}
