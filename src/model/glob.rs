//! A name in which one `*` stands for any run of characters. Owns: that a look at it costs two comparisons, whatever both are.

/// Whether a pattern has at most one `*`: then a list of them is looked through in no time.
pub fn has_one_star(pattern: &str) -> bool {
    pattern.bytes().filter(|byte| *byte == b'*').count() <= 1
}

/// A pattern that is looked at often. Of several `*`, the first alone stands for anything: see [`has_one_star`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    text: Box<str>,
    star: Option<usize>,
}

impl<T: Into<Box<str>>> From<T> for Glob {
    fn from(text: T) -> Self {
        let text = text.into();
        Self { star: text.find('*'), text }
    }
}

impl Glob {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it admits a name.
    pub fn admits(&self, name: &str) -> bool {
        fits(self.text.as_bytes(), self.star, name.as_bytes())
    }
}

/// Whether a pattern with at most one `*` admits a name.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    fits(pattern.as_bytes(), pattern.find('*'), name.as_bytes())
}

fn fits(pattern: &[u8], star: Option<usize>, name: &[u8]) -> bool {
    // Most differ in their first byte.
    if star != Some(0) && pattern.first() != name.first() {
        return false;
    }
    let Some(star) = star else { return pattern == name };
    let (begin, end) = (&pattern[..star], &pattern[star + 1..]);
    name.len() >= begin.len() + end.len() && is_at(name, 0, begin) && is_at(name, name.len() - end.len(), end)
}

/// Whether a part stands there; to compare nothing costs as much as to compare a line.
fn is_at(name: &[u8], at: usize, part: &[u8]) -> bool {
    part.is_empty() || name[at..at + part.len()] == *part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_is_what_trying_every_run_finds() {
        fn slowly(pattern: &[u8], name: &[u8]) -> bool {
            match pattern.split_first() {
                None => name.is_empty(),
                Some((b'*', rest)) => (0..=name.len()).any(|taken| slowly(rest, &name[taken..])),
                Some((byte, rest)) => name.split_first().is_some_and(|(n, name)| n == byte && slowly(rest, name)),
            }
        }
        let words = |letters: &[char]| -> Vec<String> {
            let mut words = vec![String::new()];
            let mut last = words.clone();
            for _ in 0..6 {
                last =
                    last.iter().flat_map(|word| letters.iter().map(move |letter| format!("{word}{letter}"))).collect();
                words.extend(last.iter().cloned());
            }
            words
        };
        let names = words(&['a', 'b']);
        for pattern in words(&['a', 'b', '*']).into_iter().filter(|pattern| has_one_star(pattern)) {
            let glob = Glob::from(pattern.as_str());
            for name in &names {
                let expected = slowly(pattern.as_bytes(), name.as_bytes());
                assert_eq!((glob.admits(name), matches(&pattern, name)), (expected, expected), "{pattern} {name}");
            }
        }
    }
}
