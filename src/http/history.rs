//! Reading history a page at a time, and waiting for the next one.
//!
//! Owns: what a page says. Must not know: how a room reads on ([`super::tail`]).

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web::Data};
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    asker::Asker,
    parameters::Parameters,
    problem,
    server::Shared,
    socket::Peer,
    tail::{PAUSE, Step, Stop, Tail, beginning},
};
use crate::{
    actors::room::{joining::place_for_request, read_record},
    backbone::ReadBudget,
    model::{Cursor, EventId, Position, TenantId, filter::TypeFilter, record::Viewer, resume::Since},
    wire::{Batch, Need, Refusal, outgoing::ResyncReport},
};

const LIMIT: u64 = 100;
const MOST: u64 = 1_000;

/// What a request asks for.
struct Wish {
    since: Since,
    requested: String,
    filter: TypeFilter,
    limit: usize,
    wait: Duration,
    viewer: Viewer,
}

impl Wish {
    fn read(query: &str, viewer: Viewer) -> Result<Self, Refusal> {
        let parameters = Parameters::read(query);
        Ok(Self {
            since: parameters.since("after")?,
            requested: parameters.get("after").unwrap_or_default().to_owned(),
            filter: parameters.types()?,
            limit: parameters.number("limit", 1, MOST)?.unwrap_or(LIMIT) as usize,
            wait: parameters.wait()?,
            viewer,
        })
    }
}

/// Whether there are records behind a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum More {
    Yes,
    No,
}

/// A page of history.
struct HistoryPage {
    /// The records' JSON, joined by commas.
    events: Vec<u8>,
    count: usize,
    /// Everything up to here was looked at.
    cursor: Cursor,
    more: More,
    resync: Option<ResyncReport>,
}

impl HistoryPage {
    fn begin(cursor: Cursor) -> Self {
        Self { events: Vec::new(), count: 0, cursor, more: More::No, resync: None }
    }

    /// Puts the wanted ones of some records behind what is here, until the page is full; tells whether all were looked at.
    fn take(&mut self, batch: &Batch, wish: &Wish, bytes: usize) -> More {
        let first = batch.metas().partition_point(|meta| meta.position <= self.cursor.position);
        for (index, meta) in batch.metas().iter().enumerate().skip(first) {
            if self.count == wish.limit || self.events.len() >= bytes {
                return More::Yes;
            }
            let view = meta.view(&wish.viewer).filter(|_| wish.filter.admits(&meta.event_type));
            if let Some(view) = view {
                if self.count > 0 {
                    self.events.push(b',');
                }
                self.events.extend(batch.json(index, None, view));
                self.count += 1;
            }
            self.pass(meta.position, Some(meta.id));
        }
        More::No
    }

    fn pass(&mut self, position: Position, id: Option<EventId>) {
        if position > self.cursor.position {
            self.cursor = Cursor { position, fingerprint: id.map(EventId::fingerprint), ..self.cursor };
        }
    }

    /// Whether there is anything to tell.
    fn is_empty(&self) -> bool {
        self.count == 0 && self.resync.is_none()
    }

    fn into_body(self) -> Vec<u8> {
        let resync = self.resync.and_then(|report| serde_json::to_string(&report).ok());
        let (cursor, more) = (self.cursor, self.more == More::Yes);
        let resync = resync.as_deref().unwrap_or("null");
        let mut body = b"{\"events\":[".to_vec();
        body.extend_from_slice(&self.events);
        body.extend_from_slice(format!("],\"cursor\":\"{cursor}\",\"more\":{more},\"resync\":{resync}}}").as_bytes());
        body
    }
}

