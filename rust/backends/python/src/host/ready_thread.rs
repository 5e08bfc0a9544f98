// SPDX-License-Identifier: Apache-2.0
//! The thread on which a model says whether it is ready, while it executes on another.

use std::convert::Infallible;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use parking_lot::Mutex;
use tritongw_engine::backend::{ReadyAnswer, ReadyCheck};
use tritongw_types::Result;

/// How long the end of a model waits for an answer under way: as long as whoever asked.
const LAST_ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Asks a model on a thread of its own, one question after another.
#[derive(Debug)]
pub struct ReadyThread {
    questions: Mutex<Option<Sender<ReadyAnswer>>>,
    // Hears nothing but that the thread has ended.
    ended: Mutex<Receiver<Infallible>>,
}

impl ReadyThread {
    /// Starts it; `probe` asks the model.
    ///
    /// # Errors
    /// If there can be no more threads.
    pub fn start(probe: impl Fn() -> Result<()> + Send + 'static) -> io::Result<Self> {
        let (questions, asked) = channel::<ReadyAnswer>();
        let (end, ended) = channel();
        std::thread::Builder::new()
            .name("py-ready".to_owned())
            .spawn(move || {
                for answer in asked {
                    answer(probe());
                }
                drop(probe);
                drop(end);
            })?;
        Ok(Self {
            questions: Mutex::new(Some(questions)),
            ended: Mutex::new(ended),
        })
    }

    /// Takes no more questions and waits for the answer under way, though not for long: before
    /// the model ends.
    pub fn stop(&self) {
        self.questions.lock().take();
        let ended = self.ended.lock().recv_timeout(LAST_ANSWER_LIMIT);
        if ended == Err(RecvTimeoutError::Timeout) {
            log::warn!("a model ends while it says whether it is ready");
        }
    }
}

impl ReadyCheck for ReadyThread {
    fn ask(&self, answer: ReadyAnswer) {
        if let Some(questions) = &*self.questions.lock() {
            // If the thread has ended the answer is let go, which says no.
            let _ = questions.send(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use tritongw_engine::backend::{ReadyAnswer, ReadyCheck};
    use tritongw_types::Error;

    use super::ReadyThread;

    fn telling(told: Sender<bool>) -> ReadyAnswer {
        Box::new(move |answer| told.send(answer.is_ok()).expect("somebody hears"))
    }

    #[test]
    fn a_question_is_answered_beside_the_one_who_asks_and_none_after_the_end() {
        let (step, steps) = channel::<Option<Error>>();
        let thread = ReadyThread::start(move || {
            let failure = steps.recv().expect("a step");
            failure.map_or(Ok(()), Err)
        });
        let thread = thread.expect("started");
        let (told, answers) = channel();
        for _ in 0..2 {
            let told = told.clone();
            thread.ask(telling(told));
        }
        assert!(answers.try_recv().is_err(), "nobody has waited");
        step.send(None).expect("heard");
        assert!(answers.recv().expect("answered"));
        step.send(Some(Error::unavailable("no"))).expect("heard");
        assert!(!answers.recv().expect("answered"));
        thread.stop();
        drop(step);
        thread.ask(telling(told));
        assert!(answers.recv().is_err(), "let go");
    }
}
