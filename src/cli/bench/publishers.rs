//! Publishers on a thread of their own, so that nothing but their own work delays them.

use std::thread;

use anyhow::Context;
use tokio::sync::oneshot;

use super::publisher::{Order, Published, Publisher};

/// Connected publishers that wait for the word.
#[derive(Debug)]
pub struct Publishers {
    events: u64,
    go: oneshot::Sender<()>,
    outcome: oneshot::Receiver<anyhow::Result<Vec<Published>>>,
}

impl Publishers {
    /// Connects them all.
    pub async fn connect(orders: Vec<Order>) -> anyhow::Result<Self> {
        let events = orders.iter().map(|order| order.events).sum();
        let (go, word) = oneshot::channel();
        let (ready, connected) = oneshot::channel();
        let (answer, outcome) = oneshot::channel();
        thread::spawn(move || {
            let published = publish(orders, ready, word);
            // Whoever asked has given up; there is nobody left to tell.
            let _ = answer.send(published);
        });
        match connected.await {
            Ok(()) => Ok(Self { events, go, outcome }),
            // It ended before it was ready: its outcome says why.
            Err(_) => match outcome.await {
                Ok(Err(why)) => Err(why.context("a publisher could not connect")),
                Ok(Ok(_)) | Err(_) => anyhow::bail!("the publishers' thread has died"),
            },
        }
    }

    /// How many events they will send.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Lets them publish everything.
    pub async fn run(self) -> anyhow::Result<Vec<Published>> {
        // A thread that has died already gives its outcome below.
        let _ = self.go.send(());
        self.outcome.await.context("the publishers' thread has died")?
    }
}

fn publish(
    orders: Vec<Order>,
    ready: oneshot::Sender<()>,
    word: oneshot::Receiver<()>,
) -> anyhow::Result<Vec<Published>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connected = Vec::new();
        for order in orders {
            connected.push(Publisher::connect(order).await?);
        }
        // Nobody waits any more: then there is nothing to publish either.
        if ready.send(()).is_err() || word.await.is_err() {
            return Ok(Vec::new());
        }
        futures_util::future::try_join_all(connected.into_iter().map(Publisher::run)).await
    })
}
