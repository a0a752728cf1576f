//! Subjects and streams: how ids become tokens, and back.
//!
//! Owns: invariant **injective names** (no two ids share a token, and no id can hold `.`, `*`, `>` or a blank in one).
//! Letters, digits, `_` and `-` stay as they are, so that subjects can be read; every other byte is `=XX` in hexadecimal.

use std::{fmt, str};

use crate::{
    backbone::{Channel, Subject},
    model::{EntityKey, InstanceId, TenantId},
};

/// The names of one system's subjects and streams.
#[derive(Clone, Debug)]
pub struct Names {
    prefix: String,
    shards: u16,
}

/// An id as one subject token.
pub struct Token<'a>(pub &'a str);

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Plain stretches in one piece: most ids are nothing else, and this is done for every publish.
        let mut rest = self.0;
        while let Some(at) = rest.bytes().position(|byte| !is_plain(byte)) {
            let (plain, odd) = rest.split_at(at);
            f.write_str(plain)?;
            let end = odd.chars().next().map_or(odd.len(), char::len_utf8);
            let (odd, behind) = odd.split_at(end);
            odd.bytes().try_for_each(|byte| write!(f, "={byte:02X}"))?;
            rest = behind;
        }
        f.write_str(rest)
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

/// The id behind a token; `None` for what no id is written as.
pub fn id_in(token: &str) -> Option<String> {
    let mut bytes = token.bytes();
    let mut id = Vec::with_capacity(token.len());
    while let Some(byte) = bytes.next() {
        if byte == b'=' {
            let digits = [bytes.next()?, bytes.next()?];
            let upper = digits.iter().all(|digit| digit.is_ascii_digit() || (b'A'..=b'F').contains(digit));
            let value = u8::from_str_radix(str::from_utf8(&digits).ok()?, 16).ok()?;
            // Exactly one way to write each byte.
            if !upper || is_plain(value) {
                return None;
            }
            id.push(value);
        } else if is_plain(byte) {
            id.push(byte);
        } else {
            return None;
        }
    }
    String::from_utf8(id).ok().filter(|id| !id.is_empty())
}

impl Names {
    /// Of a system with this prefix (lower-case letters, digits, `_`, `-`) and number of shards (at least 1).
    pub fn new(prefix: &str, shards: u16) -> Self {
        Self { prefix: prefix.to_owned(), shards: shards.max(1) }
    }

    /// The number of shards.
    pub fn shards(&self) -> u16 {
        self.shards
    }

    /// A tenant's shard: the same on every node of every version.
    pub fn shard_of(&self, tenant: &TenantId) -> u16 {
        let hash = xxhash_rust::xxh3::xxh3_64(tenant.as_str().as_bytes());
        u16::try_from(hash % u64::from(self.shards)).expect("less than a u16")
    }

    fn stream(&self, what: &str) -> String {
        format!("{}_{what}", self.prefix.to_ascii_uppercase())
    }

    /// The stream that holds a shard's log.
    pub fn log_stream(&self, shard: u16) -> String {
        self.stream(&format!("LOG_{shard}"))
    }

    /// The stream that holds the last record of a shard's entities.
    pub fn state_stream(&self, shard: u16) -> String {
        self.stream(&format!("STATE_{shard}"))
    }

    /// The stream that holds cursors and tallies.
    pub fn kept_stream(&self) -> String {
        self.stream("KEPT")
    }

    /// All subjects of a shard's log.
    pub fn log_subjects(&self, shard: u16) -> String {
        format!("{}.log.{shard}.>", self.prefix)
    }

    /// The subjects of a shard's entities.
    pub fn entity_subjects(&self, shard: u16) -> String {
        entities_under(&self.log_prefix(shard))
    }

    /// The subjects of all cursors and tallies.
    pub fn kept_subjects(&self) -> [String; 2] {
        [format!("{}.cursor.*.*", self.prefix), format!("{}.tally.*", self.prefix)]
    }

    /// What the subjects of a shard's records begin with, up to the tenant.
    pub fn log_prefix(&self, shard: u16) -> String {
        format!("{}.log.{shard}.", self.prefix)
    }

    /// All records of a tenant.
    pub fn of_tenant(&self, tenant: &TenantId) -> String {
        format!("{}.log.{}.{}.>", self.prefix, self.shard_of(tenant), Token(tenant.as_str()))
    }

    /// All entities of a tenant.
    pub fn entities_of(&self, tenant: &TenantId) -> String {
        format!("{}.log.{}.{}.entity.>", self.prefix, self.shard_of(tenant), Token(tenant.as_str()))
    }

    /// One record's subject.
    pub fn record(&self, tenant: &TenantId, subject: &Subject) -> String {
        let (shard, of) = (self.shard_of(tenant), Token(tenant.as_str()));
        match subject {
            Subject::Event(kind) => format!("{}.log.{shard}.{of}.event.{}", self.prefix, Token(kind.as_str())),
            Subject::Entity(EntityKey { kind, id }) => {
                format!("{}.log.{shard}.{of}.entity.{}.{}", self.prefix, Token(kind), Token(id))
            }
        }
    }

