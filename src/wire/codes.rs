//! The stable codes: errors (the same on sockets and over HTTP) and WebSocket close codes. `docs/protocol.md` lists them.

use std::{borrow::Cow, sync::Arc, time::Duration};

use crate::model::{EventId, IdError};

/// An error's stable code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// Not what the connection's encoding says.
    InvalidEncoding,
    /// Not one JSON object in UTF-8.
    InvalidJson,
    /// Nested too deeply.
    TooDeep,
    /// A field is missing or has the wrong type.
    InvalidMessage,
    /// The tenant id is not one.
    InvalidTenant,
    /// The instance id is not one.
    InvalidInstance,
    /// The event type is not one.
    InvalidType,
    /// The event type is a session message's.
    ReservedType,
    /// The publish id is not a UUID.
    InvalidEventId,
    /// Another parameter is wrong.
    InvalidParameter,
    /// The entity's type or id is not one.
    InvalidEntity,
    /// An operation makes no sense.
    InvalidOperation,
    /// A signature has not the form, is not its sender's, or cannot stand there.
    InvalidSignature,
    /// A query makes no sense.
    InvalidQuery,
    /// A query could take too long, or finds too much.
    QueryTooCostly,
    /// The file is no exported tenant, or not whole.
    InvalidExport,
    /// The tenant that is imported into holds something else.
    TenantNotEmpty,
    /// There is no token, or one that proves nothing.
    Unauthenticated,
    /// The token was good.
    TokenExpired,
    /// The token was called back.
    TokenRevoked,
    /// The tenant is being erased.
    TenantErasing,
    /// The tenant that the token was issued for was erased.
    TenantErased,
    /// The token is good, and not for this.
    Forbidden,
    /// The owner's own rule does not allow it.
    RuleRefused,
    /// The message claims to be somebody else's.
    IdentityMismatch,
    /// The browser's origin is not allowed.
    OriginRefused,
    /// The node is not set to do this.
    SwitchedOff,
    /// Too large.
    TooLarge,
    /// It did not come to its end in time.
    TooSlow,
    /// Too many messages.
    RateLimited,
    /// Too many connections.
    LimitReached,
    /// Too much waits to be stored.
    Busy,
    /// The log takes no more.
    LogFull,
    /// The log is away and the journal takes no more.
    JournalFull,
    /// The log will never take this record.
    NotStorable,
    /// Perhaps stored.
    Unknown,
    /// The log cannot be reached, and nothing was kept.
    Unavailable,
    /// The node goes away.
    Draining,
    /// No such path.
    NotFound,
    /// The entity was deleted.
    Deleted,
    /// The log does not hold that version.
    VersionGone,
    /// The page is of another log.
    PageGone,
    /// The request's content is of a type that is not read here.
    UnsupportedMediaType,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// A WebSocket path was asked without an upgrade, or the upgrade was malformed.
    UpgradeRequired,
    /// The node's fault.
    Internal,
}

impl Code {
    /// Every code, as the document lists them.
    pub const ALL: &[Self] = &[
        Self::InvalidEncoding,
        Self::InvalidJson,
        Self::TooDeep,
        Self::InvalidMessage,
        Self::InvalidTenant,
        Self::InvalidInstance,
        Self::InvalidType,
        Self::ReservedType,
        Self::InvalidEventId,
        Self::InvalidParameter,
        Self::InvalidEntity,
        Self::InvalidOperation,
        Self::InvalidSignature,
        Self::InvalidQuery,
        Self::QueryTooCostly,
        Self::InvalidExport,
        Self::TenantNotEmpty,
        Self::Unauthenticated,
        Self::TokenExpired,
        Self::TokenRevoked,
        Self::TenantErasing,
        Self::TenantErased,
        Self::Forbidden,
        Self::RuleRefused,
        Self::IdentityMismatch,
        Self::OriginRefused,
        Self::SwitchedOff,
        Self::TooLarge,
        Self::TooSlow,
        Self::RateLimited,
        Self::LimitReached,
        Self::Busy,
        Self::LogFull,
        Self::JournalFull,
        Self::NotStorable,
        Self::Unknown,
        Self::Unavailable,
        Self::Draining,
        Self::NotFound,
        Self::Deleted,
        Self::VersionGone,
        Self::PageGone,
        Self::UnsupportedMediaType,
        Self::MethodNotAllowed,
        Self::UpgradeRequired,
        Self::Internal,
    ];

