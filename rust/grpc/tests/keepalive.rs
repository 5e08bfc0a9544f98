// SPDX-License-Identifier: Apache-2.0
//! How long connections live: pings in both directions, age.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use support::{Fixture, PATIENCE, serve_with};
use tritongw_grpc::{GrpcOptions, KeepaliveOptions};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const EMPTY_SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;

fn serve(keepalive: KeepaliveOptions) -> Fixture {
    serve_with(&GrpcOptions {
        keepalive,
        ..GrpcOptions::default()
    })
}

#[test]
fn a_client_that_does_not_speak_in_time_is_let_go() {
    let fixture = serve_with(&GrpcOptions {
        preface_timeout: Duration::from_millis(50),
        ..GrpcOptions::default()
    });
    let mut speaking = Frames::open(&fixture);
    for said in [&b""[..], &PREFACE[..PREFACE.len() - 1]] {
        let mut silent = TcpStream::connect(fixture.grpc.local_addr()).expect("it listens");
        silent.set_read_timeout(Some(PATIENCE)).expect("a socket");
        silent.write_all(said).expect("it reads");
        let mut rest = Vec::new();
        match silent.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
    // The limit of this one has passed too.
    speaking.ping(1);
    assert!(speaking.next_of(PING).is_some());
}

/// A connection that speaks frames.
struct Frames(TcpStream);

impl Frames {
    fn open(fixture: &Fixture) -> Self {
        let mut socket = TcpStream::connect(fixture.grpc.local_addr()).expect("it listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let hello = [PREFACE, EMPTY_SETTINGS].concat();
        socket.write_all(&hello).expect("it reads");
        Self(socket)
    }

    fn ping(&mut self, number: u8) {
        let header = [0, 0, 8, PING, 0, 0, 0, 0, 0];
        let frame = [&header[..], &[number; 8]].concat();
        // A connection that was closed meanwhile shows when it is read from.
        let _ = self.0.write_all(&frame);
    }

    /// Returns kind, flags and payload of the next frame; `None` at the end of the connection.
    fn next(&mut self) -> Option<(u8, u8, Vec<u8>)> {
        let mut header = [0; 9];
        match self.0.read_exact(&mut header) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("nothing in time"),
            Err(_) => return None,
        }
        let [high, middle, low, kind, flags, ..] = header;
        let mut payload = vec![0; u32::from_be_bytes([0, high, middle, low]) as usize];
        self.0.read_exact(&mut payload).ok()?;
        Some((kind, flags, payload))
    }

    /// Waits for a frame of that kind; `None` at the end of the connection.
    fn next_of(&mut self, kind: u8) -> Option<(u8, Vec<u8>)> {
        loop {
            let (found, flags, payload) = self.next()?;
            if found == kind {
                return Some((flags, payload));
            }
        }
    }
}

#[test]
fn a_client_that_pings_too_often_loses_its_connection() {
    let fixture = serve(KeepaliveOptions {
        max_ping_strikes: 2,
        ..KeepaliveOptions::default()
    });
    let mut frames = Frames::open(&fixture);
    // The first is in order, two are passed over.
    for number in 1..=3 {
        frames.ping(number);
        assert_eq!(frames.next_of(PING), Some((ACK, vec![number; 8])));
    }
    frames.ping(4);
    assert_eq!(frames.next_of(PING), None);
    // It is that connection's own fault.
    fixture.client().settle();
}

#[test]
fn pings_without_limit_are_answered() {
    let fixture = serve(KeepaliveOptions {
        max_ping_strikes: 0,
        ..KeepaliveOptions::default()
    });
    let mut frames = Frames::open(&fixture);
    for number in 1..=20 {
        frames.ping(number);
        assert_eq!(frames.next_of(PING), Some((ACK, vec![number; 8])));
    }
}

#[test]
fn a_silent_client_is_asked_and_given_up_when_it_does_not_answer() {
    let fixture = serve(KeepaliveOptions {
        time: Some(Duration::from_millis(20)),
        timeout: Duration::from_millis(20),
        ..KeepaliveOptions::default()
    });
    let mut frames = Frames::open(&fixture);
    let (flags, _) = frames.next_of(PING).expect("it asks");
    assert_eq!(flags, 0);
    assert_eq!(frames.next_of(PING), None);
}

#[test]
fn an_old_connection_takes_no_more_calls() {
    let fixture = serve(KeepaliveOptions {
        max_connection_age: Some(Duration::from_millis(20)),
        ..KeepaliveOptions::default()
    });
    let mut frames = Frames::open(&fixture);
    frames.next_of(GOAWAY).expect("it says goodbye");
    // hyper asks once whether everything sent before has been read, then closes.
    loop {
        match frames.next() {
            Some((PING, 0, payload)) => {
                let header = [0, 0, 8, PING, ACK, 0, 0, 0, 0];
                let _ = frames.0.write_all(&[&header[..], &payload].concat());
            }
            Some(_) => {}
            None => break,
        }
    }
}

#[test]
fn calls_on_an_old_connection_are_given_up_after_the_grace() {
    let fixture = serve(KeepaliveOptions {
        max_connection_age: Some(Duration::from_millis(400)),
        max_connection_age_grace: Some(Duration::from_millis(20)),
        ..KeepaliveOptions::default()
    });
    let mut client = fixture.client();
    let call =
        support::client::Call::of_frames("/inference.GRPCInferenceService/ModelStreamInfer", []);
    let mut stream = client.stream(call);
    assert!(client.is_broken(&mut stream), "the call should be cut off");
}
