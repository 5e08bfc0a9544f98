// SPDX-License-Identifier: Apache-2.0
//! `ModelStreamInfer`: order, errors, final flags, cancellation, bounds, the end of the server.

mod support;

use std::time::Duration;

use bytes::Bytes;
use support::client::{Call, Client, Given, StreamCall};
use support::{Fixture, PATIENCE, serve, serve_with};
use tritongw_grpc::{CompressionLevel, GrpcOptions};
use tritongw_protocol::pb::infer_parameter::ParameterChoice;
use tritongw_protocol::pb::model_infer_request::InferInputTensor;
use tritongw_protocol::pb::{
    InferParameter, ModelInferRequest, ModelInferResponse, ModelStreamInferResponse,
};

const MODEL_STREAM_INFER: &str = "/inference.GRPCInferenceService/ModelStreamInfer";
const SHUTTING_DOWN: &str = "GRPC server is shutting down and has stopped accepting new requests.";

const DEADLINE_EXCEEDED: u8 = 4;
const NOT_FOUND: u8 = 5;
const RESOURCE_EXHAUSTED: u8 = 8;
const INTERNAL: u8 = 13;
const UNAVAILABLE: u8 = 14;

fn call() -> Call {
    Call::of_frames(MODEL_STREAM_INFER, [])
}

fn open(client: &mut Client) -> StreamCall {
    client.stream(call())
}

fn request(model: &str, id: &str) -> ModelInferRequest {
    of_size(model, id, 1)
}

/// A request with a tensor of that many elements.
fn of_size(model: &str, id: &str, count: usize) -> ModelInferRequest {
    ModelInferRequest {
        model_name: model.to_owned(),
        id: id.to_owned(),
        inputs: vec![InferInputTensor {
            name: "INPUT0".to_owned(),
            datatype: "FP32".to_owned(),
            shape: vec![count as i64],
            ..InferInputTensor::default()
        }],
        raw_input_contents: vec![Bytes::from(vec![0; 4 * count])],
        ..ModelInferRequest::default()
    }
}

fn wants_empty_final(mut request: ModelInferRequest) -> ModelInferRequest {
    let parameter_choice = Some(ParameterChoice::BoolParam(true));
    request.parameters.insert(
        "triton_enable_empty_final_response".to_owned(),
        InferParameter { parameter_choice },
    );
    request
}

fn next(client: &Client, stream: &mut StreamCall) -> ModelStreamInferResponse {
    client.next_message(stream)
}

/// Returns id and final flag of the next response, which must be no error.
fn next_id(client: &Client, stream: &mut StreamCall) -> (String, bool) {
    let response = next(client, stream);
    assert_eq!(response.error_message, "");
    let inferred = response.infer_response.expect("a response");
    (inferred.id.clone(), is_final(&inferred))
}

fn is_final(response: &ModelInferResponse) -> bool {
    let parameter = &response.parameters["triton_final_response"];
    parameter.parameter_choice == Some(ParameterChoice::BoolParam(true))
}

fn final_of(id: &str) -> (String, bool) {
    (id.to_owned(), true)
}

fn more_of(id: &str) -> (String, bool) {
    (id.to_owned(), false)
}

/// Makes round trips until the server has done something.
fn settle_until(client: &mut Client, condition: impl Fn() -> bool) {
    for _ in 0..100_000 {
        if condition() {
            return;
        }
        client.settle();
    }
    panic!("the server never did it");
}

#[test]
fn responses_leave_in_the_order_of_their_requests() {
    let fixture = serve();
    let mut client = fixture.client();
    let mut stream = open(&mut client);
    for id in ["a", "b", "c"] {
        stream.send(&request("hold", id));
    }
    client.settle();
    let mut held: Vec<_> = (0..3).map(|_| fixture.next_held()).collect();
    // Nothing of the later ones is written before the first has its answer.
    held.drain(1..)
        .rev()
        .for_each(support::backend::Held::answer);
    stream.send(&request("decoupled_hold", "d"));
    client.settle();
    let decoupled = fixture.next_held();
    decoupled.answer_once();
    assert_eq!(next_id(&client, &mut stream), more_of("d"));
    held.remove(0).answer();
    for id in ["a", "b", "c"] {
        assert_eq!(next_id(&client, &mut stream), final_of(id));
    }
    stream.half_close();
    decoupled.end();
    assert_eq!(client.end(&mut stream), (0, String::new()));
}

#[test]
fn the_end_of_a_decoupled_request_is_told_to_those_who_ask() {
    let fixture = serve();
    let mut client = fixture.client();
    let mut stream = open(&mut client);
    stream.send(&request("decoupled_hold", "silent"));
    client.settle();
    fixture.next_held().end();
    stream.send(&wants_empty_final(request("decoupled_hold", "asks")));
    client.settle();
    let held = fixture.next_held();
    held.answer_once();
    held.end();
    assert_eq!(next_id(&client, &mut stream), more_of("asks"));
    let last = next(&client, &mut stream)
        .infer_response
        .expect("a response");
    assert_eq!((last.id.as_str(), is_final(&last)), ("asks", true));
    assert_eq!(
        (last.model_name.as_str(), last.outputs.len()),
        ("decoupled_hold", 0)
    );
}

