//! What a long request shows of its asker for as long as it lasts: a token that ends or is called back ends it too.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::sleep};

use crate::{
    actors::{authority::refusal, context::NodeContext},
    auth::Bearer,
    model::{InstanceId, TenantId},
    wire::Refusal,
};

/// The longest that is slept in one go.
const LONG: Duration = Duration::from_secs(3600);

/// A bearer, watched.
pub(super) struct Proof {
    context: Arc<NodeContext>,
    /// `None` where nobody has to prove anything.
    bearer: Option<Arc<Bearer>>,
    /// Where it is, and as whom.
    place: (TenantId, Option<InstanceId>),
    changes: watch::Receiver<u64>,
}

impl Proof {
    /// Of somebody who was let in.
    pub(super) fn of(
        context: Arc<NodeContext>,
        bearer: Option<Arc<Bearer>>,
        place: (TenantId, Option<InstanceId>),
    ) -> Self {
        let changes = context.authority.registry().changes();
        Self { bearer, place, changes, context }
    }

    /// Whether it holds now.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        let Some(bearer) = &self.bearer else { return Ok(()) };
        let (tenant, instance) = &self.place;
        match self.context.authority.holds(bearer, (Some(tenant), instance.as_ref()), self.context.now()) {
            Err(error) if !error.passes() => Err(refusal(&error)),
            _ => Ok(()),
        }
    }

    /// Waits until it holds no more.
    pub(super) async fn ends(&mut self) -> Refusal {
        loop {
            self.changes.mark_unchanged();
            if let Err(refusal) = self.check() {
                return refusal;
            }
            let end = self.bearer.as_ref().and_then(|bearer| bearer.expires_at);
            let left = end.map_or(LONG, |end| {
                Duration::from_millis(u64::try_from(end.0 - self.context.now().0).unwrap_or_default().max(1))
            });
            tokio::select! {
                () = sleep(left.min(LONG)) => {}
                changed = self.changes.changed() => if changed.is_err() { std::future::pending::<()>().await },
            }
        }
    }
}
