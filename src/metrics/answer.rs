//! What is answered to a request. Pure.

use hyper::{Method, Response, StatusCode, header};

/// Version 0.0.4 of Prometheus' text format.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// To `HEAD`, hyper answers the same without the body.
pub(super) fn answer(method: &Method, path: &str, exposition: &dyn Fn() -> String) -> Response<String> {
    let is_read = [Method::GET, Method::HEAD].contains(method);
    match path {
        "/metrics" | "/healthz" if !is_read => {
            let mut refused = response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n".to_owned());
            refused.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
            refused
        }
        "/metrics" => response(StatusCode::OK, EXPOSITION, exposition()),
        "/healthz" => response(StatusCode::OK, TEXT, "ok\n".to_owned()),
        _ => response(StatusCode::NOT_FOUND, TEXT, "there are /metrics and /healthz\n".to_owned()),
    }
}

fn response(status: StatusCode, kind: &'static str, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_paths_are_answered_to_who_reads() {
        let answer = |method: Method, path| {
            let response = answer(&method, path, &|| "gatewire_up 1\n".to_owned());
            (response.status().as_u16(), response.into_body())
        };
        for method in [Method::GET, Method::HEAD] {
            assert_eq!(answer(method.clone(), "/metrics"), (200, "gatewire_up 1\n".to_owned()));
            assert_eq!(answer(method.clone(), "/healthz").0, 200);
            for path in ["/", "", "*", "/metrics/", "/Metrics", "/metrics.txt"] {
                assert_eq!(answer(method.clone(), path).0, 404, "{path}");
            }
        }
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::CONNECT] {
            assert_eq!(answer(method.clone(), "/metrics").0, 405);
            assert_eq!(answer(method, "/nothing").0, 404);
        }
    }
}
