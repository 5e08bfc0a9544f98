// SPDX-License-Identifier: Apache-2.0
//! Frames that a worker gone bad writes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tritongw_types::Error;

use super::call_message::{read_call, read_control};
use super::descriptor::{CELL_SIZE, Descriptor, FrameKind};
use super::memory::SharedMemory;
use super::message::{TensorPlace, read_request, read_response, read_tensor};
use super::ring::{Consumer, Producer, RingPlace};
use super::wire::Reader;

const PLACE: RingPlace = RingPlace {
    offset: 0,
    cells: 64,
};

/// The first word is the writer's position, the rest the ring's cells: what they say is refused,
/// or read from within the ring.
#[test]
fn ring() {
    tritongw_fuzzing::fuzz!("ring", |input: &[u8]| {
        let Some((tail, cells)) = input.split_first_chunk::<8>() else {
            return;
        };
        let memory = SharedMemory::create("ring", PLACE.byte_size()).expect("memory");
        let memory = Arc::new(memory);
        let first_cell = PLACE.byte_size() - PLACE.cells * CELL_SIZE;
        let cells = &cells[..cells.len().min(PLACE.cells * CELL_SIZE)];
        assert!(memory.write(first_cell, cells));
        let word = memory.atomic_u64(PLACE.offset).expect("inside");
        word.store(u64::from_le_bytes(*tail), Ordering::Release);
        let mut consumer = Consumer::new(Arc::clone(&memory), PLACE).expect("inside");
        let mut payload = Vec::new();
        let mut cells_taken = 0;
        while let Ok(Some(descriptor)) = consumer.pop(&mut payload) {
            assert_eq!(payload.len(), descriptor.payload_size as usize);
            assert_eq!(
                Descriptor::from_bytes(&descriptor.to_bytes()),
                Some(descriptor)
            );
            cells_taken += 1 + payload.len().div_ceil(CELL_SIZE);
            assert!(cells_taken <= PLACE.cells, "no cell is read twice");
            read_payload(&payload);
        }
        // The other end, whose reader is the one gone bad.
        let mut producer = Producer::new(memory, PLACE).expect("inside");
        for _ in 0..PLACE.cells {
            let _ = producer.push(Descriptor::new(FrameKind::Stop, 0), b"payload");
        }
    });
}

/// What frames carry: requests, responses, tensors and errors.
#[test]
fn payload() {
    tritongw_fuzzing::fuzz!("payload", |input: &[u8]| read_payload(input));
}

fn read_payload(payload: &[u8]) {
    let mut reader = Reader::new(payload);
    if let Some((request, count)) = read_request(&mut reader) {
        assert!(request.id.len() <= payload.len());
        read_tensors(&mut reader, count, payload.len());
    }
    let mut reader = Reader::new(payload);
    if let Some(response) = read_response(&mut reader) {
        read_tensors(&mut reader, response.output_count, payload.len());
    }
    let mut reader = Reader::new(payload);
    if let Some(call) = read_call(&mut reader) {
        read_tensors(&mut reader, call.input_count, payload.len());
    }
    let _ = read_control(&mut Reader::new(payload));
    let error: Option<Error> = Reader::new(payload).error();
    assert!(error.is_none_or(|error| error.message().len() <= payload.len()));
}

fn read_tensors(reader: &mut Reader<'_>, count: usize, size: usize) {
    for _ in 0..count {
        let Some(tensor) = read_tensor(reader) else {
            return;
        };
        if let TensorPlace::Inline { offset, byte_size } = tensor.place {
            assert!(offset.checked_add(byte_size).is_some_and(|end| end <= size));
        }
    }
}