    /// Where the cursors of a tenant's instances are kept.
    pub fn cursors_of(&self, tenant: &TenantId) -> String {
        format!("{}.cursor.{}.*", self.prefix, Token(tenant.as_str()))
    }

    /// Where an instance's cursor is kept.
    pub fn cursor(&self, tenant: &TenantId, instance: &InstanceId) -> String {
        format!("{}.cursor.{}.{}", self.prefix, Token(tenant.as_str()), Token(instance.as_str()))
    }

    /// Where a tenant's tally is kept.
    pub fn tally(&self, tenant: &TenantId) -> String {
        format!("{}.tally.{}", self.prefix, Token(tenant.as_str()))
    }

    /// A channel's subject.
    pub fn channel(&self, channel: &Channel) -> String {
        match channel {
            Channel::Room(tenant) => format!("{}.signal.{}", self.prefix, Token(tenant.as_str())),
            Channel::Nodes => format!("{}.nodes", self.prefix),
        }
    }

    /// What all inboxes of a node begin with; permissions are given by it.
    pub fn inbox_prefix(&self) -> String {
        format!("_INBOX_{}", self.prefix)
    }
}

/// The subjects of all entities behind [`Names::log_prefix`].
pub fn entities_under(prefix: &str) -> String {
    format!("{prefix}*.entity.*.*")
}

/// The tenant's token and the rest of a record's subject, behind [`Names::log_prefix`].
pub fn split<'a>(prefix: &str, subject: &'a str) -> Option<(&'a str, &'a str)> {
    subject.strip_prefix(prefix)?.split_once('.')
}

/// What the rest of a subject says that the record is about.
pub fn subject_in(rest: &str) -> Option<Subject> {
    let mut tokens = rest.split('.');
    let subject = match (tokens.next()?, tokens.next()?, tokens.next()) {
        ("event", kind, None) => Subject::Event(id_in(kind)?.parse().ok()?),
        ("entity", kind, Some(id)) => Subject::Entity(EntityKey::new(&id_in(kind)?, &id_in(id)?).ok()?),
        _ => return None,
    };
    tokens.next().is_none().then_some(subject)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_ids_stay_readable_and_the_rest_is_escaped() {
        let names = Names::new("sync", 1);
        let acme: TenantId = "acme".parse().expect("a tenant");
        let event = Subject::Event("memory.created".parse().expect("a type"));
        assert_eq!(names.record(&acme, &event), "sync.log.0.acme.event.memory=2Ecreated");
        let entity = Subject::Entity(EntityKey::new("node", "a b>*ä=").expect("a key"));
        assert_eq!(names.record(&acme, &entity), "sync.log.0.acme.entity.node.a=20b=3E=2A=C3=A4=3D");
        assert_eq!(names.log_stream(0), "SYNC_LOG_0");
    }

    #[test]
    fn what_no_id_is_written_as_is_no_token() {
        for token in ["", "a.b", "a b", "=", "=4", "=61", "a=5F", "=2a", "=+A", "=FF"] {
            assert_eq!(id_in(token), None, "{token}");
        }
        assert_eq!(id_in("a=2Ab").as_deref(), Some("a*b"));
    }

    #[test]
    fn a_tenant_stays_in_its_shard_for_good() {
        let names = Names::new("sync", 8);
        let shards = ["default", "acme", "team-7", "Zoë".trim_end_matches('ë')]
            .map(|tenant| names.shard_of(&tenant.parse().expect("a tenant")));
        assert_eq!(shards, GOLDEN_SHARDS);
    }

    /// Changing these moves tenants away from their history.
    const GOLDEN_SHARDS: [u16; 4] = [2, 1, 5, 3];

    proptest! {
        #[test]
        fn every_id_comes_back_from_its_token(id in "\\PC{1,40}") {
            let token = Token(&id).to_string();
            prop_assert!(token.bytes().all(|byte| is_plain(byte) || byte == b'='));
            prop_assert_eq!(id_in(&token), Some(id));
        }

        #[test]
        fn a_token_has_one_id_and_an_id_one_token(token in "[A-Fa-f0-9=._-]{1,12}") {
            if let Some(id) = id_in(&token) {
                prop_assert_eq!(Token(&id).to_string(), token);
            }
        }

        #[test]
        fn subjects_come_back(kind in "[a-z_]{1,9}", id in "\\PC{1,30}", event in "[a-z]{1,5}(\\.[a-z]{1,5}){0,3}") {
            let names = Names::new("sync", 3);
            let tenant: TenantId = "acme".parse().expect("a tenant");
            let entity = Subject::Entity(EntityKey::new(&kind, &id).expect("a key"));
            for subject in [entity, Subject::Event(event.parse().expect("a type"))] {
                let text = names.record(&tenant, &subject);
                let (of, rest) = split(&names.log_prefix(names.shard_of(&tenant)), &text).expect("a record's");
                prop_assert_eq!(of, "acme");
                prop_assert_eq!(subject_in(rest), Some(subject));
            }
        }
    }
}
