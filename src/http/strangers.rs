//! Sockets of which is not known yet whose they are: nothing whole was asked, or no token shown. There is a number of places for
//! them, and when all are taken the one that has been silent longest goes.
//!
//! Why the oldest and not the newest: whoever comes in earnest says who it is within moments, so a crowd that says nothing loses
//! its places to those who do, and keeps nobody out. Owns: that strangers never take more of a node than
//! `limits.strangers_per_node`, so one that has to go is waited for nowhere. Must not know: what makes one known.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    rc::{Rc, Weak},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use crate::actors::context::NodeContext;

/// Those of one thread.
#[derive(Debug)]
pub(super) struct Strangers {
    most: usize,
    /// By age; some are known or gone by now.
    queue: RefCell<VecDeque<Weak<Stranger>>>,
    here: Cell<usize>,
    context: Arc<NodeContext>,
}

/// One of them; it goes when this is dropped.
#[derive(Debug)]
pub(super) struct Stranger {
    state: Cell<State>,
    waits: RefCell<Option<Waker>>,
    place: Rc<Strangers>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Strange,
    Known,
    /// It has to go.
    Ended,
}

impl Strangers {
    /// Places on one of several threads.
    pub(super) fn new(context: Arc<NodeContext>, threads: usize) -> Rc<Self> {
        let most = context.config.limits.strangers_per_node.div_ceil(threads);
        Rc::new(Self { most, queue: RefCell::default(), here: Cell::new(0), context })
    }

    /// Takes one more in.
    pub(super) fn take_in(self: &Rc<Self>) -> Rc<Stranger> {
        while self.here.get() >= self.most {
            let oldest = self.queue.borrow_mut().pop_front();
            match oldest.map(|oldest| oldest.upgrade()) {
                Some(Some(oldest)) => oldest.end(),
                Some(None) => {}
                None => break,
            }
        }
        let mut queue = self.queue.borrow_mut();
        if queue.len() > 64 + 2 * self.here.get() {
            queue.retain(|stranger| stranger.upgrade().is_some_and(|stranger| stranger.is_strange()));
        }
        let stranger =
            Rc::new(Stranger { state: Cell::new(State::Strange), waits: RefCell::default(), place: self.clone() });
        queue.push_back(Rc::downgrade(&stranger));
        self.count(1);
        stranger
    }

    fn count(&self, change: isize) {
        self.here.set(self.here.get().saturating_add_signed(change));
        self.context.metrics.strangers.inc_by(change as i64);
    }
}

impl Stranger {
    fn is_strange(&self) -> bool {
        self.state.get() == State::Strange
    }

    /// From now on it is none.
    pub(super) fn is_known(&self) {
        if self.is_strange() {
            self.state.set(State::Known);
            self.place.count(-1);
        }
    }

    fn end(&self) {
        if self.is_strange() {
            self.state.set(State::Ended);
            self.place.count(-1);
            self.place.context.metrics.strangers_ended.inc();
            self.waits.take().iter().for_each(Waker::wake_by_ref);
        }
    }

    /// Ready once it has to go.
    pub(super) fn poll_end(&self, cx: &Context<'_>) -> Poll<()> {
        if self.state.get() == State::Ended {
            return Poll::Ready(());
        }
        let mut waits = self.waits.borrow_mut();
        if waits.as_ref().is_none_or(|before| !before.will_wake(cx.waker())) {
            *waits = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Waits until it has to go.
    pub(super) async fn ends(&self) {
        poll_fn(|cx| self.poll_end(cx)).await;
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        if self.is_strange() {
            self.place.count(-1);
        }
    }
}
