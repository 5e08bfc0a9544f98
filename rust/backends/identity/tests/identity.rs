// SPDX-License-Identifier: Apache-2.0
//! `OUTPUT<i>` is `INPUT<i>` (B080), through the whole engine.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tempfile::TempDir;
use tritongw_backend_identity::IdentityBackend;
use tritongw_engine::buffer::{HeapAllocator, InputBuffer, OutputBuffer, ResponseAllocator};
use tritongw_engine::trace::{
    TraceEvent, TraceExporter, TraceLevels, TraceMode, TraceOptions, TraceRecord, TraceSettings,
};
use tritongw_engine::{
    InferenceRequest, InferenceResponse, InputTensor, OutputTensor, ResponseFlags, ResponseSink,
    Server, ServerOptions, StatisticsSnapshot,
};
use tritongw_types::{CName, DataType, Error, MemoryLocation, ParameterValue, Result, Shape};

const PAIRS: &str = r#"
input [
  { name: "INPUT0" data_type: TYPE_FP32 dims: [ -1 ] },
  { name: "INPUT1" data_type: TYPE_STRING dims: [ -1 ] optional: true }
]
output [
  { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ -1 ] },
  { name: "OUTPUT1" data_type: TYPE_STRING dims: [ -1 ] }
]
instance_group [ { kind: KIND_CPU count: 1 } ]
"#;

#[test]
fn a_contiguous_input_becomes_the_output_without_a_copy() {
    let fixture = serve(PAIRS);
    let (numbers, strings) = (numbers(), strings());
    let addresses = [&numbers, &strings].map(address);
    let outputs = fixture.infer(vec![numbers, strings], &[]).expect("valid");
    let expected = [
        ("OUTPUT0", DataType::Fp32, 2),
        ("OUTPUT1", DataType::Bytes, 1),
    ];
    assert_eq!(outputs.len(), 2);
    for ((output, (name, data_type, length)), address) in
        outputs.iter().zip(expected).zip(addresses)
    {
        assert_eq!((output.name.as_str(), output.data_type), (name, data_type));
        assert_eq!(&output.shape[..], [length]);
        assert_eq!(data(output).as_ptr().addr(), address);
    }
}

#[test]
fn an_input_in_pieces_is_put_together() {
    let fixture = serve(PAIRS);
    let mut input = numbers();
    let whole = input.contiguous().expect("host memory");
    input.data = [whole.slice(..3), whole.slice(3..)]
        .map(InputBuffer::Host)
        .into_iter()
        .collect();
    let outputs = fixture.infer(vec![input], &["OUTPUT0"]).expect("valid");
    assert_eq!(data(&outputs[0]), whole);
}

#[test]
fn an_output_whose_optional_input_is_missing_is_zeros() {
    let fixture = serve(PAIRS);
    let outputs = fixture.infer(vec![numbers()], &[]).expect("valid");
    assert_eq!(outputs.len(), 2);
    let output = &outputs[1];
    // A variable dimension is 1; a text is empty.
    assert_eq!(
        (output.data_type, &output.shape[..]),
        (DataType::Bytes, &[1][..])
    );
    assert_eq!(data(output), [0; 4]);
    let outputs = fixture
        .infer(vec![numbers()], &["OUTPUT0"])
        .expect("not asked for");
    assert_eq!(outputs.len(), 1);
}

#[test]
fn zeros_have_the_batch_dimension_of_the_request() {
    let batched = PAIRS.replace("TYPE_STRING dims: [ -1 ]", "TYPE_FP16 dims: [ 3, -1 ]");
    let fixture = serve(&format!("max_batch_size: 8\n{batched}"));
    let mut input = numbers();
    input.shape = Shape::from([2, 1]);
    let outputs = fixture.infer(vec![input], &["OUTPUT1"]).expect("valid");
    assert_eq!(&outputs[0].shape[..], [2, 3, 1]);
    assert_eq!(data(&outputs[0]), [0; 12]);
}

#[test]
fn every_request_is_counted() {
    let fixture = serve(PAIRS);
    fixture
        .infer(vec![numbers(), strings()], &[])
        .expect("valid");
    fixture.infer(vec![numbers()], &[]).expect("valid");
    let statistics = fixture.statistics();
    assert_eq!(
        (statistics.success.count, statistics.failed().count),
        (2, 0)
    );
    assert_eq!(
        (statistics.inference_count, statistics.execution_count),
        (2, 2)
    );
}

#[test]
fn bytes_of_inputs_that_became_outputs_are_a_metric() {
    let fixture = serve(PAIRS);
    let line =
        |bytes: usize| format!("input_byte_size_counter{{model=\"m\",version=\"1\"}} {bytes}\n");
    let told = || tritongw_engine::metrics::render(&fixture.server);
    assert!(told().contains(&line(0)), "{}", told());
    let (numbers, strings) = (numbers(), strings());
    let sizes = [numbers.byte_size(), strings.byte_size()];
    let both = vec![numbers.clone(), strings];
    fixture.infer(both, &[]).expect("valid");
    assert!(told().contains(&line(sizes[0] + sizes[1])), "{}", told());
    fixture.infer(vec![numbers], &["OUTPUT1"]).expect("valid");
    assert!(
        told().contains(&line(sizes[0] + sizes[1])),
        "no input was repeated"
    );
}

