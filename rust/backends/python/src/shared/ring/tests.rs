// SPDX-License-Identifier: Apache-2.0
use proptest::prelude::*;

use super::*;

const PLACE: RingPlace = RingPlace {
    offset: 64,
    cells: 16,
};

fn ring() -> (Producer, Consumer, Arc<SharedMemory>) {
    let memory = Arc::new(SharedMemory::create("ring", 4096).expect("memory"));
    let producer = Producer::new(Arc::clone(&memory), PLACE).expect("inside");
    let consumer = Consumer::new(Arc::clone(&memory), PLACE).expect("inside");
    (producer, consumer, memory)
}

fn frame(batch: u64) -> Descriptor {
    Descriptor::new(FrameKind::Execute, batch)
}

/// Overwrites the descriptor at the start of the ring, as a hostile writer would.
fn forge(memory: &SharedMemory, descriptor: Descriptor, tail: u64) {
    assert!(memory.write(PLACE.cell_offset(0), &descriptor.to_bytes()));
    memory
        .atomic_u64(PLACE.offset + TAIL)
        .expect("inside")
        .store(tail, Ordering::Release);
}

#[test]
fn frames_come_out_as_they_went_in() {
    let (mut producer, mut consumer, _memory) = ring();
    let mut payload = vec![9; 3];
    assert_eq!(consumer.pop(&mut payload), Ok(None));
    producer.push(frame(1), b"").expect("room");
    producer.push(frame(2), &[7; 100]).expect("room");
    assert_eq!(
        consumer
            .pop(&mut payload)
            .expect("sound")
            .expect("a frame")
            .batch,
        1
    );
    assert!(payload.is_empty());
    let second = consumer.pop(&mut payload).expect("sound").expect("a frame");
    assert_eq!((second.batch, second.payload_size), (2, 100));
    assert_eq!(payload, [7; 100]);
    assert_eq!(consumer.pop(&mut payload), Ok(None));
}

#[test]
fn a_full_ring_refuses_and_recovers() {
    let (mut producer, mut consumer, _memory) = ring();
    for batch in 0..16 {
        producer.push(frame(batch), b"").expect("room");
    }
    assert_eq!(producer.push(frame(16), b""), Err(RingError::Full));
    let mut payload = Vec::new();
    assert_eq!(
        consumer
            .pop(&mut payload)
            .expect("sound")
            .expect("a frame")
            .batch,
        0
    );
    producer.push(frame(16), b"").expect("room again");
}

#[test]
fn a_frame_that_would_never_fit_is_refused_at_once() {
    let (mut producer, _consumer, _memory) = ring();
    assert_eq!(
        producer.push(frame(1), &[0; 8 * 64]),
        Err(RingError::TooLarge)
    );
    producer
        .push(frame(1), &[0; 7 * 64])
        .expect("half the ring");
}

#[test]
fn a_ring_outside_its_memory_is_refused() {
    let memory = Arc::new(SharedMemory::create("ring", 4096).expect("memory"));
    for (offset, cells) in [(0, 64), (4096, 16), (usize::MAX - 63, 16), (8, 16), (0, 1)] {
        let place = RingPlace { offset, cells };
        assert!(
            Producer::new(Arc::clone(&memory), place).is_none(),
            "{place:?}"
        );
    }
}

#[test]
fn a_forged_size_is_found_out() {
    for payload_size in [64 * 15 + 1, u32::MAX, 64] {
        let (_producer, mut consumer, memory) = ring();
        forge(
            &memory,
            Descriptor {
                payload_size,
                ..frame(1)
            },
            1,
        );
        let error = consumer.pop(&mut Vec::new()).expect_err("forged");
        assert_eq!(
            error,
            RingError::Corrupt("the size of a frame"),
            "{payload_size}"
        );
    }
}

