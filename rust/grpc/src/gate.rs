// SPDX-License-Identifier: Apache-2.0
//! The one gate in front of every method: what does not pass here reaches no handler.

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, TE};
use hyper::http::request::Parts;

use crate::method::Method;
use crate::status::{Code, Status};

/// Why a request is not let in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is no gRPC call.
    Http(StatusCode),
    /// It is a call that gets this status.
    Call(Status),
}

/// Lets a call in and tells its method.
pub(crate) fn admit(head: &Parts, is_stopping: bool) -> Result<Method, Refusal> {
    if !is_grpc(head) {
        return Err(Refusal::Http(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    // Without this header some proxy on the way may drop trailers, and with them every status.
    if head.headers.get(TE).is_none_or(|te| te != "trailers") {
        return Err(refused(Code::Unknown, "Missing or bad te header"));
    }
    if head.method != hyper::Method::POST {
        return Err(refused(Code::Unknown, "Bad method header"));
    }
    let method =
        Method::from_path(head.uri.path()).ok_or_else(|| refused(Code::Unimplemented, ""))?;
    if is_stopping && method.is_inference() {
        return Err(refused(
            Code::Unavailable,
            "GRPC server is shutting down and has stopped accepting new requests.",
        ));
    }
    Ok(method)
}

fn refused(code: Code, message: &str) -> Refusal {
    Refusal::Call(Status::new(code, message))
}

/// Returns whether the content type is `application/grpc`, alone or followed by `+` or `;`.
fn is_grpc(head: &Parts) -> bool {
    let content_type = head.headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
    let suffix = content_type.and_then(|value| value.strip_prefix(b"application/grpc"));
    suffix.is_some_and(|suffix| matches!(suffix.first(), None | Some(b'+' | b';')))
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    const MODEL_INFER: &str = "/inference.GRPCInferenceService/ModelInfer";

    fn head(http_method: &str, path: &str, content_type: &str) -> Parts {
        let request = Request::builder()
            .method(http_method)
            .uri(path)
            .header(CONTENT_TYPE, content_type)
            .header(TE, "trailers");
        request.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn grpc_calls_pass() {
        for content_type in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc;x=y",
        ] {
            let admitted = admit(&head("POST", MODEL_INFER, content_type), false);
            assert_eq!(admitted, Ok(Method::ModelInfer), "{content_type}");
        }
    }

    #[test]
    fn what_is_no_grpc_call_is_refused() {
        for content_type in ["application/json", "application/grpc-web", ""] {
            let refusal = admit(&head("POST", MODEL_INFER, content_type), false);
            let expected = Refusal::Http(StatusCode::UNSUPPORTED_MEDIA_TYPE);
            assert_eq!(refusal, Err(expected), "{content_type}");
        }
        let mut without_te = head("POST", MODEL_INFER, "application/grpc");
        without_te.headers.remove(TE);
        let refusal = refused(Code::Unknown, "Missing or bad te header");
        assert_eq!(admit(&without_te, false), Err(refusal));
        let get = admit(&head("GET", MODEL_INFER, "application/grpc"), false);
        assert_eq!(get, Err(refused(Code::Unknown, "Bad method header")));
    }

    #[test]
    fn unknown_methods_are_unimplemented() {
        for path in ["/inference.GRPCInferenceService/Nope", "/nope.Nope/X", "/"] {
            let refusal = admit(&head("POST", path, "application/grpc"), false);
            assert_eq!(refusal, Err(refused(Code::Unimplemented, "")), "{path}");
        }
    }

    #[test]
    fn a_stopping_server_refuses_inference_only() {
        let refusal = admit(&head("POST", MODEL_INFER, "application/grpc"), true);
        let message = "GRPC server is shutting down and has stopped accepting new requests.";
        assert_eq!(refusal, Err(refused(Code::Unavailable, message)));
        let live = "/inference.GRPCInferenceService/ServerLive";
        let admitted = admit(&head("POST", live, "application/grpc"), true);
        assert_eq!(admitted, Ok(Method::ServerLive));
    }
}
