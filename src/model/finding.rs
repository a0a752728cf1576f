//! What somebody found who looked at one thing: how it stands, and what to do about it.

/// How a thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Fine,
    /// It works, and may not for long or not for everybody.
    Warning,
    /// It does not work.
    Wrong,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it belongs to, in a word or two.
    pub area: &'static str,
    /// How it stands.
    pub verdict: Verdict,
    /// What was seen, in one line.
    pub what: String,
    /// What to do about it, in one line; `None` where nothing is to be done.
    pub mend: Option<String>,
}

impl Finding {
    /// All is well.
    pub fn fine(area: &'static str, what: impl Into<String>) -> Self {
        Self { area, verdict: Verdict::Fine, what: what.into(), mend: None }
    }

    /// Not all is well.
    pub fn warning(area: &'static str, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { area, verdict: Verdict::Warning, what: what.into(), mend: Some(mend.into()) }
    }

    /// Nothing is well.
    pub fn wrong(area: &'static str, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { area, verdict: Verdict::Wrong, what: what.into(), mend: Some(mend.into()) }
    }
}
