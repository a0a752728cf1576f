//! What a client does to its events before they leave: seals them, then signs what is sealed, so that the signature can be checked
//! without the key.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, value::RawValue, value::to_raw_value};

use super::{
    sealing::{SealingKey, Unopened, sealed_in},
    signing::SigningKey,
    subject::{Inexact, Subject},
};
use crate::model::{EventId, EventType, InstanceId, TenantId, Timestamp, signing::Signature};

/// Who somebody is in a room, and its keys.
#[derive(Debug)]
pub struct EndToEnd {
    /// Whose room.
    pub tenant: TenantId,
    /// Who.
    pub instance: InstanceId,
    /// Signs in this name, `user:ID` or `instance:ID`.
    pub signing: Option<(SigningKey, String)>,
    /// Seals, and opens what others have sealed with the same key.
    pub sealing: Option<SealingKey>,
}

/// Why something cannot be sent as it shall be.
#[derive(Debug, thiserror::Error)]
pub enum Unsafe {
    /// A number in it is not exact.
    #[error("{0}")]
    Inexact(#[from] Inexact),
    /// The system has no random numbers.
    #[error("there are no random numbers: {0}")]
    Random(#[from] getrandom::Error),
    /// It is not JSON.
    #[error("not JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl EndToEnd {
    /// Whether anything is done to what is published.
    pub fn is_on(&self) -> bool {
        self.signing.is_some() || self.sealing.is_some()
    }

    /// What is sent instead of an event's content, with the signature beside it.
    ///
    /// # Errors
    ///
    /// It cannot be signed or sealed.
    pub fn protect(
        &self,
        id: EventId,
        event_type: &EventType,
        data: &RawValue,
    ) -> Result<(Box<RawValue>, Option<Signature>), Unsafe> {
        let subject = Subject::Event { tenant: &self.tenant, instance: &self.instance, id, event_type };
        let data = match &self.sealing {
            Some(key) => to_raw_value(&key.seal(subject, data)?)?,
            None => data.to_owned(),
        };
        let Some((key, by)) = &self.signing else { return Ok((data, None)) };
        let content: Value = serde_json::from_str(data.get())?;
        Ok((data, Some(key.sign(subject, by, now(), &content)?)))
    }

    /// An event's content, opened if it is sealed and the key is here; `None`: it is not sealed.
    pub fn open(&self, subject: Subject<'_>, data: &RawValue) -> Option<Result<Box<RawValue>, Unopened>> {
        let key = self.sealing.as_ref()?;
        let sealed = sealed_in(&serde_json::from_str(data.get()).ok()?)?;
        Some(key.open(subject, &sealed))
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or_default())
}
