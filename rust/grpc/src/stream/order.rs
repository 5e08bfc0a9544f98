// SPDX-License-Identifier: Apache-2.0
use std::collections::{HashMap, VecDeque};

use tritongw_scheduler::{OrderKey, ResponseOrder};

/// Names a request of a stream; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ticket(u64);

/// Which response of a stream is written next (P153): those of decoupled requests as they are
/// produced, those of all others in the order of their requests. Holds no clock and no lock.
#[derive(Debug)]
pub(crate) struct StreamOrder<T> {
    last_ticket: u64,
    /// Requests without their final response, with their place if their responses are ordered.
    open: HashMap<Ticket, Option<OrderKey>>,
    // An ordered request may end without a response.
    order: ResponseOrder<Option<T>>,
    ready: VecDeque<T>,
}

impl<T> StreamOrder<T> {
    pub(crate) fn new() -> Self {
        Self {
            last_ticket: 0,
            open: HashMap::new(),
            order: ResponseOrder::new(),
            ready: VecDeque::new(),
        }
    }

    /// Takes a request, behind all before it unless it is decoupled.
    pub(crate) fn open(&mut self, is_decoupled: bool) -> Ticket {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        let place = (!is_decoupled).then(|| self.order.expect());
        self.open.insert(ticket, place);
        ticket
    }

    /// Returns whether the request still waits for its final response.
    pub(crate) fn is_open(&self, ticket: Ticket) -> bool {
        self.open.contains_key(&ticket)
    }

    /// Takes a response, or with `None` the end of a request alone.
    ///
    /// # Errors
    /// Gives the response back if the request has had its final one.
    pub(crate) fn respond(
        &mut self,
        ticket: Ticket,
        response: Option<T>,
        is_final: bool,
    ) -> Result<(), Option<T>> {
        let place = if is_final {
            self.open.remove(&ticket)
        } else {
            self.open.get(&ticket).copied()
        };
        match place {
            None => Err(response),
            Some(None) => {
                self.ready.extend(response);
                Ok(())
            }
            Some(Some(key)) => {
                let mut released = Vec::new();
                let taken = self.order.respond(key, response, is_final, &mut released);
                self.ready.extend(released.into_iter().flatten());
                taken
            }
        }
    }

    /// Returns the response to write next.
    pub(crate) fn next(&mut self) -> Option<T> {
        self.ready.pop_front()
    }

    /// Returns the number of requests without their final response.
    pub(crate) fn open_count(&self) -> usize {
        self.open.len()
    }

    /// Returns whether there is nothing to write and nothing to wait for.
    pub(crate) fn is_idle(&self) -> bool {
        self.open.is_empty() && self.ready.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn drained<T>(order: &mut StreamOrder<T>) -> Vec<T> {
        std::iter::from_fn(|| order.next()).collect()
    }

    #[test]
    fn ordered_requests_wait_for_those_before_them() {
        let mut order = StreamOrder::new();
        let [first, second] = [order.open(false), order.open(false)];
        assert_eq!(order.respond(second, Some("b"), true), Ok(()));
        assert_eq!(drained(&mut order), [""; 0]);
        assert_eq!(order.respond(first, Some("a"), true), Ok(()));
        assert_eq!(drained(&mut order), ["a", "b"]);
        assert!(order.is_idle());
    }

    #[test]
    fn decoupled_requests_wait_for_nobody() {
        let mut order = StreamOrder::new();
        let [slow, quick] = [order.open(false), order.open(true)];
        assert_eq!(order.respond(quick, Some("1"), false), Ok(()));
        assert_eq!(order.respond(quick, None, true), Ok(()));
        assert_eq!(drained(&mut order), ["1"]);
        assert_eq!(order.open_count(), 1);
        assert_eq!(order.respond(slow, Some("2"), true), Ok(()));
        assert_eq!(drained(&mut order), ["2"]);
    }

    #[test]
    fn an_ordered_request_without_a_response_holds_up_nobody() {
        let mut order = StreamOrder::new();
        let [silent, next] = [order.open(false), order.open(false)];
        assert_eq!(order.respond(next, Some("b"), true), Ok(()));
        assert_eq!(order.respond(silent, None, true), Ok(()));
        assert_eq!(drained(&mut order), ["b"]);
    }

    #[test]
    fn nothing_follows_the_final_response() {
        let mut order = StreamOrder::new();
        for is_decoupled in [false, true] {
            let ticket = order.open(is_decoupled);
            assert_eq!(order.respond(ticket, Some(1), true), Ok(()));
            assert!(!order.is_open(ticket));
            assert_eq!(order.respond(ticket, Some(2), true), Err(Some(2)));
        }
        assert_eq!(drained(&mut order), [1, 1]);
    }

    /// A response: its request and its index.
    type Sent = (usize, usize);

    /// One request: whether it is decoupled, and how many responses it gives.
    type Plan = (bool, usize);

    proptest! {
        /// Responses come in any order over all requests, each once, each request's in a row.
        #[test]
        fn every_response_leaves_once_and_in_its_order(
            plans in prop::collection::vec((any::<bool>(), 0_usize..4), 1..8),
            picks in prop::collection::vec(any::<prop::sample::Index>(), 64),
        ) {
            let (written, order) = run(&plans, &picks);
            prop_assert!(order.is_idle());
            // Ordered requests leave one after another, decoupled ones each in a row.
            let ordered: Vec<_> = written.iter().filter(|(request, _)| !plans[*request].0).collect();
            prop_assert!(ordered.is_sorted());
            for (request, &(_, count)) in plans.iter().enumerate() {
                let own: Vec<_> = written.iter().filter(|(of, _)| *of == request).collect();
                prop_assert_eq!(own.len(), count);
                prop_assert!(own.is_sorted());
            }
        }
    }

    /// Responds for a random request until all have ended; returns what was written, as request
    /// and index.
    fn run(plans: &[Plan], picks: &[prop::sample::Index]) -> (Vec<Sent>, StreamOrder<Sent>) {
        let mut order = StreamOrder::new();
        let mut open: Vec<_> = plans
            .iter()
            .enumerate()
            .map(|(request, (is_decoupled, count))| (order.open(*is_decoupled), request, 0, *count))
            .collect();
        let mut written = Vec::new();
        for pick in picks.iter().cycle() {
            if open.is_empty() {
                break;
            }
            let position = pick.index(open.len());
            let (ticket, request, index, count) = &mut open[position];
            let response = (*index < *count).then_some((*request, *index));
            *index += 1;
            // The last response and the end come together, as they may.
            let is_final = *index >= *count;
            order
                .respond(*ticket, response, is_final)
                .expect("the request has not ended");
            if is_final {
                open.remove(position);
            }
            written.extend(std::iter::from_fn(|| order.next()));
        }
        (written, order)
    }
}