/// Keeps the names of what backends note themselves.
#[derive(Clone, Default)]
struct Noted(Arc<Mutex<Vec<String>>>);

impl TraceExporter for Noted {
    fn export(&self, records: Vec<TraceRecord>) {
        let events = records.into_iter().flat_map(|trace| trace.events);
        self.0.lock().extend(events.filter_map(|event| match event {
            TraceEvent::Custom { name, .. } => Some(name),
            _ => None,
        }));
    }

    fn settings(&self) -> Vec<(&'static str, Vec<String>)> {
        Vec::new()
    }

    fn shut_down(&self) {}
}

#[test]
fn traces_hold_what_the_model_asks_for() {
    let noted = Noted::default();
    let exporter = Arc::new(noted.clone());
    let settings = TraceSettings {
        levels: TraceLevels {
            timestamps: true,
            tensors: false,
        },
        rate: 1,
        ..TraceSettings::default()
    };
    let options = ServerOptions {
        trace: TraceOptions {
            settings,
            mode: TraceMode::OpenTelemetry(exporter),
        },
        ..ServerOptions::default()
    };
    let parameters = [
        ("enable_custom_tracing", "true"),
        ("nested_span_count", "3"),
        ("single_activity_frequency", "2"),
    ];
    let parameters = parameters
        .map(|(key, value)| parameter(key, value))
        .concat();
    let fixture = serve_with(&format!("{PAIRS}{parameters}"), options);
    let mut request = fixture.request(vec![numbers()], &[]);
    request.set_trace(fixture.server.traces().sample("m", None));
    fixture
        .send(request, Arc::new(HeapAllocator))
        .expect("valid");
    fixture.server.stop(Duration::from_secs(1));
    let noted = noted.0.lock();
    let names: Vec<_> = noted
        .iter()
        .map(|name| name.trim_start_matches("CUSTOM_"))
        .collect();
    assert_eq!(
        names,
        [
            "ACTIVITY_START",
            "ACTIVITY_END",
            "SINGLE_ACTIVITY",
            "ACTIVITY0_START",
            "SINGLE_ACTIVITY",
            "ACTIVITY1_START",
            "ACTIVITY2_START",
            "SINGLE_ACTIVITY",
            "ACTIVITY2_END",
            "ACTIVITY1_END",
            "ACTIVITY0_END",
        ]
    );
}

#[test]
fn a_door_with_memory_of_its_own_gets_the_output_there() {
    struct Own;
    impl ResponseAllocator for Own {
        fn allocate(&self, _: &CName, size: usize, _: MemoryLocation) -> Result<OutputBuffer> {
            Ok(OutputBuffer::Heap(vec![0; size]))
        }
    }
    let fixture = serve(PAIRS);
    let input = numbers();
    let address = address(&input);
    let outputs = fixture
        .infer_into(vec![input], &["OUTPUT0"], Arc::new(Own))
        .expect("valid");
    assert_eq!(data(&outputs[0]), [0, 0, 128, 63, 0, 0, 0, 64]);
    assert_ne!(data(&outputs[0]).as_ptr().addr(), address);
}

#[test]
fn an_execution_takes_as_long_as_asked() {
    let delay = Duration::from_millis(30);
    let fixture = serve(&format!("{PAIRS}{}", parameter("execute_delay_ms", "30")));
    let infer_ns = {
        fixture
            .infer(vec![numbers(), strings()], &[])
            .expect("valid");
        fixture.statistics().compute_infer.ns
    };
    assert!(Duration::from_nanos(infer_ns) >= delay, "{infer_ns} ns");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "measures the load from outside")]
