// SPDX-License-Identifier: Apache-2.0
//! Asks the worker of an instance whether its model is ready (Y007).

use std::sync::Arc;

use parking_lot::Mutex;
use tritongw_engine::backend::{ReadyAnswer, ReadyCheck};
use tritongw_types::Error;

use super::connection::not_healthy;
use crate::shared::control::{ControlSocket, ToWorker};

/// Where the engine asks, whichever worker lives.
pub(crate) struct ReadyDesk {
    instance_name: Arc<str>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    worker: Asked,
    // Sent to the worker and not yet answered.
    question: Option<ReadyAnswer>,
}

/// Who is there to be asked.
#[derive(Clone, Default)]
enum Asked {
    /// No worker lives.
    #[default]
    Nobody,
    /// The worker's model has no `is_ready`: it is ready.
    Silent,
    Worker(Arc<ControlSocket>),
}

impl ReadyDesk {
    pub(crate) fn new(instance_name: Arc<str>) -> Arc<Self> {
        Arc::new(Self {
            instance_name,
            state: Mutex::default(),
        })
    }

    /// Notes the worker to ask from now on, if its model can be asked.
    pub(crate) fn open(&self, worker: Option<Arc<ControlSocket>>) {
        self.state.lock().worker = worker.map_or(Asked::Silent, Asked::Worker);
    }

    /// Notes that the worker is gone, or is to go.
    pub(crate) fn close(&self) {
        let question = {
            let mut state = self.state.lock();
            state.worker = Asked::Nobody;
            state.question.take()
        };
        if let Some(question) = question {
            question(Err(not_healthy(&self.instance_name)));
        }
    }

    /// Passes the worker's answer on: why the model is not ready, if it is not. One to no question
    /// is let go.
    pub(crate) fn answer(&self, reason: Option<String>) {
        let question = self.state.lock().question.take();
        if let Some(question) = question {
            question(reason.map_or(Ok(()), |reason| Err(Error::unavailable(reason))));
        }
    }
}

impl ReadyCheck for ReadyDesk {
    fn ask(&self, answer: ReadyAnswer) {
        let mut state = self.state.lock();
        let control = match state.worker.clone() {
            Asked::Worker(control) => control,
            Asked::Silent => {
                drop(state);
                return answer(Ok(()));
            }
            Asked::Nobody => {
                drop(state);
                return answer(Err(not_healthy(&self.instance_name)));
            }
        };
        state.question = Some(answer);
        drop(state);
        if let Err(error) = control.try_send(&ToWorker::CheckReady) {
            let name = &self.instance_name;
            self.answer(Some(format!(
                "failed to ask the worker of '{name}': {error}"
            )));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, channel};

    use tritongw_engine::backend::ReadyCheck;

    use super::ReadyDesk;
    use crate::shared::control::{ControlSocket, ToWorker};

    fn ask(desk: &ReadyDesk) -> Receiver<Option<String>> {
        let (told, answer) = channel();
        desk.ask(Box::new(move |result| {
            drop(told.send(result.err().map(|error| error.message().to_owned())));
        }));
        answer
    }

    #[test]
    fn a_worker_answers_and_its_end_does_too() {
        let desk = ReadyDesk::new("m_0".into());
        let death = || Some("Stub process 'm_0' is not healthy.".to_owned());
        assert_eq!(ask(&desk).recv(), Ok(death()), "nobody to ask");
        let (ours, theirs) = ControlSocket::pair().expect("sockets");
        desk.open(Some(Arc::new(ours)));
        let answer = ask(&desk);
        let heard = theirs.receive::<ToWorker>().expect("read").expect("asked");
        assert!(matches!(heard.0, ToWorker::CheckReady));
        assert!(answer.try_recv().is_err(), "not before the worker");
        desk.answer(Some("busy".to_owned()));
        assert_eq!(answer.recv(), Ok(Some("busy".to_owned())));
        desk.answer(Some("nobody asked".to_owned()));
        let answer = ask(&desk);
        desk.close();
        assert_eq!(answer.recv(), Ok(death()));
        desk.open(None);
        assert_eq!(
            ask(&desk).recv(),
            Ok(None),
            "a model without a word is ready"
        );
    }

    #[test]
    fn a_worker_that_does_not_listen_is_not_ready() {
        let desk = ReadyDesk::new("m_0".into());
        let (ours, theirs) = ControlSocket::pair().expect("sockets");
        desk.open(Some(Arc::new(ours)));
        drop(theirs);
        let reason = ask(&desk).recv().expect("answered").expect("a reason");
        assert!(
            reason.starts_with("failed to ask the worker of 'm_0': "),
            "{reason}"
        );
    }
}
