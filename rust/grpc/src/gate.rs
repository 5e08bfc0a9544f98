// SPDX-License-Identifier: Apache-2.0
//! The one gate in front of every method: what does not pass here reaches no handler.

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, TE};
use hyper::http::request::Parts;
use tritongw_types::RestrictedApis;

use crate::method::Method;
use crate::status::{Code, Status};

/// What stands before the name of a key in the metadata of a call (P037).
pub const RESTRICTED_HEADER_PREFIX: &str = "triton-grpc-protocol-";

/// Why a request is not let in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is no gRPC call.
    Http(StatusCode),
    /// It is a call that gets this status.
    Call(Status),
}

/// Lets a call in and tells its method.
pub(crate) fn admit(
    head: &Parts,
    restricted: &RestrictedApis,
    is_stopping: bool,
) -> Result<Method, Refusal> {
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
    if let Some(key) = restricted.key(method.group()) {
        let mut presented = head.headers.get_all(key.header()).iter();
        if !presented.any(|value| key.opens_with(value.as_bytes())) {
            let header = key.header();
            let message = format!("This protocol is restricted, expecting header '{header}'");
            return Err(refused(Code::Unavailable, &message));
        }
    }
    if is_stopping && method.is_inference() {
        return Err(Refusal::Call(Status::shutting_down()));
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
    use hyper::header::HeaderValue;
    use tritongw_types::ApiGroup;

    use super::*;
    use crate::method::METHODS;

    fn open() -> RestrictedApis {
        RestrictedApis::default()
    }

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
            let admitted = admit(&head("POST", MODEL_INFER, content_type), &open(), false);
            assert_eq!(admitted, Ok(Method::ModelInfer), "{content_type}");
        }
    }

    #[test]
    fn what_is_no_grpc_call_is_refused() {
        for content_type in ["application/json", "application/grpc-web", ""] {
            let refusal = admit(&head("POST", MODEL_INFER, content_type), &open(), false);
            let expected = Refusal::Http(StatusCode::UNSUPPORTED_MEDIA_TYPE);
            assert_eq!(refusal, Err(expected), "{content_type}");
        }
        let mut without_te = head("POST", MODEL_INFER, "application/grpc");
        without_te.headers.remove(TE);
        let refusal = refused(Code::Unknown, "Missing or bad te header");
        assert_eq!(admit(&without_te, &open(), false), Err(refusal));
        let get = admit(
            &head("GET", MODEL_INFER, "application/grpc"),
            &open(),
            false,
        );
        assert_eq!(get, Err(refused(Code::Unknown, "Bad method header")));
    }

    #[test]
    fn unknown_methods_are_unimplemented() {
        for path in ["/inference.GRPCInferenceService/Nope", "/nope.Nope/X", "/"] {
            let refusal = admit(&head("POST", path, "application/grpc"), &open(), false);
            assert_eq!(refusal, Err(refused(Code::Unimplemented, "")), "{path}");
        }
    }

    #[test]
    fn a_stopping_server_refuses_inference_only() {
        let refusal = admit(
            &head("POST", MODEL_INFER, "application/grpc"),
            &open(),
            true,
        );
        let message = "GRPC server is shutting down and has stopped accepting new requests.";
        assert_eq!(refusal, Err(refused(Code::Unavailable, message)));
        let live = "/inference.GRPCInferenceService/ServerLive";
        let admitted = admit(&head("POST", live, "application/grpc"), &open(), true);
        assert_eq!(admitted, Ok(Method::ServerLive));
    }

    #[test]
    fn every_method_is_closed_with_its_group_and_no_other() {
        for group in ApiGroup::ALL {
            let text = format!("{}:k=secret", group.as_str());
            let restricted = RestrictedApis::parse([text.as_str()], RESTRICTED_HEADER_PREFIX);
            let restricted = restricted.expect("a restriction");
            for (service, name, method) in METHODS {
                let mut call = head("POST", &format!("/{service}/{name}"), "application/grpc");
                let message = "This protocol is restricted, expecting header \
                               'triton-grpc-protocol-k'";
                let expected = if method.group() == group {
                    Err(refused(Code::Unavailable, message))
                } else {
                    Ok(method)
                };
                assert_eq!(admit(&call, &restricted, false), expected, "{name}");
                for (value, opens) in [("secre", false), ("secrets", false), ("secret", true)] {
                    let value = HeaderValue::from_static(value);
                    call.headers.insert("triton-grpc-protocol-k", value);
                    let admitted = admit(&call, &restricted, false).is_ok();
                    assert_eq!(admitted, opens || method.group() != group, "{name}");
                }
            }
        }
    }
}
