//! The room's state for one client, page by page, as fast as its connection takes it.
//!
//! Pages are read from the log and sent beside the records that go on coming: an entity that changes meanwhile comes again,
//! with a later version. So whoever keeps the latest version of everything has the whole state, and nothing is held here
//! but one page.

use std::{
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use super::Session;
use crate::{
    actors::{context::NodeContext, link::Link},
    auth::Grant,
    backbone::{BackboneError, EntityPage, ReadBudget},
    model::{Position, TenantId},
    wire::{
        Code, Need, Refusal, Variant,
        outgoing::Voice,
        state::{Page, Progress, StateRequest},
    },
};

/// Entities in one page.
const ENTITIES: usize = 1_000;
/// How long entities that lie behind the log are waited for.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two looks at how far they have come.
const PAUSE: Duration = Duration::from_millis(50);

impl Session {
    /// Sends the state, unless it is being sent already.
    pub(super) fn send_state(&mut self, request: StateRequest) {
        if let Err(mut refusal) = self.needs(Need::Look) {
            refusal.reference = request.reference;
            return self.refuse(&refusal);
        }
        if self.sends_state.upgrade().is_some() {
            let message = "this connection is being sent the state already; wait for its end";
            let mut refusal = Refusal::new(Code::LimitReached, message);
            refusal.reference = request.reference;
            return self.refuse(&refusal);
        }
        // Held by the task: gone when it is.
        let running = Rc::new(());
        self.sends_state = Rc::downgrade(&running);
        let (link, context, grant) = (self.link.clone(), self.context.clone(), self.grant.clone());
        let Variant { envelope, encoding, .. } = self.variant;
        actix_rt::spawn(async move {
            let voice = |context: &NodeContext| Voice {
                tenant: grant.tenant(),
                instance: grant.instance(),
                now: context.now(),
                epoch: context.backbone.epoch(grant.tenant()),
                envelope,
                encoding,
            };
            if let Err(error) = send_pages(&link, &context, &grant, &request, voice).await {
                tracing::warn!(tenant = %grant.tenant(), %error, "a state could not be read to its end");
                let mut refusal = Refusal::new(Code::Unavailable, "the log cannot be reached; ask again");
                refusal.reference = request.reference;
                link.send(voice(&context).error(&refusal));
            }
            drop(running);
        });
    }
}

async fn send_pages<'a>(
    link: &Rc<Link>,
    context: &Arc<NodeContext>,
    grant: &'a Grant,
    request: &StateRequest,
    voice: impl Fn(&NodeContext) -> Voice<'a>,
) -> Result<(), BackboneError> {
    let tenant = grant.tenant();
    let budget = ReadBudget { records: ENTITIES, bytes: context.config.rooms.page_bytes };
    let (viewer, end) = (grant.viewer(), context.backbone.extent(tenant).await?.last);
    let mut progress = Progress { pages: 0, entities: 0, reached: 0, of: end.0 };
    let mut read = first_page(context, tenant, budget, end).await?;
    loop {
        let EntityPage { entities, as_of, next } = read;
        let mut page = Page::new(request, context.now());
        for (key, stored) in &entities {
            page.add(tenant, key, stored.position, &stored.body, &viewer);
            progress.reached = progress.reached.max(stored.position.0);
        }
        progress.pages += 1;
        progress.entities += page.len();
        let is_last = next.is_none();
        if is_last {
            progress.reached = progress.of.max(progress.reached);
        }
        poll_fn(|cx| link.poll_low(cx)).await;
        if link.is_over() {
            return Ok(());
        }
        link.send(voice(context).state(&page, &progress, is_last.then_some(as_of)));
        if is_last {
            return Ok(());
        }
        read = context.backbone.entities(tenant, next, budget).await?;
    }
}

/// The first page, once it speaks for all that the log held when the state was asked for. The records beside the pages tell of
/// what happens from then on, so that what lay between the two would never be told.
async fn first_page(
    context: &NodeContext,
    tenant: &TenantId,
    budget: ReadBudget,
    end: Position,
) -> Result<EntityPage, BackboneError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let page = context.backbone.entities(tenant, None, budget).await?;
        if page.as_of >= end {
            return Ok(page);
        }
        if Instant::now() >= deadline {
            return Err(BackboneError::Unavailable(format!("the entities stand at {}, the log at {end}", page.as_of)));
        }
        actix_rt::time::sleep(PAUSE).await;
    }
}
