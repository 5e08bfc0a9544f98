// SPDX-License-Identifier: Apache-2.0

use std::collections::VecDeque;

/// Names a request's place in a [`ResponseOrder`]; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderKey(u64);

/// Holds responses back until those of earlier requests have left (`preserve_ordering`).
///
/// Order is by request, not by response (G5.09): the responses of the oldest unfinished request
/// pass straight through, one by one; those of later requests wait until every earlier request has
/// given its final one. Each request that was expected must be answered with exactly one final
/// response, an error included, or everything behind it waits for ever.
#[derive(Debug)]
pub struct ResponseOrder<T> {
    /// Unfinished requests, oldest first; the front one buffers nothing.
    requests: VecDeque<PendingRequest<T>>,
    /// Key of the front request.
    front: u64,
}

#[derive(Debug)]
struct PendingRequest<T> {
    held: Vec<T>,
    is_finished: bool,
}

impl<T> ResponseOrder<T> {
    /// Makes an order that expects nothing yet.
    pub fn new() -> Self {
        Self {
            requests: VecDeque::new(),
            front: 0,
        }
    }

    /// Gives the next request its place, behind all expected so far.
    ///
    /// Called once for each request of a payload, in dispatch order, which is arrival order where
    /// ordering may be preserved (one priority level, no delayed requests: M070). A request that is
    /// rejected while it is queued never gets a place, and its error leaves at once.
    pub fn expect(&mut self) -> OrderKey {
        let key = OrderKey(self.front + self.requests.len() as u64);
        self.requests.push_back(PendingRequest {
            held: Vec::new(),
            is_finished: false,
        });
        key
    }

    /// Takes a response and appends to `released` what may leave now, in order.
    ///
    /// # Errors
    ///
    /// Gives the response back if its request has already had its final one.
    pub fn respond(
        &mut self,
        key: OrderKey,
        response: T,
        is_final: bool,
        released: &mut Vec<T>,
    ) -> Result<(), T> {
        let Some(position) = self.position(key) else {
            return Err(response);
        };
        let request = &mut self.requests[position];
        if position > 0 {
            request.held.push(response);
            request.is_finished = is_final;
            return Ok(());
        }
        released.push(response);
        if is_final {
            self.requests.pop_front();
            self.front += 1;
            self.release_front(released);
        }
        Ok(())
    }

    /// Returns the number of requests that have not left completely.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Returns whether every expected request has left completely.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    fn position(&self, key: OrderKey) -> Option<usize> {
        let position = usize::try_from(key.0.checked_sub(self.front)?).ok()?;
        self.requests
            .get(position)
            .filter(|request| !request.is_finished)
            .map(|_| position)
    }

    fn release_front(&mut self, released: &mut Vec<T>) {
        while let Some(request) = self.requests.front_mut() {
            released.append(&mut request.held);
            if !request.is_finished {
                break;
            }
            self.requests.pop_front();
            self.front += 1;
        }
    }
}

impl<T> Default for ResponseOrder<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_after_the_final_one_is_given_back() {
        let mut order = ResponseOrder::new();
        let mut released = Vec::new();
        let [first, second] = [order.expect(), order.expect()];
        assert_eq!(order.respond(second, "b", true, &mut released), Ok(()));
        assert_eq!(
            order.respond(second, "late", true, &mut released),
            Err("late")
        );
        assert_eq!(order.respond(first, "a", true, &mut released), Ok(()));
        assert_eq!(
            order.respond(first, "late", false, &mut released),
            Err("late")
        );
        assert_eq!(released, ["a", "b"]);
        assert!(order.is_empty());
    }
}