/// `GET /v1/tenants/{tenant}/events`
pub(super) async fn history(shared: Data<Shared>, request: HttpRequest) -> HttpResponse {
    let peer = request.conn_data::<Peer>().cloned().unwrap_or_default();
    let page = async {
        let asker = Asker::enter(&shared, &request).await?;
        asker.needs(&shared, Need::Hear).await?;
        let wish = Wish::read(request.query_string(), asker.viewer())?;
        let (page, end) = read(&shared, asker.tenant(), &wish).await?;
        if page.is_empty() && !wish.wait.is_zero() {
            return wait(&shared, &asker, &wish, (page, end), &peer).await;
        }
        Ok(page)
    };
    match page.await {
        Ok(page) => HttpResponse::Ok().content_type("application/json").body(page.into_body()),
        Err(refusal) => problem::respond(&refusal),
    }
}

/// What the log holds now, and where it ends.
async fn read(shared: &Shared, tenant: &TenantId, wish: &Wish) -> Result<(HistoryPage, Position), Refusal> {
    let (context, failed) = (&shared.context, |error| problem::log_unavailable(&error));
    let backbone = &context.backbone;
    let (start, log) = place_for_request(context, tenant, &wish.since).await.map_err(failed)?;
    let prev = backbone.last_at(tenant, start.after).await.map_err(failed)?;
    let bytes = context.config.limits.http_body_bytes;
    let read = backbone.read(tenant, start.after, ReadBudget { records: wish.limit, bytes }).await.map_err(failed)?;
    let resync = start.resync.map(|reason| ResyncReport::new(reason, wish.requested.clone(), log.epoch, start.after));
    let mut page = HistoryPage::begin(beginning(&wish.since, start, log.epoch));
    page.resync = resync;
    page.more = if read.more { More::Yes } else { More::No };
    let reached = read.records.last().map_or(start.after, |record| record.position);
    let mut records = Vec::with_capacity(read.records.len());
    let mut before = prev;
    for stored in read.records {
        // A damaged body is left out here as in the room, which reports it.
        if let Ok(record) = read_record(tenant, before, &stored) {
            before = stored.position;
            records.push(record);
        }
    }
    // The log has kept to both bounds already.
    if let Some(batch) = Batch::new(records) {
        page.take(&batch, wish, usize::MAX);
    }
    page.pass(reached, None);
    Ok((page, log.end))
}

/// Waits until there is something behind an empty page, or time is up.
async fn wait(
    shared: &Data<Shared>,
    asker: &Asker,
    wish: &Wish,
    (mut page, end): (HistoryPage, Position),
    peer: &Peer,
) -> Result<HistoryPage, Refusal> {
    let deadline = Instant::now() + wish.wait;
    // A draining node answers before it stops.
    let _counted = shared.context.requests.hold();
    let mut tail = Tail::enter(shared, asker.tenant().clone()).await?;
    let mut proof = asker.proof(shared);
    tail.go_to(page.cursor, end);
    // Time that is up ends the wait, never a page half done.
    while page.is_empty() && Instant::now() < deadline {
        proof.check()?;
        match tail.next().await {
            Ok(Step::Records(batches, reached)) => {
                let bytes = shared.context.config.limits.http_body_bytes;
                let rest = batches.iter().find(|batch| page.take(batch, wish, bytes) == More::Yes);
                if rest.is_none() {
                    page.pass(reached, None);
                }
                tail.pass(page.cursor);
            }
            Ok(Step::Nothing) => tokio::select! {
                () = tail.news() => {}
                () = sleep_until(deadline) => {}
                refusal = proof.ends() => return Err(refusal),
                // Nobody is left who waits.
                () = peer.hangs_up() => break,
            },
            Ok(Step::Resync(reason, requested)) => {
                let place = tail.place();
                page.resync = Some(ResyncReport::new(reason, requested.to_string(), place.epoch, place.position));
                page.cursor = place;
            }
            // It is answered before the node is gone.
            Ok(Step::SentHome) => break,
            Err(Stop::Unreadable(error)) if Instant::now() + PAUSE < deadline => {
                tracing::debug!(%error, "a request that waits cannot read the log; trying again");
                sleep(PAUSE).await;
            }
            Err(stop) => return Err(stop.into()),
        }
    }
    page.more = if tail.known_end() > page.cursor.position { More::Yes } else { More::No };
    Ok(page)
}
