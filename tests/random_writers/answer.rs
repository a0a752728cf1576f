//! What a node says became of an operation, on a socket or over HTTP.

use serde_json::Value;

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub fate: Fate,
    /// The version that it names.
    pub version: u64,
    pub is_repeat: bool,
    /// All that it says.
    pub data: Value,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Confirmed,
    Resolved,
    Pending,
    RolledBack,
    /// It is to be sent again under its id.
    SendAgain,
}

impl Answer {
    /// Reads what a socket says, if it is an answer: with the operation's id.
    pub fn on_socket(message: &Value) -> Option<(String, Self)> {
        let data = &message["data"];
        let kind = message["type"].as_str().unwrap_or_default();
        let id = match kind {
            "error" | "system.error" => data["id"].as_str()?,
            _ => data["updateId"].as_str()?,
        };
        let fate = match kind {
            "update.confirmed" => Fate::Confirmed,
            "update.conflict_resolved" => Fate::Resolved,
            "update.conflict_pending" => Fate::Pending,
            "update.rollback" => Fate::RolledBack,
            "update.retry" | "error" | "system.error" if is_passing(data["code"].as_str()) => Fate::SendAgain,
            _ => panic!("no answer to {id}: {message}"),
        };
        Some((id.to_owned(), Self::of(fate, data)))
    }

    /// Reads what HTTP says.
    pub fn over_http(body: &Value) -> Self {
        let fate = match (body["outcome"].as_str(), body["code"].as_str()) {
            (Some("confirmed"), _) => Fate::Confirmed,
            (Some("conflict_resolved"), _) => Fate::Resolved,
            (_, Some("conflict_pending")) => Fate::Pending,
            (_, code) if is_passing(code) => Fate::SendAgain,
            (_, Some(code)) if body["version"].is_u64() => {
                assert!(!code.starts_with("invalid"), "{body}");
                Fate::RolledBack
            }
            _ => panic!("no answer: {body}"),
        };
        Self::of(fate, body)
    }

    fn of(fate: Fate, data: &Value) -> Self {
        let version = data["version"].as_u64().unwrap_or_default();
        Self { fate, version, is_repeat: data["duplicate"] == true, data: data.clone() }
    }

    pub fn is_final(&self) -> bool {
        self.fate != Fate::SendAgain
    }

    /// Whether it says that something was done.
    pub fn says_done(&self) -> bool {
        matches!(self.fate, Fate::Confirmed | Fate::Resolved | Fate::Pending)
    }

    /// The conflict or variant that it names.
    pub fn opens(&self) -> Option<String> {
        ["conflict_id", "variant_id"].iter().find_map(|name| self.data[*name].as_str()).map(str::to_owned)
    }

    /// Which fields were written over, as far as it tells.
    pub fn told(&self) -> impl Iterator<Item = &str> {
        let whole = self.data["overwritten"].as_array().into_iter().flatten().filter_map(|over| over["path"].as_str());
        whole.chain(self.data["overwritten_paths"].as_array().into_iter().flatten().filter_map(Value::as_str))
    }
}

fn is_passing(code: Option<&str>) -> bool {
    matches!(code, Some("contended" | "unavailable" | "unknown" | "busy"))
}