#[test]
fn a_forged_position_is_found_out() {
    let (_producer, mut consumer, memory) = ring();
    forge(&memory, frame(1), 17);
    let error = consumer.pop(&mut Vec::new()).expect_err("forged");
    assert_eq!(error, RingError::Corrupt("the writer's position"));

    let (mut producer, _consumer, memory) = ring();
    producer.push(frame(1), b"").expect("room");
    memory
        .atomic_u64(PLACE.offset + HEAD)
        .expect("inside")
        .store(1000, Ordering::Release);
    let error = (0..16).find_map(|batch| producer.push(frame(batch), b"").err());
    assert_eq!(error, Some(RingError::Corrupt("the reader's position")));
}

#[test]
fn a_forged_skip_cannot_pass_the_writer() {
    let (_producer, mut consumer, memory) = ring();
    forge(&memory, Descriptor::new(FrameKind::Skip, 0), 1);
    let error = consumer.pop(&mut Vec::new()).expect_err("forged");
    assert_eq!(error, RingError::Corrupt("the writer's position"));
}

#[test]
fn only_a_sleeping_consumer_is_woken_and_only_once() {
    let (mut producer, mut consumer, _memory) = ring();
    assert!(!producer.take_sleeping());
    assert!(consumer.prepare_sleep());
    producer.push(frame(1), b"").expect("room");
    assert!(producer.take_sleeping());
    assert!(!producer.take_sleeping());
    assert!(!consumer.prepare_sleep());
    assert!(!producer.take_sleeping());
    consumer
        .pop(&mut Vec::new())
        .expect("sound")
        .expect("a frame");
    assert!(consumer.prepare_sleep());
    consumer.end_sleep();
    assert!(!producer.take_sleeping());
}

#[test]
fn two_threads_lose_nothing() {
    const FRAMES: u64 = 20_000;
    let (mut producer, mut consumer, _memory) = ring();
    let writer = std::thread::spawn(move || {
        for batch in 0..FRAMES {
            let payload = [batch as u8; 200];
            let size = (batch % 200) as usize;
            while producer.push(frame(batch), &payload[..size]) == Err(RingError::Full) {
                std::thread::yield_now();
            }
        }
    });
    let mut payload = Vec::new();
    for batch in 0..FRAMES {
        let descriptor = loop {
            match consumer.pop(&mut payload).expect("sound") {
                Some(descriptor) => break descriptor,
                None => std::thread::yield_now(),
            }
        };
        assert_eq!(descriptor.batch, batch);
        assert_eq!(payload, vec![batch as u8; (batch % 200) as usize]);
    }
    writer.join().expect("the writer ends well");
}

proptest! {
    #[test]
    fn any_mix_of_frames_comes_out_in_order(
        sizes in prop::collection::vec(0_usize..=7 * 64, 1..100),
        drains in prop::collection::vec(0_usize..4, 1..100),
    ) {
        let (mut producer, mut consumer, _memory) = ring();
        let mut payload = Vec::new();
        let mut expected = std::collections::VecDeque::new();
        let mut drains = drains.into_iter().cycle();
        for (batch, size) in (0_u64..).zip(sizes) {
            let data = vec![batch as u8; size];
            while producer.push(frame(batch), &data).is_err() {
                let descriptor = consumer.pop(&mut payload).expect("sound").expect("was full");
                prop_assert_eq!(Some((descriptor.batch, payload.clone())), expected.pop_front());
            }
            expected.push_back((batch, data));
            for _ in 0..drains.next().unwrap_or(0) {
                let popped = consumer.pop(&mut payload).expect("sound");
                let popped = popped.map(|descriptor| (descriptor.batch, payload.clone()));
                prop_assert_eq!(popped, expected.pop_front());
            }
        }
    }

    #[test]
    fn random_bytes_never_harm_the_consumer(
        cells in prop::collection::vec(any::<u8>(), 16 * 64),
        tail in prop_oneof![0_u64..20, any::<u64>()],
    ) {
        let (_producer, mut consumer, memory) = ring();
        prop_assert!(memory.write(PLACE.cell_offset(0), &cells));
        memory.atomic_u64(PLACE.offset + TAIL).expect("inside").store(tail, Ordering::Release);
        let mut payload = Vec::new();
        for _ in 0..20 {
            match consumer.pop(&mut payload) {
                Ok(Some(_)) => prop_assert!(payload.len() <= 15 * 64),
                Ok(None) | Err(_) => break,
            }
        }
    }
}
