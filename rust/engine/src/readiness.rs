// SPDX-License-Identifier: Apache-2.0
//! Whether a model could execute now, by the word of its instances (R081).
//!
//! **Invariants:** an instance is asked one question at a time, and whoever asks meanwhile hears
//! the answer to that one; nobody waits longer than [`ANSWER_LIMIT`]; no lock is held while an
//! instance is asked or somebody is told.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tritongw_types::{Error, Result};

use crate::backend::{ReadyAnswer, ReadyCheck};
use crate::clock::monotonic_ns;
use crate::timer::{Timed, Timer};

/// How long the answer may take (Y007).
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Asks the instances of one model, for all who want to know.
pub(crate) struct Readiness {
    // For messages.
    model: String,
    limit: Duration,
    timer: Timer,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    // In the order of their deadlines.
    waiting: VecDeque<Waiting>,
    is_timer_set: bool,
    // While instances are being asked.
    round: Option<Round>,
    // Why the model was not ready when that was last told.
    reason: Option<String>,
}

struct Waiting {
    deadline_ns: u64,
    done: ReadyAnswer,
}

struct Round {
    n_unanswered: usize,
    failure: Option<Error>,
}

impl Readiness {
    /// Makes the desk of a model; `model` names it in messages.
    pub(crate) fn new(model: String, timer: Timer) -> Arc<Self> {
        Arc::new(Self {
            model,
            limit: ANSWER_LIMIT,
            timer,
            state: Mutex::default(),
        })
    }

    /// Asks every instance of `checks`, of which there is at least one; all must be ready.
    pub(crate) fn check(self: &Arc<Self>, checks: &[Arc<dyn ReadyCheck>], done: ReadyAnswer) {
        let is_asked;
        {
            let mut state = self.state.lock();
            let deadline_ns = monotonic_ns() + nanoseconds(self.limit);
            state.waiting.push_back(Waiting { deadline_ns, done });
            is_asked = state.round.is_some();
            if !is_asked {
                state.round = Some(Round {
                    n_unanswered: checks.len(),
                    failure: None,
                });
            }
        }
        self.set_timer();
        if !is_asked {
            for check in checks {
                check.ask(Answer::of(self));
            }
        }
    }

    /// Takes the answer of one instance; the last one answers everybody.
    fn note(&self, result: Result<()>) {
        let (told, result) = {
            let mut state = self.state.lock();
            let Some(round) = &mut state.round else {
                debug_assert!(false, "an instance answers what it was asked");
                return;
            };
            round.n_unanswered -= 1;
            if let Err(error) = result {
                round.failure.get_or_insert(error);
            }
            if round.n_unanswered > 0 {
                return;
            }
            let failure = state.round.take().and_then(|round| round.failure);
            let told = std::mem::take(&mut state.waiting);
            (told, failure.map_or(Ok(()), Err))
        };
        self.tell(told, &result);
    }

    fn tell(&self, told: impl IntoIterator<Item = Waiting>, result: &Result<()>) {
        self.log_change(result);
        for waiting in told {
            (waiting.done)(result.clone());
        }
    }

    /// Says why the model is not ready, and that it is again: once, however often it is asked.
    fn log_change(&self, result: &Result<()>) {
        let reason = result.as_ref().err().map(|error| error.message());
        {
            let mut state = self.state.lock();
            if state.reason.as_deref() == reason {
                return;
            }
            state.reason = reason.map(str::to_owned);
        }
        match reason {
            Some(reason) => log::warn!("{} is not ready: {reason}", self.model),
            None => log::info!("{} is ready again", self.model),
        }
    }

    /// Lets the timer call at the first deadline, unless it will.
    fn set_timer(self: &Arc<Self>) {
        let deadline_ns = {
            let mut state = self.state.lock();
            let first = match state.waiting.front() {
                Some(first) if !state.is_timer_set => first.deadline_ns,
                _ => return,
            };
            state.is_timer_set = true;
            first
        };
        let this = Arc::downgrade(self) as Weak<dyn Timed>;
        self.timer.schedule(deadline_ns, this);
    }
}

impl Timed for Readiness {
    fn deadline_reached(self: Arc<Self>) {
        let now_ns = monotonic_ns();
        let overdue: Vec<_> = {
            let mut state = self.state.lock();
            state.is_timer_set = false;
            let is_overdue = |waiting: &Waiting| waiting.deadline_ns <= now_ns;
            let n_overdue = state.waiting.partition_point(is_overdue);
            state.waiting.drain(..n_overdue).collect()
        };
        self.set_timer();
        if !overdue.is_empty() {
            let limit = self.limit;
            let text = format!("an instance did not say within {limit:?} that it is ready");
            self.tell(overdue, &Err(Error::unavailable(text)));
        }
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        let error = Error::unavailable("the model is unloaded");
        for waiting in std::mem::take(&mut self.state.get_mut().waiting) {
            (waiting.done)(Err(error.clone()));
        }
    }
}

