//! Signals over core NATS: one subscription a channel while somebody on this node listens to it.

use std::{collections::HashSet, sync::Arc, time::Duration};

use async_nats::Subscriber;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::{
    sync::{Mutex, mpsc},
    time::{sleep, timeout},
};

use super::Shared;
use crate::backbone::{BackboneError, Channel, Signals};

/// Signals that may wait to be sent.
const WAITING: usize = 8_192;
/// How often a subscription is held against its listeners.
const LOOK: Duration = Duration::from_secs(5);
/// How long the server may take to know a subscription.
const ROUND_TRIP: Duration = Duration::from_secs(1);

/// The channels of this node.
#[derive(Debug)]
pub(super) struct Lines {
    out: mpsc::Sender<(String, Bytes)>,
    subscribed: Arc<Mutex<HashSet<Channel>>>,
}

impl Lines {
    pub(super) fn start(shared: &Arc<Shared>) -> Self {
        let (out, mut waiting) = mpsc::channel::<(String, Bytes)>(WAITING);
        let (line, runtime) = (shared.line.clone(), &shared.runtime);
        runtime.spawn(async move {
            while let Some((subject, body)) = waiting.recv().await {
                // A signal is of the moment: what cannot go now is not kept for later.
                if line.is_up() && line.client().publish(subject, body).await.is_err() {
                    return; // the client is closed
                }
            }
        });
        Self { out, subscribed: Arc::default() }
    }

    /// Sends a signal, or loses it.
    pub(super) fn send(&self, subject: String, body: Bytes) {
        // Full or closed: lost, as signals may be.
        let _ = self.out.try_send((subject, body));
    }

    /// See [`crate::backbone::Backbone::listen`].
    pub(super) async fn listen(
        shared: Arc<Shared>,
        subscribed: Arc<Mutex<HashSet<Channel>>>,
        channel: Channel,
    ) -> Result<Signals, BackboneError> {
        let mut all = subscribed.lock().await;
        let signals = shared.hub.listen(channel.clone());
        if !all.contains(&channel) {
            let subject = shared.shape.names.channel(&channel);
            let subscription = shared.line.client().subscribe(subject).await;
            let subscription = subscription.map_err(|error| BackboneError::Unavailable(error.to_string()))?;
            all.insert(channel.clone());
            shared.runtime.spawn(forward(shared.clone(), subscribed.clone(), channel, subscription));
        }
        // Before the round trip: other channels need not wait for this one's.
        drop(all);
        if shared.line.is_up() {
            // Subscriptions travel ahead of this question; its answer shows that the server knows them.
            let _ = timeout(ROUND_TRIP, shared.line.ask::<serde_json::Value>("INFO".into(), Vec::new())).await;
        }
        Ok(signals)
    }

    pub(super) fn subscribed(&self) -> Arc<Mutex<HashSet<Channel>>> {
        self.subscribed.clone()
    }
}

/// Gives what comes to those who listen, until nobody does.
async fn forward(
    shared: Arc<Shared>,
    subscribed: Arc<Mutex<HashSet<Channel>>>,
    channel: Channel,
    mut subscription: Subscriber,
) {
    loop {
        tokio::select! {
            message = subscription.next() => match message {
                Some(message) if shared.hub.give(&channel, &message.payload) => continue,
                // Nobody listens any more.
                Some(_) => {}
                None => break,
            },
            () = sleep(LOOK) => {}
        }
        let mut all = subscribed.lock().await;
        if !shared.hub.has(&channel) {
            all.remove(&channel);
            break;
        }
    }
    // Whether it is heard does not matter: nobody listens.
    let _ = subscription.unsubscribe().await;
}