#[test]
fn errors_leave_the_stream_open() {
    let fixture = serve();
    let mut client = fixture.client();
    let mut stream = open(&mut client);
    stream.send(&request("nope", "1"));
    stream.send(&request("fail", "2"));
    stream.send(&request("id_fp32", "3"));
    let refused = next(&client, &mut stream);
    let text = "Request for unknown model: 'nope' is not found";
    assert_eq!(refused.error_message, text);
    let only_id = ModelInferResponse {
        id: "1".to_owned(),
        ..ModelInferResponse::default()
    };
    assert_eq!(refused.infer_response, Some(only_id));
    let failed = next(&client, &mut stream);
    assert_eq!(failed.error_message, "nothing here: 100%\nreally");
    let inferred = failed.infer_response.expect("a response");
    assert_eq!((inferred.id.as_str(), is_final(&inferred)), ("2", true));
    assert_eq!(inferred.model_name, "fail");
    assert_eq!(next_id(&client, &mut stream), final_of("3"));
}

#[test]
fn the_first_error_ends_the_stream_where_the_client_wants_that() {
    let fixture = serve();
    let mut client = fixture.client();
    let mut stream = client.stream(call().header("triton_grpc_error", "true"));
    stream.send(&request("hold", "under way"));
    client.settle();
    let under_way = fixture.next_held();
    stream.send(&request("decoupled_hold", "fails"));
    client.settle();
    let fails = fixture.next_held();
    let error = tritongw_types::Error::not_found("told to fail");
    fails.responder().send_error(error);
    assert_eq!(
        client.end(&mut stream),
        (NOT_FOUND, "told to fail".to_owned())
    );
    settle_until(&mut client, || under_way.request.is_cancelled());
}

#[test]
fn a_model_that_answers_nothing_is_an_error_of_its_request() {
    let fixture = serve();
    let mut client = fixture.client();
    let mut stream = open(&mut client);
    stream.send(&request("hold", "none"));
    client.settle();
    fixture.next_held().end();
    let failed = next(&client, &mut stream);
    assert_eq!(failed.error_message, "received an unexpected null response");
}

#[test]
fn half_closing_waits_for_the_answers() {
    let fixture = serve();
    let mut client = fixture.client();
    let mut stream = open(&mut client);
    stream.send(&request("hold", "last"));
    stream.half_close();
    client.settle();
    fixture.next_held().answer();
    assert_eq!(next_id(&client, &mut stream), final_of("last"));
    assert_eq!(client.end(&mut stream), (0, String::new()));
}

#[test]
fn giving_up_cancels_everything_under_way() {
    let fixture = serve();
    let mut client = fixture.client();
    let stream = open(&mut client);
    stream.send(&request("hold", "a"));
    stream.send(&request("decoupled_hold", "b"));
    client.settle();
    let held = [fixture.next_held(), fixture.next_held()];
    drop(stream);
    settle_until(&mut client, || {
        held.iter().all(|held| held.request.is_cancelled())
    });
    // What comes now has no reader, and does no harm.
    held.into_iter().for_each(support::backend::Held::answer);
}

#[test]
fn a_lost_connection_cancels_everything_under_way() {
    let fixture = serve();
    let mut client = fixture.client();
    let stream = open(&mut client);
    stream.send(&request("hold", "a"));
    client.settle();
    let held = fixture.next_held();
    drop((stream, client));
    let mut other = fixture.client();
    settle_until(&mut other, || held.request.is_cancelled());
}

#[test]
fn a_client_that_does_not_read_holds_back_a_decoupled_model() {
    let options = GrpcOptions {
        max_response_pool_size: 1,
        ..GrpcOptions::default()
    };
    assert_held_back(&serve_with(&options), 4);
}

#[test]
fn memory_for_unread_responses_is_bounded_without_any_option() {
    assert_held_back(&serve(), 64);
}

/// Has a model send 1 MiB after 1 MiB to a client that does not read. Before `limit` of them it
/// must be held back, until the client reads.
fn assert_held_back(fixture: &Fixture, limit: usize) {
    let mut client = fixture.client();
    let mut stream = open(&mut client);
    stream.send(&of_size("decoupled_hold", "big", 1 << 18));
    client.settle();
    let held = fixture.next_held();
    let mut sent = 0;
    // Round trips let the server write as much as the connection takes.
    while held.responder().has_room() {
        assert!(sent < limit, "the model was never held back");
        held.answer_once();
        sent += 1;
        client.settle();
    }
    let waits = {
        let responder = std::sync::Arc::clone(held.responder());
        std::thread::spawn(move || responder.wait_for_room())
    };
    for _ in 0..sent {
        assert_eq!(next_id(&client, &mut stream), more_of("big"));
    }
    waits.join().expect("there is room again");
    // Giving up makes room too: nobody must wait for a client that is gone.
    while held.responder().has_room() {
        held.answer_once();
        client.settle();
    }
    let responder = std::sync::Arc::clone(held.responder());
    let waits = std::thread::spawn(move || responder.wait_for_room());
    drop(stream);
    settle_until(&mut client, || waits.is_finished());
}