/// The answer that an instance owes.
struct Answer(Option<Weak<Readiness>>);

impl Answer {
    fn of(readiness: &Arc<Readiness>) -> ReadyAnswer {
        let answer = Self(Some(Arc::downgrade(readiness)));
        Box::new(move |result| answer.give(result))
    }

    fn give(mut self, result: Result<()>) {
        if let Some(readiness) = self.0.take().and_then(|readiness| readiness.upgrade()) {
            readiness.note(result);
        }
    }
}

impl Drop for Answer {
    /// Whoever lets a question go has answered it, too.
    fn drop(&mut self) {
        if let Some(readiness) = self.0.take().and_then(|readiness| readiness.upgrade()) {
            readiness.note(Err(Error::unavailable("an instance ended")));
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    // INVARIANT: the limit is a few seconds.
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    use parking_lot::Mutex;
    use tritongw_types::{Error, Result};

    use super::Readiness;
    use crate::backend::{ReadyAnswer, ReadyCheck};
    use crate::timer::Timer;

    /// An instance whose questions a test answers.
    #[derive(Default)]
    struct Instance(Mutex<Vec<ReadyAnswer>>);

    impl ReadyCheck for Instance {
        fn ask(&self, answer: ReadyAnswer) {
            self.0.lock().push(answer);
        }
    }

    impl Instance {
        fn question(&self) -> ReadyAnswer {
            let mut questions = self.0.lock();
            assert_eq!(questions.len(), 1, "one question at a time");
            questions.remove(0)
        }
    }

    struct Fixture {
        readiness: Arc<Readiness>,
        instances: [Arc<Instance>; 2],
    }

    impl Fixture {
        fn new(limit: Duration) -> Self {
            let timer = Timer::start().expect("a thread");
            let readiness = Readiness::new("model 'm' version 1".to_owned(), timer);
            let mut readiness = Arc::into_inner(readiness).expect("nobody else has it");
            readiness.limit = limit;
            Self {
                readiness: Arc::new(readiness),
                instances: Default::default(),
            }
        }

        fn check(&self) -> Receiver<Result<()>> {
            let (told, answer) = channel();
            let done = Box::new(move |answer| told.send(answer).expect("somebody hears"));
            let checks = self
                .instances
                .clone()
                .map(|each| each as Arc<dyn ReadyCheck>);
            self.readiness.check(&checks, done);
            answer
        }
    }

    const LONG: Duration = Duration::from_secs(3600);

    fn no() -> Error {
        Error::unavailable("the database is gone")
    }

    #[test]
    fn all_instances_must_be_ready_and_are_asked_once_for_all_who_want_to_know() {
        let fixture = Fixture::new(LONG);
        let [one, other] = &fixture.instances;
        let first = fixture.check();
        let second = fixture.check();
        one.question()(Ok(()));
        assert!(
            first.try_recv().is_err(),
            "the other instance is still asked"
        );
        other.question()(Ok(()));
        for answer in [first, second] {
            assert!(answer.recv().expect("answered").is_ok());
        }
        let answer = fixture.check();
        one.question()(Err(no()));
        other.question()(Ok(()));
        let error = answer
            .recv()
            .expect("answered")
            .expect_err("one is not ready");
        assert_eq!(error.message(), no().message());
    }

    #[test]
    fn nobody_waits_for_ever_and_a_late_answer_is_that_of_who_asks_meanwhile() {
        let fixture = Fixture::new(Duration::ZERO);
        let [one, other] = &fixture.instances;
        for _ in 0..2 {
            let error = fixture.check().recv().expect("answered").expect_err("late");
            let expected = "an instance did not say within 0ns that it is ready";
            assert_eq!(error.message(), expected);
        }
        one.question()(Ok(()));
        other.question()(Ok(()));
    }

    #[test]
    fn whoever_lets_a_question_go_says_no() {
        let fixture = Fixture::new(LONG);
        let [one, other] = &fixture.instances;
        let answer = fixture.check();
        drop(one.question());
        other.question()(Ok(()));
        assert!(answer.recv().expect("answered").is_err());
        let answer = fixture.check();
        drop(fixture);
        assert!(answer.recv().expect("answered").is_err(), "unloaded");
    }
}
