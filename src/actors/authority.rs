//! API keys and call backs, in the log of a tenant that no client can name: so they are as durable as everything else, and
//! every node hears of a change at once.
//!
//! Owns: that this node's registry has read everything before it answers, and follows what comes. What it knows stays when
//! the log is away. Must not know: what a record means.

use std::{sync::Arc, time::Duration};

use actix_rt::time::sleep;
use bytes::Bytes;
use uuid::Uuid;

use super::{context::NodeContext, retention, tenants};
use crate::{
    auth::{
        Bearer, TokenError,
        erasures::ClearedRecord,
        tickets::{self, TicketRecord},
    },
    backbone::{
        Append, AppendError, BackboneError, Expect, FeedItem, Outcome, Page, ReadBudget, Stored, Subject, append_one,
    },
    model::{
        DedupeId, EntityKey, Epoch, Position, TenantId,
        erasure::{self, Erasure},
    },
    wire::{Code, Refusal},
};

/// Pause before a log that could not be read is tried again.
const PAUSE: Duration = Duration::from_millis(500);
/// What is read in one go.
const BUDGET: ReadBudget = ReadBudget { records: 1_000, bytes: 4 << 20 };
/// Under which types tickets are kept, and their use.
const TICKET: &str = "ticket";
const USED: &str = "ticket.used";
/// Under which type nodes say that they have let go of a tenant.
pub(super) const CLEARED: &str = "erasure.cleared";
/// Times that a write is tried whose outcome is not known.
const TRIES: u32 = 3;

/// What is said of a token that is no good.
pub fn refusal(error: &TokenError) -> Refusal {
    let code = match error {
        TokenError::Expired => Code::TokenExpired,
        TokenError::Revoked => Code::TokenRevoked,
        TokenError::TenantErasing => Code::TenantErasing,
        TokenError::TenantErased => Code::TenantErased,
        error if error.passes() => Code::Unavailable,
        _ => Code::Unauthenticated,
    };
    let refusal = Refusal::new(code, error.to_string());
    if error.passes() { refusal.after(Duration::from_secs(1)) } else { refusal }
}

/// Follows the registry's log for as long as the node lives.
pub async fn follow(context: Arc<NodeContext>) {
    let mut epoch = None;
    loop {
        if let Err(error) = read_and_follow(&context, &mut epoch).await {
            tracing::warn!(%error, "API keys and revocations cannot be followed now; what is known holds");
        }
        sleep(PAUSE).await;
    }
}

async fn read_and_follow(context: &NodeContext, epoch: &mut Option<Epoch>) -> Result<(), BackboneError> {
    let (tenant, registry) = (TenantId::system(), context.authority.registry());
    let backbone = &context.backbone;
    // Before anything is read: what comes from here on is seen.
    let mut feed = backbone.follow(&tenant).await?;
    if epoch.replace(feed.epoch).is_some_and(|before| before != feed.epoch) {
        // Another log: what was known is of one that is gone, and its versions mean nothing in this one.
        registry.forget();
        context.tenants.forget_changes();
    }
    let (mut from, mut position) = (None, None);
    loop {
        let page = backbone.entities(&tenant, from, BUDGET).await?;
        position.get_or_insert(page.as_of);
        page.entities.iter().for_each(|(key, stored)| learn(context, key, stored));
        match page.next {
            Some(next) => from = Some(next),
            None => break,
        }
    }
    let mut position = read_on(context, &tenant, position.unwrap_or_default()).await?;
    registry.is_complete();
    loop {
        match feed.next().await {
            FeedItem::Records(records) => {
                records.iter().for_each(|stored| learn_record(context, stored));
                position = records.last().map_or(position, |last| last.position).max(position);
            }
            FeedItem::Lagged => position = read_on(context, &tenant, position).await?,
            FeedItem::Ended => return Ok(()),
        }
    }
}

/// Reads what lies behind a position, to the end.
async fn read_on(context: &NodeContext, tenant: &TenantId, mut after: Position) -> Result<Position, BackboneError> {
    loop {
        let Page { records, trimmed_to, more } = context.backbone.read(tenant, after, BUDGET).await?;
        records.iter().for_each(|stored| learn_record(context, stored));
        if trimmed_to > after {
            return Err(BackboneError::Unavailable("the registry's log was trimmed while it was read".into()));
        }
        after = records.last().map_or(after, |last| last.position);
        if !more {
            return Ok(after);
        }
    }
}

fn learn_record(context: &NodeContext, stored: &Stored) {
    match &stored.subject {
        Subject::Entity(key) => learn(context, key, stored),
        Subject::Event(kind) if kind.as_str() == CLEARED => {
            if let Err(error) = context.authority.registry().learn_cleared(&stored.body) {
                tracing::error!(position = %stored.position, error, "a node's word on an erasure is damaged");
            }
        }
        Subject::Event(kind) if kind.as_str() == TICKET => {
            if let Err(error) = context.authority.registry().learn_ticket(&stored.body, context.now()) {
                tracing::error!(position = %stored.position, error, "a ticket's record is damaged");
            }
        }
        // That one was used: the log itself has seen to it that it was only once.
        Subject::Event(_) => {}
    }
}

