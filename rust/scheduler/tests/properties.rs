// SPDX-License-Identifier: Apache-2.0
//! What holds of any configuration under any sequence of events.
//!
//! Each run is held against a reference that forms batches from plain vectors, without cursors,
//! lists or heaps, and against the promises themselves.

mod property;

use proptest::collection::vec;
use proptest::prelude::*;
use tritongw_scheduler::ResponseOrder;

use self::property::driver::Driver;
use self::property::strategies::{config, event};

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    /// No request lost, none answered twice, no batch too large or mixed, no priority passed over;
    /// deadlines lie ahead, and polling at them alone drains everything.
    #[test]
    fn every_request_is_answered_once_and_in_the_right_batch(
        config in config(),
        events in vec(event(), 1..80),
    ) {
        let mut driver = Driver::new(config);
        for event in events {
            driver.carry_out(event);
        }
        driver.drain();
        driver.check_every_request_was_answered();
    }

    /// Whatever order instances answer in, and in however many pieces, responses leave by request.
    #[test]
    fn responses_leave_in_the_order_of_their_requests(
        responses in vec(0_usize..4, 1..20),
        picks in vec(any::<prop::sample::Index>(), 80),
    ) {
        let mut order = ResponseOrder::new();
        let keys: Vec<_> = responses.iter().map(|_| order.expect()).collect();
        let mut given = vec![0; responses.len()];
        let mut released = Vec::new();
        for pick in picks {
            let open: Vec<_> = (0..given.len()).filter(|n| given[*n] <= responses[*n]).collect();
            if open.is_empty() {
                break;
            }
            let request = open[pick.index(open.len())];
            let is_final = given[request] == responses[request];
            let response = (request, given[request]);
            prop_assert_eq!(
                order.respond(keys[request], response, is_final, &mut released),
                Ok(())
            );
            given[request] += 1;
        }
        prop_assert!(released.is_sorted(), "{:?}", released);
        let all_answered = given.iter().zip(&responses).all(|(given, extra)| given > extra);
        prop_assert_eq!(order.is_empty(), all_answered);
        if all_answered {
            prop_assert_eq!(released.len(), given.iter().sum::<usize>());
        }
    }
}
