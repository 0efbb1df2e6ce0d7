//! `[metrics]`: `GET /metrics` for Prometheus and `GET /healthz`, at a TCP port or a Unix socket.
//!
//! Each connection is good for one request and 10 s, there are few at a time, and what they are answered is made anew only so often:
//! whoever can reach it costs little.

mod answer;
mod kept;
mod tcp;

use std::convert::Infallible;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;

use crate::http::Adapter;
use crate::socket::{self, For, Listener, Stream};
use answer::answer;
pub(crate) use kept::Kept;
pub(crate) use tcp::{probe, serve_tcp};

/// How long a request may take, from the connection to the last byte of its answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most of a request that is read, in bytes: its head.
const MAX_HEAD: usize = 8 * 1024;

/// The most headers that a request may have.
const MAX_HEADERS: usize = 64;

/// What the metrics are at the moment.
pub(crate) type Exposition = Rc<dyn Fn() -> String>;

/// Serves clients of the Unix socket at `path`, for ever. Dropping this future disconnects them.
pub(crate) async fn serve_unix(path: PathBuf, listener: Rc<Listener>, exposition: Exposition) {
    log::info!(GATEWIRE_EVENT = "metrics"; "the metrics are at unix:{}", path.display());
    let handle = |stream: Stream| {
        let exposition = Rc::clone(&exposition);
        async move {
            // One that can't be registered has gone.
            if let Ok(stream) = stream.into_std().and_then(UnixStream::from_std) {
                serve_one(stream, &exposition).await;
            }
        }
    };
    socket::serve((listener, For::Status), Rc::default(), handle).await;
}

/// Answers one request, or gives it up.
async fn serve_one(stream: impl AsyncRead + AsyncWrite + Unpin, exposition: &Exposition) {
    let service = service_fn(|request: Request<Incoming>| {
        let answer = answer(request.method(), request.uri().path(), &**exposition);
        async move { Ok::<_, Infallible>(answer) }
    });
    let mut builder = http1::Builder::new();
    // The time of the answer is of no use, and the clock is asked elsewhere.
    builder.keep_alive(false).half_close(true).auto_date_header(false).header_read_timeout(None::<Duration>);
    builder.max_buf_size(MAX_HEAD).max_headers(MAX_HEADERS);
    match tokio::time::timeout(PATIENCE, builder.serve_connection(Adapter::new(stream), service)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => log::debug!("a client of the metrics: {error}"),
        Err(_) => log::debug!("a client of the metrics takes more than {} s", PATIENCE.as_secs()),
    }
}

#[cfg(test)]
mod tests;