    /// The word on the wire.
    pub fn word(self) -> &'static str {
        self.row().0
    }

    /// The HTTP status that goes with it.
    pub fn status(self) -> u16 {
        self.row().1
    }

    fn row(self) -> (&'static str, u16) {
        match self {
            Self::InvalidEncoding => ("invalid_encoding", 400),
            Self::InvalidJson => ("invalid_json", 400),
            Self::TooDeep => ("too_deep", 400),
            Self::InvalidMessage => ("invalid_message", 400),
            Self::InvalidTenant => ("invalid_tenant", 400),
            Self::InvalidInstance => ("invalid_instance", 400),
            Self::InvalidType => ("invalid_type", 400),
            Self::ReservedType => ("reserved_type", 400),
            Self::InvalidEventId => ("invalid_event_id", 400),
            Self::InvalidParameter => ("invalid_parameter", 400),
            Self::InvalidEntity => ("invalid_entity", 400),
            Self::InvalidOperation => ("invalid_operation", 400),
            Self::InvalidSignature => ("invalid_signature", 400),
            Self::InvalidQuery => ("invalid_query", 400),
            Self::QueryTooCostly => ("query_too_costly", 422),
            Self::InvalidExport => ("invalid_export", 422),
            Self::TenantNotEmpty => ("tenant_not_empty", 409),
            Self::Unauthenticated => ("unauthenticated", 401),
            Self::TokenExpired => ("token_expired", 401),
            Self::TokenRevoked => ("token_revoked", 401),
            Self::TenantErasing => ("tenant_erasing", 409),
            Self::TenantErased => ("tenant_erased", 401),
            Self::Forbidden => ("forbidden", 403),
            Self::RuleRefused => ("rule_refused", 403),
            Self::IdentityMismatch => ("identity_mismatch", 403),
            Self::OriginRefused => ("origin_refused", 403),
            Self::SwitchedOff => ("switched_off", 403),
            Self::TooLarge => ("too_large", 413),
            Self::TooSlow => ("too_slow", 408),
            Self::RateLimited => ("rate_limited", 429),
            Self::LimitReached => ("limit_reached", 429),
            Self::Busy => ("busy", 503),
            Self::LogFull => ("log_full", 503),
            Self::JournalFull => ("journal_full", 503),
            Self::NotStorable => ("not_storable", 422),
            Self::Unknown => ("unknown", 503),
            Self::Unavailable => ("unavailable", 503),
            Self::Draining => ("draining", 503),
            Self::NotFound => ("not_found", 404),
            Self::Deleted => ("deleted", 410),
            Self::VersionGone => ("version_gone", 404),
            Self::PageGone => ("page_gone", 410),
            Self::UnsupportedMediaType => ("unsupported_media_type", 415),
            Self::MethodNotAllowed => ("method_not_allowed", 405),
            Self::UpgradeRequired => ("upgrade_required", 426),
            Self::Internal => ("internal", 500),
        }
    }
}

/// Why something was refused, safe to show to whoever asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The stable code.
    pub code: Code,
    /// For a person; never holds another tenant's content or what the node runs on.
    pub message: Cow<'static, str>,
    /// The publish it is about, when known.
    pub event_id: Option<EventId>,
    /// The message or operation it is about, as its sender named it.
    pub reference: Option<Arc<str>>,
    /// Whether it refuses one of Gitmind's messages, which has its own name for errors.
    pub of_gitmind: bool,
    /// Set when waiting helps.
    pub retry_after: Option<Duration>,
    /// Set when the node's log says more under this id.
    pub error_id: Option<uuid::Uuid>,
}

impl Refusal {
    /// A refusal without further particulars.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
            event_id: None,
            reference: None,
            of_gitmind: false,
            retry_after: None,
            error_id: None,
        }
    }

    /// There are as many of something as there may be; somebody may make room soon.
    pub fn full(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::LimitReached, message).after(Duration::from_secs(5))
    }

    /// A name was refused.
    pub fn of_name(code: Code, error: &IdError) -> Self {
        Self::new(code, error.to_string())
    }

    /// Names the publish it is about.
    pub fn about(mut self, id: EventId) -> Self {
        self.event_id = Some(id);
        self
    }

    /// Names the message or operation it is about.
    pub fn concerning(mut self, reference: Arc<str>) -> Self {
        self.reference = Some(reference);
        self
    }

    /// Says when to try again.
    pub fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}