fn a_load_takes_as_long_as_asked() {
    let start = Instant::now();
    let fixture = serve(&format!("{PAIRS}{}", parameter("creation_delay_sec", "1")));
    assert!(fixture.server.is_ready());
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[test]
fn configurations_that_are_no_pairs_have_tritons_texts() {
    let pair =
        |input: &str, output: &str| format!("input [ {{ {input} }} ] output [ {{ {output} }} ]");
    let input = r#"name: "INPUT0" data_type: TYPE_FP32 dims: [ 4 ]"#;
    let output = r#"name: "OUTPUT0" data_type: TYPE_FP32 dims: [ 4 ]"#;
    let cases = [
        (
            format!("input [ {{ {input} }} ]"),
            "model configuration must have equal input/output pairs",
        ),
        (
            pair(&input.replace("INPUT0", "IN"), output),
            "expected input name to follow INPUT<index> pattern, got 'IN'",
        ),
        (
            pair(input, &output.replace("OUTPUT0", "OUT")),
            "expected output name to follow OUTPUT<index> pattern, got 'OUT'",
        ),
        (
            pair(input, &output.replace("OUTPUT0", "OUTPUT1")),
            "expected input and output indices to match",
        ),
        (
            pair(input, &output.replace("FP32", "INT8")),
            "expected input and output datatype to match, got TYPE_FP32 and TYPE_INT8",
        ),
        (
            pair(input, &output.replace("4", "2, 2")),
            "expected input and output shape to match, got [4] and [2,2]",
        ),
        (
            format!(
                "{}{}",
                pair(input, output),
                "instance_group [ { kind: KIND_MODEL } ]"
            ),
            "'identity' backend only supports CPU instances",
        ),
    ];
    for (config, expected) in cases {
        assert_eq!(
            serve(&config).reason(),
            format!("Invalid argument: {expected}")
        );
    }
    let reshaped = output.replace("dims: [ 4 ]", "dims: [ 2, 2 ] reshape { shape: [ 4 ] }");
    assert!(
        serve(&pair(input, &reshaped)).server.is_ready(),
        "reshaped to the same"
    );
}

#[test]
fn parameters_of_a_request_do_not_disturb() {
    let fixture = serve(PAIRS);
    let mut request = fixture.request(vec![numbers()], &["OUTPUT0"]);
    request.add_parameter("anything", ParameterValue::Int(1));
    assert!(fixture.send(request, Arc::new(HeapAllocator)).is_ok());
}

fn parameter(key: &str, value: &str) -> String {
    format!("parameters {{ key: \"{key}\" value {{ string_value: \"{value}\" }} }}")
}

fn numbers() -> InputTensor {
    let data = Bytes::from([1.0_f32, 2.0].map(f32::to_le_bytes).concat());
    InputTensor::new("INPUT0", DataType::Fp32, Shape::from([2]), data)
}

fn strings() -> InputTensor {
    let data = Bytes::from_static(b"\x03\0\0\0abc");
    InputTensor::new("INPUT1", DataType::Bytes, Shape::from([1]), data)
}

fn address(input: &InputTensor) -> usize {
    input.data[0]
        .as_host()
        .expect("host memory")
        .as_ptr()
        .addr()
}

fn data(output: &OutputTensor) -> &[u8] {
    output
        .buffer
        .as_ref()
        .and_then(|buffer| buffer.as_slice())
        .expect("host memory")
}

struct Fixture {
    server: Arc<Server>,
    _repository: TempDir,
}

/// Serves one model `m` of this configuration.
fn serve(config: &str) -> Fixture {
    serve_with(config, ServerOptions::default())
}

fn serve_with(config: &str, options: ServerOptions) -> Fixture {
    let repository = TempDir::new().expect("a temporary directory");
    let model = repository.path().join("m");
    std::fs::create_dir_all(model.join("1")).expect("a writable directory");
    let config = format!("backend: \"identity\"\n{config}");
    std::fs::write(model.join("config.pbtxt"), config).expect("a writable directory");
    let model_repositories = vec![repository.path().to_owned()];
    let options = ServerOptions {
        model_repositories,
        ..options
    };
    let server = Server::new(options, vec![Arc::new(IdentityBackend)]).expect("readable");
    Fixture {
        server,
        _repository: repository,
    }
}

impl Fixture {
    fn reason(&self) -> String {
        self.server.index()[0].reason.clone()
    }

    fn statistics(&self) -> StatisticsSnapshot {
        self.server
            .model("m", None)
            .expect("loaded")
            .statistics()
            .snapshot()
    }

    fn request(&self, inputs: Vec<InputTensor>, outputs: &[&str]) -> Box<InferenceRequest> {
        let mut request = InferenceRequest::new(self.server.model("m", None).expect("loaded"));
        for input in inputs {
            request.add_input(input).expect("names differ");
        }
        for output in outputs {
            request.add_requested_output(output).expect("named once");
        }
        request
    }

    fn infer(&self, inputs: Vec<InputTensor>, outputs: &[&str]) -> Result<Vec<OutputTensor>> {
        self.infer_into(inputs, outputs, Arc::new(HeapAllocator))
    }

    fn infer_into(
        &self,
        inputs: Vec<InputTensor>,
        outputs: &[&str],
        allocator: Arc<dyn ResponseAllocator>,
    ) -> Result<Vec<OutputTensor>> {
        self.send(self.request(inputs, outputs), allocator)
    }

    fn send(
        &self,
        mut request: Box<InferenceRequest>,
        allocator: Arc<dyn ResponseAllocator>,
    ) -> Result<Vec<OutputTensor>> {
        let (sender, answers) = channel();
        request.set_response_handler(allocator, Arc::new(Sink(sender)));
        self.server.infer(request).map_err(|(error, _)| error)?;
        let mut response = answers
            .recv_timeout(Duration::from_secs(10))
            .expect("every request is answered");
        match response.error() {
            Some(error) => Err(Error::new(error.code(), error.message())),
            None => Ok(response.take_outputs().collect()),
        }
    }
}

struct Sink(Sender<Box<InferenceResponse>>);

impl ResponseSink for Sink {
    fn respond(&self, response: Option<Box<InferenceResponse>>, flags: ResponseFlags) {
        assert!(flags.is_final(), "one response per request");
        // A test that has given up listens no more.
        let _ = self.0.send(response.expect("a response, not flags alone"));
    }
}
