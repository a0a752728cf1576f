//! Erasing a tenant: its rows go a part at a time, then the files are written anew without them.
//!
//! Owns: which rows are a tenant's. Entities go before the records that they name, so a read in between finds nothing rather
//! than half of something. Must not know: who wants it, or why.

use std::{collections::HashMap, ops::Bound, thread};

use fjall::{Keyspace, OwnedWriteBatch as WriteBatch, PersistMode};
use futures_util::future::{BoxFuture, FutureExt};
use tokio::sync::oneshot;

use super::{
    EmbeddedLog, group,
    queue::{Change, Task},
    retention::{self, Progress},
    rooms::Rooms,
    rows::{self, EntityRow, META_TAIL, OrderRow, RoomRow, Tail},
    store::{Failure, Fault, Store},
};
use crate::{
    backbone::{BackboneError, Erased, Erasing, Subject},
    model::{
        Position, TenantId,
        erasure::{Counts, Floor, Tenancy},
    },
};

/// Rows that one step removes at most; between two steps the committer looks at what waits.
const STEP_ROWS: usize = 4_096;

impl EmbeddedLog {
    /// Has the committer change the store.
    pub(super) fn change(
        &self,
        change: impl FnOnce(&Store, &mut Rooms, Tail) -> Result<Tail, Failure> + Send + 'static,
    ) -> BoxFuture<'static, Result<(), BackboneError>> {
        self.ask(|done| Task::Change(Change(Box::new(change)), done))
    }

    /// The same for a change that has something to tell.
    fn change_and_tell<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Store, &mut Rooms, Tail) -> Result<(Tail, T), Failure> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, BackboneError>> {
        let (tell, told) = oneshot::channel();
        let changed = self.change(move |store, rooms, tail| {
            let (tail, result) = change(store, rooms, tail)?;
            // The asker may have gone.
            let _ = tell.send(result);
            Ok(tail)
        });
        async move {
            changed.await?;
            told.await.map_err(|_| BackboneError::Store("a change told nothing".into()))
        }
        .boxed()
    }
}

impl Erasing for EmbeddedLog {
    fn tenancy(&self, tenant: &TenantId) -> Tenancy {
        self.shared.queue.tenancies.of(tenant)
    }

    fn set_tenancy(&self, tenant: &TenantId, tenancy: Tenancy) {
        self.shared.queue.tenancies.set(tenant, tenancy);
    }

    fn erase(&self, tenant: &TenantId) -> BoxFuture<'static, Result<Erased, BackboneError>> {
        let tenant = tenant.clone();
        self.change_and_tell(move |store, rooms, tail| step(store, rooms, tail, &tenant))
    }

    fn holdings(&self, tenant: &TenantId) -> BoxFuture<'static, Result<Counts, BackboneError>> {
        let tenant = tenant.clone();
        self.shared.readers.read(move |store| holdings(store, &tenant))
    }

    fn strike(
        &self,
        tenant: &TenantId,
        records: Vec<(Position, Subject)>,
    ) -> BoxFuture<'static, Result<u64, BackboneError>> {
        let tenant = tenant.clone();
        self.change_and_tell(move |store, rooms, tail| strike(store, rooms, tail, &tenant, &records))
    }

    fn set_trimmed(&self, tenant: &TenantId, to: Floor) {
        // Its own rows say so as well, as soon as they are trimmed.
        self.shared.queue.tenancies.set_trimmed(tenant, to);
    }

    fn trim_tenant(&self, tenant: &TenantId, to: Position) -> BoxFuture<'static, Result<bool, BackboneError>> {
        let tenant = tenant.clone();
        self.change_and_tell(move |store, rooms, tail| {
            let Some(row) = rooms.row(&tenant) else { return Ok((tail, false)) };
            let (tail, progress) = retention::step_of_room(store, rooms, tail, (row, to))?;
            Ok((tail, progress == Progress::More))
        })
    }

    fn scrub(&self) -> BoxFuture<'static, Result<(), BackboneError>> {
        let shared = self.shared.clone();
        let renewed = Renewal(shared.clone());
        async move {
            // One after the other: the files are renewed only while nobody else has them.
            let _alone = shared.scrubbing.lock().await;
            let store = shared.store().as_ref().map(Store::share);
            let (done, compacted) = oneshot::channel();
            // On a thread of its own: neither the committer nor a reader waits for it.
            let spawned = thread::Builder::new().name("log-scrub".into()).spawn(move || {
                let result = match &store {
                    Some(store) => store.compact().map_err(|fault| BackboneError::Store(fault.to_string())),
                    None => Err(BackboneError::Unavailable("the log's store is closed".into())),
                };
                drop(store);
                // The asker may have gone.
                let _ = done.send(result);
            });
            spawned.map_err(|error| BackboneError::Unavailable(error.to_string()))?;
            compacted.await.map_err(|_| BackboneError::Store("the tables could not be written anew".into()))??;
            renewed.renew().await
        }
        .boxed()
    }
}

/// The log, for what comes when the tables are written.
struct Renewal(std::sync::Arc<super::Shared>);

impl Renewal {
    async fn renew(self) -> Result<(), BackboneError> {
        let (done, renewed) = oneshot::channel();
        self.0.queue.push(Task::Renew(done))?;
        renewed.await.unwrap_or_else(|_| Err(BackboneError::Unavailable("the log is closed".into())))
    }
}

/// Rows that are to go, up to a bound.
struct Sweep<'a> {
    store: &'a Store,
    batch: WriteBatch,
    left: usize,
    removed: Counts,
}

