//! The owner's own rules: a service of the owner's that is asked when something is about to be done for the first time. It is
//! asked behind the grant, so it can only narrow that.
//!
//! Owns: that each question is asked by one at a time, and so many questions at a time, of which one tenant's are no more than
//! half; how long an answer holds; what holds when there is none. Must not know: sessions, requests, how a refusal is worded.

mod call;
mod figures;
mod question;

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lru::LruCache;
use prometheus_client::registry::Registry;
use tokio::{
    sync::{AcquireError, Semaphore, watch},
    time::{Instant, timeout, timeout_at},
};

pub use self::question::{Act, Question, Who};
use self::{
    call::{Answer, Service},
    figures::HookFigures,
    question::Asked,
};
use crate::{
    config::{self, WhenDown},
    model::TenantId,
};

/// Answers that are remembered.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(65_536).expect("above zero");
/// Questions that may be under way, those that wait for their turn among them; an asker beyond them has no answer. One tenant's
/// may be half of them.
const UNDER_WAY: usize = 16_384;
/// For how long it is remembered that a question could not be answered.
const FAILED: Duration = Duration::from_secs(1);
/// The longest that an answer may ask to be remembered.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// What the owner's rule says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Admitted,
    /// No, and perhaps why: at most 200 characters, none of them a control character.
    Refused(Option<Arc<str>>),
    /// It could not be asked, and that refuses.
    Away,
}

/// Verdicts on some questions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruling(HashMap<Question, Verdict>);

impl Ruling {
    /// What was said to a question. What was not asked is not admitted.
    pub fn on(&self, question: &Question) -> Verdict {
        self.0.get(question).cloned().unwrap_or(Verdict::Away)
    }
}

/// What came of a question under way; `None` while it is.
type Outcome = watch::Receiver<Option<Verdict>>;

#[derive(Debug)]
struct Known {
    /// Each verdict with when it ends.
    verdicts: LruCache<Question, (Verdict, Instant)>,
    under_way: HashMap<Question, Outcome>,
    /// Of each tenant that has a question under way.
    shares: HashMap<TenantId, Share>,
}

/// One tenant's.
#[derive(Debug)]
struct Share {
    /// Questions under way.
    questions: usize,
    /// The turns that it may have at a time.
    turns: Arc<Semaphore>,
}

/// The service, and what it has said.
#[derive(Debug)]
pub struct Hook {
    service: Arc<Service>,
    deadline: Duration,
    remember: Duration,
    when_down: WhenDown,
    turns: Arc<Semaphore>,
    /// How many of them one tenant may have: half, and at least one.
    share: usize,
    known: Mutex<Known>,
    figures: HookFigures,
}

impl Hook {
    /// As the configuration says; `None`: there is none.
    ///
    /// # Errors
    ///
    /// In words: the address or the key's file cannot be used.
    pub fn open(config: &config::Hook) -> Result<Option<Arc<Self>>, String> {
        if config.url.is_empty() {
            return Ok(None);
        }
        Ok(Some(Arc::new(Self {
            service: Arc::new(Service::at(config)?),
            deadline: config.deadline,
            remember: config.remember,
            when_down: config.when_down,
            turns: Arc::new(Semaphore::new(config.requests)),
            share: (config.requests / 2).max(1),
            known: Mutex::new(Known {
                verdicts: LruCache::new(REMEMBERED),
                under_way: HashMap::new(),
                shares: HashMap::new(),
            }),
            figures: HookFigures::default(),
        })))
    }

    /// Names its figures.
    pub fn register(&self, registry: &mut Registry) {
        self.figures.register(registry);
    }

    /// Asks whether the service answers at all; what it says does not matter. Blocks for the deadline at most.
    ///
    /// # Errors
    ///
    /// What went wrong.
    pub fn examine(&self) -> Result<(), String> {
        self.service.call(&Asked::check()).map(|_| ())
    }

    /// What is known of all these questions without asking; `None`: something is not.
    pub fn recall(&self, questions: &HashSet<Question>) -> Option<Ruling> {
        let (now, mut known) = (Instant::now(), self.known());
        let recall = |question: &Question| Some((question.clone(), known.recall(question, now)?));
        questions.iter().map(recall).collect::<Option<_>>().map(Ruling)
    }

