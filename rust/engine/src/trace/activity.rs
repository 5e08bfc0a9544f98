// SPDX-License-Identifier: Apache-2.0

/// A moment in a request's life that a trace notes (T026, T027).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// The HTTP door saw the head of the request.
    HttpRecvStart,
    /// The HTTP door has the whole body.
    HttpRecvEnd,
    /// The HTTP door begins to send the answer.
    HttpSendStart,
    /// The HTTP door has handed the answer to the socket.
    HttpSendEnd,
    /// The gRPC door began to wait for the message.
    GrpcWaitreadStart,
    /// The gRPC door has the message.
    GrpcWaitreadEnd,
    /// The gRPC door begins to send a message.
    GrpcSendStart,
    /// The gRPC door has handed the message to the connection.
    GrpcSendEnd,
    /// The engine took the request.
    RequestStart,
    /// The scheduler queued it.
    QueueStart,
    /// Its batch reached an instance.
    ComputeStart,
    /// Inputs were ready.
    ComputeInputEnd,
    /// The model ended.
    ComputeOutputStart,
    /// Outputs were ready.
    ComputeEnd,
    /// The backend released the request.
    RequestEnd,
    /// A response was handed to the door.
    InferResponseComplete,
}

impl Activity {
    /// Returns the name that stands in trace files and span events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HttpRecvStart => "HTTP_RECV_START",
            Self::HttpRecvEnd => "HTTP_RECV_END",
            Self::HttpSendStart => "HTTP_SEND_START",
            Self::HttpSendEnd => "HTTP_SEND_END",
            Self::GrpcWaitreadStart => "GRPC_WAITREAD_START",
            Self::GrpcWaitreadEnd => "GRPC_WAITREAD_END",
            Self::GrpcSendStart => "GRPC_SEND_START",
            Self::GrpcSendEnd => "GRPC_SEND_END",
            Self::RequestStart => "REQUEST_START",
            Self::QueueStart => "QUEUE_START",
            Self::ComputeStart => "COMPUTE_START",
            Self::ComputeInputEnd => "COMPUTE_INPUT_END",
            Self::ComputeOutputStart => "COMPUTE_OUTPUT_START",
            Self::ComputeEnd => "COMPUTE_END",
            Self::RequestEnd => "REQUEST_END",
            Self::InferResponseComplete => "INFER_RESPONSE_COMPLETE",
        }
    }
}

/// What a tensor in a trace is (T028).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TensorActivity {
    /// An input as the client sent it, when it was queued.
    QueueInput,
    /// An input that the scheduler added for the backend.
    BackendInput,
    /// An output of the backend.
    BackendOutput,
}

impl TensorActivity {
    /// Returns the name that stands in trace files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::QueueInput => "TENSOR_QUEUE_INPUT",
            Self::BackendInput => "TENSOR_BACKEND_INPUT",
            Self::BackendOutput => "TENSOR_BACKEND_OUTPUT",
        }
    }
}
