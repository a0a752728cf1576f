//! Erasing tenants: each node lets go of what it has, one of them removes what the log has, and all of it is written down, so that
//! whoever is left goes on when a node dies.
//!
//! Owns: the order of the steps, and when it may be said that nothing is left. Must not know: where a log keeps what.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use actix::Addr;
use actix_rt::time::sleep;
use tokio::{sync::mpsc, time::timeout};
use uuid::Uuid;

use super::{
    authority::{self, CLEARED},
    context::NodeContext,
    directory::Directory,
    messages::{Find, Vacate},
    tenants,
};
use crate::{
    auth::erasures::ClearedRecord,
    backbone::{AppendError, BackboneError, ReadBudget, Stored, Subject},
    config::BackboneKind,
    model::{
        Position, TenantId,
        erasure::{self, Cleared, Counts, Erasure, Floor, Stage},
        peers::SILENCE,
    },
};

/// How often what is not told is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How often it is looked whether everybody has left a room.
const ROOM: Duration = Duration::from_millis(25);
/// Pause before something that failed is tried again.
const PAUSE: Duration = Duration::from_millis(500);
/// Steps after which it is written down how far it is.
const STEPS: u32 = 16;
/// What is read of the registry in one go.
const BUDGET: ReadBudget = ReadBudget { records: 1_000, bytes: 4 << 20 };
/// Records of the registry that are removed in one go.
const GROUP: usize = 256;