#[test]
fn a_client_that_does_not_read_is_not_read_from() {
    let options = GrpcOptions {
        max_concurrent_streams: 2,
        ..GrpcOptions::default()
    };
    let fixture = serve_with(&options);
    let mut client = fixture.client();
    let mut stream = open(&mut client);
    for id in ["1", "2", "3"] {
        stream.send(&request("hold", id));
    }
    client.settle();
    let [first, second] = [fixture.next_held(), fixture.next_held()];
    assert!(fixture.held.try_recv().is_err(), "a third one is too many");
    first.answer();
    assert_eq!(next_id(&client, &mut stream), final_of("1"));
    client.settle();
    assert_eq!(fixture.next_held().id(), "3");
    drop(second);
}

#[test]
fn what_cannot_be_read_ends_the_stream() {
    let fixture = serve();
    let mut client = fixture.client();
    for (frame, expected) in [
        (support::client::frame(0, &[0xff]), INTERNAL),
        (Bytes::from_static(&[7, 0, 0, 0, 0]), INTERNAL),
        (
            Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff]),
            RESOURCE_EXHAUSTED,
        ),
        (support::client::frame(1, &[1]), INTERNAL),
    ] {
        let mut stream = client.stream(Call::of_frames(MODEL_STREAM_INFER, [frame]));
        assert_eq!(client.end(&mut stream).0, expected);
    }
    let cut = Bytes::from_static(&[0, 0, 0, 0, 9, 1]);
    let mut stream = client.stream(Call::of_frames(MODEL_STREAM_INFER, [cut]));
    stream.half_close();
    assert_eq!(client.end(&mut stream).0, INTERNAL);
}

#[test]
fn a_deadline_ends_the_stream_and_cancels_what_is_under_way() {
    let fixture = serve();
    let mut client = fixture.client();
    let mut stream = client.stream(call().header("grpc-timeout", "300m"));
    stream.send(&request("hold", "slow"));
    client.settle();
    let held = fixture.next_held();
    assert_eq!(
        client.end(&mut stream),
        (DEADLINE_EXCEEDED, "Deadline Exceeded".to_owned())
    );
    settle_until(&mut client, || held.request.is_cancelled());
}

#[test]
fn responses_are_compressed_where_the_options_say_so() {
    let options = GrpcOptions {
        compression_level: CompressionLevel::Low,
        ..GrpcOptions::default()
    };
    let fixture = serve_with(&options);
    let mut client = fixture.client();
    let mut stream = client.stream(call().header("grpc-accept-encoding", "identity,gzip"));
    assert_eq!(stream.headers["grpc-encoding"], "gzip");
    stream.send(&of_size("id_fp32", "big", 1000));
    let Given::Message(message, true) = client.next(&mut stream) else {
        panic!("the message should be compressed");
    };
    assert!(message.len() < 1000);
    let mut unable = open(&mut client);
    assert!(!unable.headers.contains_key("grpc-encoding"));
    unable.send(&of_size("id_fp32", "big", 1000));
    assert_eq!(next_id(&client, &mut unable), final_of("big"));
}

#[test]
fn a_stopping_server_ends_idle_streams_and_finishes_busy_ones() {
    let fixture = serve();
    let mut client = fixture.client();
    let mut idle = open(&mut client);
    let mut busy = open(&mut client);
    busy.send(&request("hold", "under way"));
    client.settle();
    let held = fixture.next_held();
    let Fixture { grpc, .. } = fixture;
    let stopping = std::thread::spawn(move || grpc.stop(PATIENCE));
    let ended = (UNAVAILABLE, SHUTTING_DOWN.to_owned());
    assert_eq!(client.end(&mut idle), ended);
    // The idle one has ended, so the server is stopping: what comes now is refused.
    busy.send(&request("id_fp32", "late"));
    client.settle();
    held.answer();
    assert_eq!(next_id(&client, &mut busy), final_of("under way"));
    let refused = next(&client, &mut busy);
    assert_eq!(refused.error_message, SHUTTING_DOWN);
    assert_eq!(client.end(&mut busy), ended);
    stopping.join().expect("the server stops");
}

#[test]
fn streams_that_do_not_end_are_given_up_when_the_time_is_up() {
    let fixture = serve();
    let mut client = fixture.client();
    let stream = open(&mut client);
    stream.send(&request("hold", "slow"));
    client.settle();
    let held = fixture.next_held();
    let Fixture { grpc, .. } = fixture;
    grpc.stop(Duration::ZERO);
    assert!(held.request.is_cancelled());
}