    /// Asks what is not known, one after the other, so that no asker takes every turn; all of it takes the deadline at most.
    pub async fn ask(self: Arc<Self>, questions: HashSet<Question>) -> Ruling {
        let deadline = Instant::now() + self.deadline;
        let mut verdicts = HashMap::with_capacity(questions.len());
        for question in questions {
            let verdict = timeout_at(deadline, self.answer(&question)).await.unwrap_or_else(|_| self.unanswered());
            verdicts.insert(question, verdict);
        }
        Ruling(verdicts)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unanswered(&self) -> Verdict {
        match self.when_down {
            WhenDown::Admit => Verdict::Admitted,
            WhenDown::Refuse => Verdict::Away,
        }
    }

    async fn answer(self: &Arc<Self>, question: &Question) -> Verdict {
        let mut outcome = {
            let mut known = self.known();
            if let Some(verdict) = known.recall(question, Instant::now()) {
                return verdict;
            }
            match known.under_way.get(question) {
                Some(outcome) => outcome.clone(),
                None => {
                    let (sender, outcome) = watch::channel(None);
                    let Some(share) = known.begin(question, &outcome, self.share) else { return self.unanswered() };
                    // On its own: whoever asks may leave, and others wait for the same answer.
                    tokio::spawn(self.clone().find_out(question.clone(), share, sender));
                    outcome
                }
            }
        };
        let found = outcome.wait_for(Option::is_some).await.ok().and_then(|verdict| verdict.clone());
        found.unwrap_or_else(|| self.unanswered())
    }

    async fn find_out(
        self: Arc<Self>,
        question: Question,
        share: Arc<Semaphore>,
        outcome: watch::Sender<Option<Verdict>>,
    ) {
        let under_way = UnderWay { hook: self.clone(), question: question.clone() };
        let turn = async {
            // Its tenant's first: whoever asks much stands behind itself.
            let own = share.acquire_owned().await?;
            Ok::<_, AcquireError>((own, self.turns.clone().acquire_owned().await?))
        };
        let Ok(Ok(turn)) = timeout(self.deadline, turn).await else {
            // Nobody who asked then waits any more. The next one to ask begins anew.
            self.figures.failed.inc();
            return;
        };
        let (service, begun) = (self.service.clone(), Instant::now());
        let asked = Asked::of(&question);
        let said = tokio::task::spawn_blocking(move || {
            // Held by the request and not by who waits for it: it is there to bound requests.
            let _turn = turn;
            service.call(&asked)
        });
        let said = said.await.unwrap_or_else(|error| Err(error.to_string()));
        self.figures.seconds.observe(begun.elapsed().as_secs_f64());
        let (verdict, lasts) = self.judge(said);
        if !lasts.is_zero() {
            self.known().verdicts.put(question, (verdict.clone(), Instant::now() + lasts));
        }
        // Known before it is no longer under way: in between nobody asks again.
        drop(under_way);
        // Nobody may wait for it any more.
        let _ = outcome.send(Some(verdict));
    }

    /// What follows from an answer, and for how long.
    fn judge(&self, said: Result<Answer, String>) -> (Verdict, Duration) {
        match said {
            Ok(Answer { allow, reason, for_ms }) => {
                let counted = if allow { &self.figures.allowed } else { &self.figures.refused };
                counted.inc();
                let lasts = for_ms.map_or(self.remember, Duration::from_millis).min(LONGEST);
                (if allow { Verdict::Admitted } else { Verdict::Refused(reason) }, lasts)
            }
            Err(error) => {
                self.figures.failed.inc();
                tracing::warn!(error, "the owner's rules cannot be asked");
                (self.unanswered(), FAILED)
            }
        }
    }
}

impl Known {
    fn recall(&mut self, question: &Question, now: Instant) -> Option<Verdict> {
        let (verdict, ends) = self.verdicts.get(question)?;
        (now < *ends).then(|| verdict.clone())
    }

    /// A question is under way from here on; returns the turns of its tenant. `None`: too many are.
    fn begin(&mut self, question: &Question, outcome: &Outcome, turns: usize) -> Option<Arc<Semaphore>> {
        if self.under_way.len() >= UNDER_WAY {
            return None;
        }
        let new = || Share { questions: 0, turns: Arc::new(Semaphore::new(turns)) };
        let share = self.shares.entry(question.who.tenant.clone()).or_insert_with(new);
        if share.questions >= UNDER_WAY / 2 {
            return None;
        }
        share.questions += 1;
        self.under_way.insert(question.clone(), outcome.clone());
        Some(share.turns.clone())
    }

    fn end(&mut self, question: &Question) {
        self.under_way.remove(question);
        if let Entry::Occupied(mut share) = self.shares.entry(question.who.tenant.clone()) {
            share.get_mut().questions -= 1;
            if share.get().questions == 0 {
                share.remove();
            }
        }
    }
}

/// A question under way, which it is no more when this is dropped, also with a thread that goes away.
struct UnderWay {
    hook: Arc<Hook>,
    question: Question,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.hook.known().end(&self.question);
    }
}
