//! How far a run is, on standard error, where it does not mix with the figures.

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

use super::tally::Tally;

/// How often the bar looks at the figures.
const LOOK: Duration = Duration::from_millis(100);

/// What the bar counts.
#[derive(Clone, Copy, Debug)]
pub enum Counts {
    /// Connections that have caught up.
    CaughtUp,
    /// Deliveries.
    Deliveries,
}

/// A bar that follows a tally until it is dropped; hidden when standard error is no terminal.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    follower: tokio::task::JoinHandle<()>,
}

impl Progress {
    /// Shows what `tally` counts, out of `total`.
    pub fn of(what: &'static str, tally: &Arc<Tally>, counts: Counts, total: u64) -> Self {
        let style = ProgressStyle::with_template("{msg:12} {bar:40} {human_pos}/{human_len} {elapsed}");
        let bar = ProgressBar::new(total).with_message(what);
        bar.set_style(style.expect("the template is valid"));
        let (shown, tally) = (bar.clone(), Arc::clone(tally));
        let follower = tokio::spawn(async move {
            loop {
                shown.set_position(match counts {
                    Counts::CaughtUp => tally.caught_up.load(SeqCst),
                    Counts::Deliveries => tally.accounted(),
                });
                tokio::time::sleep(LOOK).await;
            }
        });
        Self { bar, follower }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.follower.abort();
        self.bar.finish_and_clear();
    }
}