impl<'a> Sweep<'a> {
    fn new(store: &'a Store) -> Self {
        let batch = store.db.batch().durability(Some(PersistMode::SyncData));
        Self { store, batch, left: STEP_ROWS, removed: Counts::new() }
    }

    fn count(&mut self, what: &str) {
        *self.removed.entry(what.to_owned()).or_default() += 1;
    }

    /// Removes rows with a prefix.
    fn prefix(&mut self, what: &str, table: &Keyspace, prefix: &[u8]) -> Result<(), Fault> {
        for row in table.prefix(prefix).take(self.left) {
            self.batch.remove(table, row.key()?);
            self.left -= 1;
            self.count(what);
        }
        Ok(())
    }

    /// Removes a record, by its row in the order of all.
    fn record(&mut self, position: Position, row: &OrderRow, tail: &mut Tail) {
        self.batch.remove(&self.store.log, rows::room_position(row.room, position));
        self.batch.remove(&self.store.order, position.0.to_be_bytes());
        if let Some(id) = row.dedupe {
            self.batch.remove(&self.store.dedupe, rows::dedupe_key(row.room, id));
            self.count("dedupe");
        }
        tail.bytes = tail.bytes.saturating_sub(u64::from(row.size));
        self.count("log");
    }
}

/// See [`Erasing::erase`].
fn step(store: &Store, rooms: &mut Rooms, tail: Tail, tenant: &TenantId) -> Result<(Tail, Erased), Failure> {
    let Some(mut row) = rooms.row(tenant) else {
        // Nothing was ever written.
        let floor = Some(Position(tail.end));
        return Ok((tail, Erased { floor, ..Erased::default() }));
    };
    let (mut sweep, mut tail) = (Sweep::new(store), tail);
    sweep.prefix("entities", &store.entities, &row.room.to_be_bytes())?;
    sweep.prefix("cursors", &store.meta, &rows::cursors_of(row.room))?;
    sweep.prefix("tallies", &store.meta, &rows::tally_key(row.room))?;
    // Those that were removed before leave marks that cost time to step over.
    let from = rows::room_position(row.room, row.trimmed_to);
    let to = rows::room_position(row.room, Position(u64::MAX));
    for key in store.log.range((Bound::Excluded(from), Bound::Included(to))).take(sweep.left) {
        let position = rows::position_in(&key.key()?)?;
        let order = store.order.get(position.0.to_be_bytes())?.ok_or(rows::Damaged("order"))?;
        sweep.record(position, &OrderRow::decode(&order)?, &mut tail);
        row.trimmed_to = position;
    }
    let floor = sweep.removed.is_empty().then(|| {
        // One position stays empty: a cursor at the old tenant's very end lies before the new one's beginning.
        tail.end += 1;
        Position(tail.end)
    });
    row.trimmed_to = floor.unwrap_or(row.trimmed_to);
    let Sweep { mut batch, removed, .. } = sweep;
    batch.insert(&store.meta, RoomRow::key(tenant), row.encode());
    batch.insert(&store.meta, META_TAIL, tail.encode());
    batch.commit().map_err(|error| Failure::Commit(error.into()))?;
    rooms.trimmed(row.room, row.trimmed_to);
    Ok((tail, Erased { removed, floor }))
}

/// See [`Erasing::strike`].
fn strike(
    store: &Store,
    rooms: &mut Rooms,
    mut tail: Tail,
    tenant: &TenantId,
    records: &[(Position, Subject)],
) -> Result<(Tail, u64), Failure> {
    let Some(RoomRow { room, .. }) = rooms.row(tenant) else { return Ok((tail, 0)) };
    let (mut sweep, mut struck) = (Sweep::new(store), HashMap::new());
    for (position, subject) in records {
        if let Some(key) = group::entity_of(subject).map(|key| rows::entity_key(room, key))
            && let Some(row) = store.entities.get(&key)?
            && EntityRow::decode(&row)?.position == *position
        {
            sweep.batch.remove(&store.entities, key);
            struck.insert(*position, ());
        }
        if let Some(order) = store.order.get(position.0.to_be_bytes())? {
            let order = OrderRow::decode(&order)?;
            if order.room == room {
                sweep.record(*position, &order, &mut tail);
                struck.insert(*position, ());
            }
        }
    }
    if struck.is_empty() {
        return Ok((tail, 0));
    }
    sweep.batch.insert(&store.meta, META_TAIL, tail.encode());
    sweep.batch.commit().map_err(|error| Failure::Commit(error.into()))?;
    Ok((tail, struck.len() as u64))
}

/// See [`Erasing::holdings`].
fn holdings(store: &Store, tenant: &TenantId) -> Result<Counts, Fault> {
    let at = store.db.snapshot();
    let room = store.room(&at, tenant)?.map(|row| row.room);
    let count = |table: &Keyspace, prefix: &[u8]| -> Result<u64, Fault> {
        let mut count = 0;
        for row in fjall::Readable::prefix(&at, table, prefix) {
            row.key()?;
            count += 1;
        }
        Ok(count)
    };
    let of = |table: &Keyspace, prefix: Option<Vec<u8>>| prefix.map_or(Ok(0), |prefix| count(table, &prefix));
    let plain = || room.map(|room| room.to_be_bytes().to_vec());
    Ok(Counts::from([
        ("log".into(), of(&store.log, plain())?),
        ("dedupe".into(), of(&store.dedupe, plain())?),
        ("entities".into(), of(&store.entities, plain())?),
        ("cursors".into(), of(&store.meta, room.map(rows::cursors_of))?),
        ("tallies".into(), of(&store.meta, room.map(|room| rows::tally_key(room).to_vec()))?),
    ]))
}
