// SPDX-License-Identifier: Apache-2.0
//! Models are loaded, changed and unloaded while requests come: each is answered once, and only
//! by what may answer it.

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use support::file_backend::{FileServer, with_instances};
use support::wait_until;
use tritongw_types::ErrorCode;

const CLIENTS: usize = 3;
const ROUNDS: u32 = 40;

/// What clients saw.
#[derive(Default)]
struct Traffic {
    is_over: AtomicBool,
    answered: AtomicUsize,
    refused: AtomicUsize,
}

impl Traffic {
    /// Sends requests until it is over; `check` sees each answer.
    fn run(&self, files: &FileServer, check: impl Fn(f32)) {
        while !self.is_over.load(Ordering::Acquire) {
            match files.infer("m") {
                Ok(number) => {
                    check(number);
                    self.answered.fetch_add(1, Ordering::AcqRel);
                }
                Err(error) => {
                    let is_unloaded = error.code() == ErrorCode::NotFound
                        && error.message().ends_with("has no available versions");
                    assert!(is_unloaded, "{}", error.message());
                    self.refused.fetch_add(1, Ordering::AcqRel);
                }
            }
        }
    }

    fn answered(&self) -> usize {
        self.answered.load(Ordering::Acquire)
    }
}

/// Runs `change` in rounds, each of which sees some requests answered.
fn with_traffic(files: &FileServer, check: impl Fn(f32) + Sync, change: impl Fn(u32)) -> Traffic {
    let traffic = Traffic::default();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| traffic.run(files, &check));
        }
        for round in 1..=ROUNDS {
            let before = traffic.answered();
            change(round);
            wait_until("traffic", || traffic.answered() > before);
        }
        traffic.is_over.store(true, Ordering::Release);
    });
    traffic
}

fn serve() -> FileServer {
    let files = FileServer::explicit(&[("m", "0")]);
    files.load("m").expect("it can be loaded");
    files
}

#[test]
fn a_reload_is_never_seen_but_by_its_answers() {
    let files = serve();
    let newest = AtomicUsize::new(0);
    let is_known = |number: f32| {
        assert!((0.0..=newest.load(Ordering::Acquire) as f32).contains(&number));
    };
    let traffic = with_traffic(&files, is_known, |round| {
        newest.store(round as usize, Ordering::Release);
        files.write_weights("m", 1, &round.to_string());
        files.load("m").expect("it can be loaded");
        // Whoever asks from now on gets the new version.
        assert_eq!(files.infer("m").expect("it serves"), round as f32);
    });
    assert_eq!(traffic.refused.load(Ordering::Acquire), 0);
}

#[test]
fn neither_is_a_failed_reload_or_a_change_of_instances() {
    let files = serve();
    let is_first = |number: f32| assert_eq!(number, 0.0);
    let traffic = with_traffic(&files, is_first, |round| {
        files.write_config("m", &with_instances(1 + round % 4));
        files.write_weights("m", 1, "fail");
        files.load("m").expect_err("bad weights");
        files.write_weights("m", 1, "0");
        files.load("m").expect("it can be loaded");
        files.write_config("m", &with_instances(1 + (round + 1) % 4));
        files.load("m").expect("it can be changed");
    });
    assert_eq!(traffic.refused.load(Ordering::Acquire), 0);
}

#[test]
fn an_unload_refuses_new_requests_and_answers_the_others() {
    let files = serve();
    with_traffic(
        &files,
        |_| {},
        |_| {
            files.unload("m").expect("it can be unloaded");
            files.load("m").expect("it can be loaded");
        },
    );
    assert_eq!(files.index(), ["m 1 READY"]);
    files.unload("m").expect("it can be unloaded");
    wait_until("the end of the model", || {
        files.index() == ["m 1 UNAVAILABLE unloaded"]
    });
    wait_until("the end of all instances", || files.has_ended_all());
}

#[test]
fn a_server_that_stops_amid_all_that_ends_every_instance() {
    let files = serve();
    std::thread::scope(|scope| {
        let traffic = Traffic::default();
        let traffic = &traffic;
        scope.spawn(|| {
            for round in 0..ROUNDS {
                files.write_weights("m", 1, &round.to_string());
                // Refused once the server stops; before that it must succeed.
                if let Err(error) = files.load("m") {
                    assert!(files.server.is_exiting(), "{}", error.message());
                    return;
                }
            }
        });
        while traffic.answered() < 10 {
            if files.infer("m").is_ok() {
                traffic.answered.fetch_add(1, Ordering::AcqRel);
            }
        }
        files.server.stop(support::PATIENCE);
    });
    wait_until("the end of all instances", || files.has_ended_all());
}