/// How the node ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// The client closed, or a proxy did: answered alike.
    Normal,
    /// Broken framing.
    Protocol,
    /// Text that is not UTF-8.
    NotUtf8,
    /// A message over the limit.
    TooLarge,
    /// The node's fault.
    Internal,
    /// The node goes away.
    Restart {
        /// When to come back.
        retry_after: Duration,
    },
    /// The token is missing, bad, expired or revoked.
    Unauthenticated,
    /// Over the rate limit for too long.
    RateLimited,
    /// Too many invalid messages in a row.
    Invalid,
    /// Nothing heard for the whole timeout.
    HeartbeatLost,
    /// A newer connection of the same instance took over.
    Replaced,
    /// The connection took no bytes for too long.
    TooSlow,
    /// Too many connections.
    LimitReached,
    /// The owner's own rule does not let it in.
    RuleRefused,
    /// The tenant is being erased.
    TenantErased,
}

impl Close {
    /// Every way to end.
    pub const ALL: &[Self] = &[
        Self::Normal,
        Self::Protocol,
        Self::NotUtf8,
        Self::TooLarge,
        Self::Internal,
        Self::Restart { retry_after: Duration::ZERO },
        Self::Unauthenticated,
        Self::RateLimited,
        Self::Invalid,
        Self::HeartbeatLost,
        Self::Replaced,
        Self::TooSlow,
        Self::LimitReached,
        Self::RuleRefused,
        Self::TenantErased,
    ];

    /// The close code.
    pub fn code(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::Protocol => 1002,
            Self::NotUtf8 => 1007,
            Self::TooLarge => 1009,
            Self::Internal => 1011,
            Self::Restart { .. } => 1012,
            Self::Unauthenticated => 4001,
            Self::RateLimited => 4002,
            Self::Invalid => 4003,
            Self::HeartbeatLost => 4008,
            Self::Replaced => 4009,
            Self::TooSlow => 4010,
            Self::LimitReached => 4011,
            Self::RuleRefused => 4012,
            Self::TenantErased => 4013,
        }
    }

    /// The reason, at most 123 bytes as the protocol demands.
    pub fn reason(self) -> Cow<'static, str> {
        match self {
            Self::Normal => "".into(),
            Self::Protocol => "broken WebSocket framing".into(),
            Self::NotUtf8 => "text is not UTF-8".into(),
            Self::TooLarge => "message too large".into(),
            Self::Internal => "internal error; come back with your cursor".into(),
            Self::Restart { retry_after } => super::retry::reason(retry_after).into(),
            Self::Unauthenticated => "no token that holds; come back with a good one".into(),
            Self::RateLimited => "rate limit exceeded for too long".into(),
            Self::Invalid => "too many invalid messages in a row".into(),
            Self::HeartbeatLost => "no frame came within the heartbeat timeout; come back with your cursor".into(),
            Self::Replaced => "a newer connection of this instance took over".into(),
            Self::TooSlow => "too slow; nothing is lost, come back with your cursor".into(),
            Self::LimitReached => "too many connections".into(),
            Self::RuleRefused => "the owner's rule refuses it; the error before says why".into(),
            Self::TenantErased => "the tenant is erased; what was known of it is gone".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_close_reason_fits_into_a_control_frame() {
        let longest = Close::Restart { retry_after: Duration::from_secs(u64::MAX / 1000) };
        for close in [Close::HeartbeatLost, Close::TooSlow, Close::Internal, longest] {
            assert!(close.reason().len() <= 123, "{close:?}");
        }
    }
    #[test]
    fn the_lists_are_whole() {
        let arms = |pattern: fn(&str) -> bool| include_str!("codes.rs").lines().filter(|line| pattern(line)).count();
        assert_eq!(Code::ALL.len(), arms(|line| line.contains(" => (\"") && line.ends_with("),")));
        let ends_in_number =
            |line: &str| line.rsplit_once(" => ").is_some_and(|(_, code)| code.len() == 5 && code.ends_with(','));
        assert_eq!(Close::ALL.len(), arms(ends_in_number));
    }
}
