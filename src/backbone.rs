//! The log behind the rooms: one trait, its contract in words, and the values that cross it.
//!
//! Owns: what a backbone promises. Must not know: JSON, actors, sessions. A body is bytes here; `wire` gives it meaning.
//! `tests/contract.rs` runs the same suite against every implementation.

mod append;
pub mod embedded;
mod erasing;
mod feed;
pub mod nats;
pub mod shown;
mod signals;

use std::{fmt::Debug, sync::Arc};

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::model::{Cursor, EntityKey, Epoch, EventType, InstanceId, Position, TenantId, Timestamp};

pub use append::{
    Answer, Append, AppendError, Appended, Expect, Keeper, MOST_TOGETHER, Outcome, Reply, append_one, check_together,
};
pub use erasing::{Erased, Erasing, Tenancies};
pub use feed::{Feed, FeedItem, FeedSender, feed};
pub use shown::Shown;
pub use signals::{Channel, Hub, SignalItem, Signals};

/// What a record is about; with the tenant, its address in the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// Something happened.
    Event(EventType),
    /// An entity changed; the last record of an entity is its state.
    Entity(EntityKey),
}

/// Every other call's bad end.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BackboneError {
    /// The store could not be read or written.
    #[error("the log's store failed: {0}")]
    Store(String),
    /// The backbone is closed or cannot be reached now.
    #[error("the log is not available: {0}")]
    Unavailable(String),
}

/// A record as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its place.
    pub position: Position,
    /// When the backbone took it, by the backbone's clock; never decreasing with the position except across clock steps.
    pub stored_at: Timestamp,
    /// What it is about.
    pub subject: Subject,
    /// As it was appended.
    pub body: Bytes,
}

/// How far a tenant's log reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// The tenant's records up to here may have been trimmed; a cursor at or after this misses nothing.
    pub trimmed_to: Position,
    /// The tenant's last record, [`Position::START`] if it never had one. Once trimming took it, perhaps a later position,
    /// but none behind `trimmed_to`.
    pub last: Position,
    /// The end of the whole log (of the tenant's shard); at or after `last`.
    pub end: Position,
}

/// How much one read may bring.
#[derive(Clone, Copy, Debug)]
pub struct ReadBudget {
    /// Greatest number of records, at least 1.
    pub records: usize,
    /// Bodies may sum to this many bytes; the first record comes even if it is larger.
    pub bytes: usize,
}

/// Some of a tenant's records, in order.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The records, positions strictly rising.
    pub records: Vec<Stored>,
    /// What had been trimmed when this was read; if it lies after the position read from, records are missing.
    pub trimmed_to: Position,
    /// Whether the log held more of this tenant's records behind the last one here.
    pub more: bool,
}

/// Some of a tenant's entities. All pages together with the log behind the `as_of` of any of them make the state.
#[derive(Clone, Debug, Default)]
pub struct EntityPage {
    /// The last record of some entities. One that changes while the pages are read may come twice: the later record
    /// holds. An entity whose last record is a deletion is here too: what a body means is not known at this layer.
    pub entities: Vec<(EntityKey, Stored)>,
    /// Every record up to here is reflected in the pages from the first to the last; later ones may be. Never behind that
    /// of the page before.
    pub as_of: Position,
    /// Where the next page begins; `None` on the last page.
    pub next: Option<EntityMark>,
}

/// A place between two pages of entities; good only in calls to the log that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityMark(pub Bytes);

/// A server-kept cursor to store.
#[derive(Clone, Debug)]
pub struct CursorUpdate {
    /// Whose room.
    pub tenant: TenantId,
    /// Which instance.
    pub instance: InstanceId,
    /// The log that the position is of; a cursor of another log than the present one is dropped.
    pub epoch: Epoch,
    /// Everything up to here has reached the instance.
    pub position: Position,
}

/// One of a log's own figures, for metrics.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// Its name behind `continuum_`.
    pub name: &'static str,
    /// What it says, with its unit.
    pub help: &'static str,
    /// Its value now.
    pub value: FigureValue,
}

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FigureValue {
    /// Only ever more.
    Counter(f64),
    /// More or less.
    Gauge(f64),
}