/// Why the work on an erasure ends here.
#[derive(Debug, thiserror::Error)]
enum Stop {
    /// Another node goes on with it.
    #[error("another node goes on with it")]
    TakenOver,
    /// For now.
    #[error(transparent)]
    Log(#[from] BackboneError),
    /// For now.
    #[error("its progress cannot be written down: {0}")]
    Write(AppendError),
}

/// Minds the erasures for as long as the node lives.
pub async fn keep(context: Arc<NodeContext>, directory: Addr<Directory>) {
    let registry = context.authority.registry();
    let mut changes = registry.changes();
    let (mut cleared, mut works) = (HashSet::new(), Works::default());
    loop {
        changes.mark_unchanged();
        if registry.is_ready() {
            for (tenant, erasure) in registry.erasures() {
                // Whoever takes the work over has to hear it too.
                if cleared.insert((erasure.receipt, erasure.by)) {
                    actix_rt::spawn(clear(context.clone(), directory.clone(), tenant.clone(), erasure.clone()));
                }
                works.mind(&context, tenant, &erasure);
            }
        }
        // Its sender lives as long as the node. What is not told: that a node has died.
        let _ = timeout(LOOK, changes.changed()).await;
    }
}

/// Lets go of everything of a tenant that this node has, and says so.
async fn clear(context: Arc<NodeContext>, directory: Addr<Directory>, tenant: TenantId, erasure: Erasure) {
    let mut removed = Counts::new();
    if !erasure.is_done() {
        removed.insert("rooms".to_owned(), vacate(&directory, &tenant).await);
    }
    if let Some(journal) = &context.journal {
        loop {
            match journal.forget(&tenant).await {
                Ok(counts) => break erasure::add(&mut removed, &counts),
                Err(error) => {
                    tracing::warn!(%tenant, %error, "the journal cannot let go of an erased tenant yet");
                    sleep(PAUSE).await;
                }
            }
        }
    }
    if removed.values().any(|count| *count > 0) {
        tracing::info!(%tenant, ?removed, "this node has let go of an erased tenant");
    }
    let cleared = Cleared { node: context.nodes.me().0, removed };
    let record = ClearedRecord { tenant: tenant.to_string(), receipt: erasure.receipt, cleared };
    let is_awaited = || {
        let known = context.authority.registry().erasure(&tenant);
        known.is_some_and(|(known, _)| known.receipt == erasure.receipt && !known.is_done())
    };
    while is_awaited() {
        match authority::say_cleared(&context, &record).await {
            Ok(()) => return,
            Err(error) => {
                tracing::debug!(%tenant, %error, "it cannot be said yet that a tenant is let go of");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Waits until the tenant has no room here; its members are being sent away because their tokens hold no more.
async fn vacate(directory: &Addr<Directory>, tenant: &TenantId) -> u64 {
    let mut rooms = 0;
    // A directory that is gone went with the node.
    while let Ok(Some(room)) = directory.send(Find(tenant.clone())).await {
        rooms = 1;
        // A room that is gone is gone.
        room.send(Vacate).await.unwrap_or_default();
        sleep(ROOM).await;
    }
    rooms
}

/// The erasures that this node works on, and since when the nodes that should are missing.
#[derive(Debug)]
struct Works {
    running: HashSet<TenantId>,
    ended: (mpsc::Sender<TenantId>, mpsc::Receiver<TenantId>),
    missing: HashMap<Uuid, Duration>,
}

impl Default for Works {
    fn default() -> Self {
        Self { running: HashSet::new(), ended: mpsc::channel(64), missing: HashMap::new() }
    }
}

impl Works {
    /// Works on an erasure if that is this node's, or nobody's.
    fn mind(&mut self, context: &Arc<NodeContext>, tenant: TenantId, erasure: &Erasure) {
        while let Ok(ended) = self.ended.1.try_recv() {
            self.running.remove(&ended);
        }
        if erasure.is_done() || self.running.contains(&tenant) || !self.is_mine(context, erasure.by) {
            return;
        }
        self.running.insert(tenant.clone());
        let (context, ended) = (context.clone(), self.ended.0.clone());
        actix_rt::spawn(async move {
            loop {
                match work(&context, &tenant).await {
                    Ok(()) | Err(Stop::TakenOver) => break,
                    Err(error) => {
                        tracing::warn!(%tenant, %error, "the erasure of a tenant waits");
                        sleep(PAUSE).await;
                    }
                }
            }
            // Fails only with the node.
            let _ = ended.send(tenant).await;
        });
    }

    /// Whether the work is this node's: it began it, or whoever did is gone.
    fn is_mine(&mut self, context: &NodeContext, by: Uuid) -> bool {
        if by == context.nodes.me().0 {
            return true;
        }
        if context.config.backbone.kind == BackboneKind::Embedded {
            // There is no other node on this log: it was this one, before it was started again.
            return true;
        }
        if context.nodes.is_deaf() || context.nodes.others().iter().any(|(node, _)| node.0 == by) {
            self.missing.remove(&by);
            return false;
        }
        let now = context.uptime();
        now.saturating_sub(*self.missing.entry(by).or_insert(now)) > SILENCE
    }
}

/// Brings an erasure to its end.
async fn work(context: &NodeContext, tenant: &TenantId) -> Result<(), Stop> {
    let registry = context.authority.registry();
    let Some((mut erasure, mut version)) = registry.erasure(tenant) else { return Ok(()) };
    let me = context.nodes.me().0;
    if erasure.is_done() {
        return Ok(());
    }
    if erasure.by != me {
        erasure.by = me;
        version = save(context, tenant, &erasure, version).await?;
        tracing::info!(%tenant, "this node goes on with the erasure of a tenant");
    }
    wait_for_nodes(context, &mut erasure).await;
    erasure.stage = Stage::Removing;
    version = save(context, tenant, &erasure, version).await?;
    loop {
        let mut steps = 0;
        let floor = loop {
            let erased = context.backbone.erase(tenant).await?;
            erasure::add(&mut erasure.removed, &erased.removed);
            if let Some(floor) = erased.floor {
                break floor;
            }
            steps += 1;
            if steps % STEPS == 0 {
                version = save(context, tenant, &erasure, version).await?;
            }
        };
        erasure.floor = Some(Floor::new(context.backbone.epoch(tenant), floor));
        let struck = strike(context, tenant).await?;
        erasure::add(&mut erasure.removed, &Counts::from([("registry".to_owned(), struck)]));
        let left = holdings(context, tenant).await?;
        if left.values().all(|count| *count == 0) {
            erasure.left = Some(left);
            break;
        }
        // Something that was under way; not twice without a pause.
        version = save(context, tenant, &erasure, version).await?;
        sleep(PAUSE).await;
    }
    context.backbone.scrub().await?;
    (erasure.stage, erasure.ended_at) = (Stage::Done, Some(context.now().0));
    save(context, tenant, &erasure, version).await?;
    tracing::info!(%tenant, removed = ?erasure.removed, "a tenant was erased");
    Ok(())
}

/// Waits until every node that there is has let go of the tenant. A node that has just started, or was deaf, does not know yet
/// which there are.
async fn wait_for_nodes(context: &NodeContext, erasure: &mut Erasure) {
    let is_alone = context.config.backbone.kind == BackboneKind::Embedded;
    loop {
        let are_known = is_alone || context.nodes.are_all_known(context.uptime());
        let cleared = context.authority.registry().cleared(erasure.receipt);
        let others = context.nodes.others().into_iter().map(|(node, _)| node.0);
        let mut awaited = others.chain([context.nodes.me().0]);
        if are_known && awaited.all(|node| cleared.iter().any(|known| known.node == node)) {
            for node in cleared {
                erasure.nodes.retain(|known| known.node != node.node);
                erasure.nodes.push(node);
            }
            return;
        }
        sleep(ROOM).await;
    }
}

async fn save(
    context: &NodeContext,
    tenant: &TenantId,
    erasure: &Erasure,
    version: Position,
) -> Result<Position, Stop> {
    let body = serde_json::to_vec(erasure).map_err(|error| BackboneError::Store(error.to_string()))?;
    match authority::keep(context, Erasure::place(tenant), version, body).await {
        Ok(()) => {}
        Err(AppendError::Conflict { .. }) => return Err(Stop::TakenOver),
        Err(error) => return Err(Stop::Write(error)),
    }
    let known = context.authority.registry().erasure(tenant);
    known.map(|(_, version)| version).ok_or(Stop::TakenOver)
}

/// How much there is of a tenant in the log, and of what names it in the registry.
///
/// # Errors
///
/// The log cannot be read.
pub async fn holdings(context: &NodeContext, tenant: &TenantId) -> Result<Counts, BackboneError> {
    let mut counts = context.backbone.holdings(tenant).await?;
    let named = named(context, tenant).await?;
    let words = |subject: &Subject| matches!(subject, Subject::Event(kind) if kind.as_str() == CLEARED);
    let registry = named.iter().filter(|(_, subject)| !words(subject)).count();
    counts.insert("registry".to_owned(), registry as u64);
    Ok(counts)
}

/// Removes what names a tenant from the registry, but for its erasure.
async fn strike(context: &NodeContext, tenant: &TenantId) -> Result<u64, BackboneError> {
    let mut struck = 0;
    for group in named(context, tenant).await?.chunks(GROUP) {
        struck += context.backbone.strike(&TenantId::system(), group.to_vec()).await?;
    }
    Ok(struck)
}

/// The records of the registry that name a tenant.
async fn named(context: &NodeContext, tenant: &TenantId) -> Result<Vec<(Position, Subject)>, BackboneError> {
    let (system, backbone) = (TenantId::system(), &context.backbone);
    let (mut found, mut from) = (HashMap::new(), None);
    loop {
        let page = backbone.entities(&system, from, BUDGET).await?;
        let entities = page.entities.iter().filter(|(_, stored)| names(stored, tenant));
        found.extend(entities.map(|(_, stored)| (stored.position, stored.subject.clone())));
        match page.next {
            Some(next) => from = Some(next),
            None => break,
        }
    }
    let mut after = Position::START;
    loop {
        let page = backbone.read(&system, after, BUDGET).await?;
        let records = page.records.iter().filter(|stored| names(stored, tenant));
        found.extend(records.map(|stored| (stored.position, stored.subject.clone())));
        match page.records.last() {
            Some(last) if page.more => after = last.position,
            _ => break,
        }
    }
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_by_key(|(position, _)| *position);
    Ok(found)
}

/// Whether a record of the registry is about a tenant: by its id, or by what it says of its holder.
fn names(stored: &Stored, tenant: &TenantId) -> bool {
    if let Subject::Entity(key) = &stored.subject {
        if &*key.kind == erasure::KIND {
            return false;
        }
        // Ids of keys and revocations may look like a tenant's name and are none.
        if &*key.kind == tenants::KIND && *key.id == *tenant.as_str() {
            return true;
        }
    }
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(&stored.body) else { return false };
    [&value["tenant"], &value["holder"]["tenant"]].contains(&&serde_json::Value::from(tenant.as_str()))
}