fn learn(context: &NodeContext, key: &EntityKey, stored: &Stored) {
    if let Err(error) = learn_entity(context, key, stored.position, &stored.body) {
        // Fail-safe: an API key that cannot be read opens nothing.
        tracing::error!(kind = %key.kind, id = %key.id, position = %stored.position, error, "a registry record is damaged");
    }
}

fn learn_entity(context: &NodeContext, key: &EntityKey, version: Position, body: &[u8]) -> Result<(), String> {
    match &*key.kind {
        tenants::KIND => {
            context.tenants.learn(key, version, body)?;
            retention::tell(context, key);
            return Ok(());
        }
        erasure::KIND => {
            let (tenant, erasure) = Erasure::read(body)?;
            // The log first: whoever hears of it from here on can store nothing more.
            context.backbone.set_tenancy(&tenant, erasure.tenancy());
            context.tenants.forget(&tenant, version);
        }
        _ => {}
    }
    context.authority.registry().learn(key, version, body)
}

/// Writes a record of the registry, on condition that the one before it still stands; this node knows it when this returns.
///
/// # Errors
///
/// As an append.
pub async fn keep(context: &NodeContext, key: EntityKey, version: Position, body: Vec<u8>) -> Result<(), AppendError> {
    let dedupe = DedupeId(Uuid::new_v4());
    let append = record(Subject::Entity(key.clone()), Expect::Version(version), dedupe, body);
    let mut tries = 0;
    let position = loop {
        tries += 1;
        match append_one(context.backbone.as_ref(), append.clone()).await {
            Ok(appended) => break appended.position,
            // Its condition makes the repeat safe.
            Err(AppendError::Unknown(_)) if tries < TRIES => {}
            // Perhaps it is what stands there.
            Err(AppendError::Conflict { current }) if tries > 1 => {
                let stands = context.backbone.entity(&append.tenant, &key).await.ok().flatten();
                match stands.filter(|stored| stored.body == append.body) {
                    Some(stored) => break stored.position,
                    None => return Err(AppendError::Conflict { current }),
                }
            }
            Err(error) => return Err(error),
        }
    };
    if let Err(error) = learn_entity(context, &key, position, &append.body) {
        tracing::error!(error, "a registry record that was just made cannot be read");
    }
    Ok(())
}

/// Makes a ticket for a bearer: every node knows it in a moment.
///
/// # Errors
///
/// As an append.
pub async fn issue(context: &NodeContext, bearer: &Bearer) -> Result<(String, TicketRecord), AppendError> {
    let (ticket, record) = tickets::mint(bearer, context.now());
    let body = serde_json::to_vec(&record).map_err(|error| AppendError::Refused(error.to_string()))?;
    if let Err(error) = context.authority.registry().learn_ticket(&body, context.now()) {
        tracing::error!(error, "a ticket that was just made cannot be read");
    }
    append(context, TICKET, DedupeId(Uuid::new_v4()), body).await?;
    Ok((ticket, record))
}

/// Whose ticket this is, if nobody has used it: the log takes the word that it was used only once.
///
/// # Errors
///
/// It is none, or no more; or the log cannot say.
pub async fn redeem(context: &NodeContext, ticket: &str) -> Result<Arc<Bearer>, Refusal> {
    const NAMESPACE: Uuid = Uuid::from_u128(0x2f0a_61c7_35d8_4e4b_9c1e_7b1f_08d4_5a36);
    let bearer = context.authority.registry().take_ticket(ticket, context.now()).map_err(|error| refusal(&error))?;
    let used = append(context, USED, DedupeId(Uuid::new_v5(&NAMESPACE, ticket.as_bytes())), b"{}".to_vec()).await;
    match used {
        Ok(Outcome::Stored) => Ok(bearer),
        Ok(Outcome::Duplicate) => Err(refusal(&TokenError::UnknownTicket)),
        Err(error) => {
            tracing::warn!(%error, "the use of a ticket cannot be written down");
            let message = "whether the ticket was used cannot be told now; get another one";
            Err(Refusal::new(Code::Unavailable, message).after(Duration::from_secs(1)))
        }
    }
}

/// Tells all nodes that this one has let go of a tenant.
///
/// # Errors
///
/// As an append.
pub async fn say_cleared(context: &NodeContext, record: &ClearedRecord) -> Result<(), AppendError> {
    let body = serde_json::to_vec(record).map_err(|error| AppendError::Refused(error.to_string()))?;
    append(context, CLEARED, DedupeId(Uuid::new_v4()), body).await.map(drop)
}

async fn append(context: &NodeContext, kind: &str, dedupe: DedupeId, body: Vec<u8>) -> Result<Outcome, AppendError> {
    let subject = Subject::Event(kind.parse().expect("a word is a type"));
    let append = record(subject, Expect::Anything, dedupe, body);
    Ok(append_one(context.backbone.as_ref(), append).await?.outcome)
}

fn record(subject: Subject, expect: Expect, dedupe: DedupeId, body: Vec<u8>) -> Append {
    Append { tenant: TenantId::system(), subject, dedupe, expect, first_tried: None, body: Bytes::from(body) }
}