/// How a log serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// All is well.
    Serving,
    /// Something is away: rooms stay, appends are kept in the node's journal. Says what.
    Degraded(String),
    /// Nothing can be served: not started yet, or no room in the journal. Says why.
    Down(String),
}

/// The log of all rooms.
///
/// # Contract
///
/// **Order.** Positions rise strictly over all appends. Whoever reads, follows or asks for an entity sees one and the same
/// order. A record that was read, followed or acknowledged stays at its position until retention trims it.
///
/// **Durability.** [`Appended`] means: on disk and flushed (embedded), or as the cluster promises (NATS). After a crash at
/// any point the log opens again and holds every acknowledged record; one that was not acknowledged is there whole or not at all.
///
/// **Visibility.** A record is given to feeds and reads only after it is as durable as its acknowledgement says. When an
/// append is answered, a read or entity lookup that starts afterwards sees it; feeds may bring it before or after the answer.
///
/// **Repeats.** Two appends without condition and with the same [`Append::dedupe`] make one record; the second is answered
/// with the first's position and [`Outcome::Duplicate`], also after a restart, at least within the dedupe window (the
/// embedded log: for as long as it holds the record). An append with a condition makes one record too, for its condition
/// holds only once; its repeat is answered as a duplicate or with [`AppendError::Conflict`].
///
/// **Conditions.** Of several appends that expect the same version of an entity at most one goes through; the others get
/// [`AppendError::Conflict`] with the version that stands.
///
/// **Together.** The records of one [`Backbone::append_all`] stand in the log one right behind the other, in their order;
/// or none of them is there, whatever fails when. They go through only if all their conditions hold at once.
///
/// **Uncertainty.** [`AppendError::Unknown`] is the only answer after which the record may or may not be there.
///
/// **Retention.** Trimming takes the oldest records first, only by the configured age and size, never an entity's
/// state, and shows in [`Extent::trimmed_to`] no later than in what a read omits.
///
/// **Tenants.** Nothing of one tenant is ever visible through another's name.
///
/// **Epochs.** A log that was made anew has another epoch. Its feeds end, and whoever follows again finds the new epoch
/// in its feed; cursors of the old one are answered with their own epoch.
///
/// **Signals** reach every listener of their channel on every node that can be reached at that moment, those of this node
/// too, in the order in which one node sent them, at most once, and are never stored.
///
/// **Bounds.** Appends that wait are bounded ([`AppendError::Busy`]); a feed that is not drained drops its content and
/// says [`FeedItem::Lagged`], it never holds up the log or another feed.
pub trait Backbone: Erasing + Shown + Send + Sync + Debug + 'static {
    /// Proves which log the tenant's records are in; cursors of another epoch mean nothing here. [`Epoch::UNKNOWN`] until a log that cannot be
    /// reached yet was reached once.
    fn epoch(&self, tenant: &TenantId) -> Epoch;

    /// How the log serves now. Cheap.
    fn health(&self) -> Health;

    /// The same for one tenant: a part of the log may be away while another serves.
    fn health_of(&self, _tenant: &TenantId) -> Health {
        self.health()
    }

    /// The log's own figures now, always the same ones.
    fn figures(&self) -> Vec<Figure>;

    /// The end of the tenant's log as far as this node knows it without asking: what an append that is tried now lies
    /// behind.
    fn known_end(&self, tenant: &TenantId) -> Position;

    /// Appends one record; the answer goes to `reply`. Returns at once. Appends of one caller keep their order.
    fn append(&self, append: Append, reply: Reply);

    /// Appends several records of one tenant, all or none: at most [`MOST_TOGETHER`], each with a condition
    /// ([`Expect::Version`]) on an entity of its own and a fresh dedupe id, which is not looked for. Slower than
    /// [`Backbone::append`]. Answers in the order of `appends`.
    fn append_all(&self, appends: Vec<Append>) -> BoxFuture<'static, Result<Vec<Appended>, AppendError>>;

    /// Follows a tenant's new records: all with a position after [`Feed::after`], and no other, come through the feed.
    fn follow(&self, tenant: &TenantId) -> BoxFuture<'static, Result<Feed, BackboneError>>;

    /// Reads a tenant's records after a position.
    fn read(
        &self,
        tenant: &TenantId,
        after: Position,
        budget: ReadBudget,
    ) -> BoxFuture<'static, Result<Page, BackboneError>>;

    /// Where a tenant's log begins and ends.
    fn extent(&self, tenant: &TenantId) -> BoxFuture<'static, Result<Extent, BackboneError>>;

    /// A tenant's last record at or before a position, [`Position::START`] if it has none there (or it was trimmed).
    fn last_at(&self, tenant: &TenantId, at: Position) -> BoxFuture<'static, Result<Position, BackboneError>>;

    /// How many of a tenant's records lie after a position, counted to `at_most`.
    fn count_after(
        &self,
        tenant: &TenantId,
        after: Position,
        at_most: usize,
    ) -> BoxFuture<'static, Result<usize, BackboneError>>;

    /// A position from which a read brings every record of the tenant that was stored at `time` or later (it may bring
    /// a few earlier ones).
    fn position_at(&self, tenant: &TenantId, time: Timestamp) -> BoxFuture<'static, Result<Position, BackboneError>>;

    /// An entity's last record, also when the log has trimmed it; its `stored_at` may then be a little later than it was.
    fn entity(&self, tenant: &TenantId, key: &EntityKey) -> BoxFuture<'static, Result<Option<Stored>, BackboneError>>;

    /// A tenant's entities from a mark on (from the first when `None`); `stored_at` as in [`Backbone::entity`].
    fn entities(
        &self,
        tenant: &TenantId,
        from: Option<EntityMark>,
        budget: ReadBudget,
    ) -> BoxFuture<'static, Result<EntityPage, BackboneError>>;

    /// The cursor kept for an instance, without fingerprint; `None` if it never had one.
    fn cursor(
        &self,
        tenant: &TenantId,
        instance: &InstanceId,
    ) -> BoxFuture<'static, Result<Option<Cursor>, BackboneError>>;

    /// Keeps cursors; one that lies before the kept one changes nothing. Durable when it returns.
    fn keep_cursors(&self, updates: Vec<CursorUpdate>) -> BoxFuture<'static, Result<(), BackboneError>>;

    /// The tenant's tally as last kept: a small opaque value that a room derives from the log.
    fn tally(&self, tenant: &TenantId) -> BoxFuture<'static, Result<Option<Bytes>, BackboneError>>;

    /// Keeps a tenant's tally. It may be lost in a crash (it is derived), but never torn.
    fn keep_tally(&self, tenant: &TenantId, tally: Bytes) -> BoxFuture<'static, Result<(), BackboneError>>;

    /// Sends a signal. Returns at once; a signal that cannot be sent now is lost.
    fn signal(&self, channel: &Channel, body: Bytes);

    /// Listens to a channel: every signal sent after this returned.
    fn listen(&self, channel: Channel) -> BoxFuture<'static, Result<Signals, BackboneError>>;

    /// Finishes the appends that wait, then closes; later calls answer `Closed` or `Unavailable`.
    fn close(&self) -> BoxFuture<'static, ()>;
}

/// A tenant's record at a position, if there is one that the log still holds.
///
/// # Errors
///
/// As [`Backbone::read`].
pub async fn record_at(
    backbone: &dyn Backbone,
    tenant: &TenantId,
    position: Position,
) -> Result<Option<Stored>, BackboneError> {
    let before = Position(position.0.saturating_sub(1));
    let page = backbone.read(tenant, before, ReadBudget { records: 1, bytes: 1 }).await?;
    Ok(page.records.into_iter().find(|record| record.position == position))
}

/// A backbone, shared.
pub type SharedBackbone = Arc<dyn Backbone>;
