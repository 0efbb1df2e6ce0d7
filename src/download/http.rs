//! One question and its answer by HTTP/1.1, over a connection that is there.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{self, Connection};
use hyper::{Request, header};
use memchr::memmem;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::fault::DownloadFault;
use super::head::Head;
use super::resume::{Ask, Known};
use crate::actions::Url;
use crate::http::Adapter;
use crate::net::is_close;
use crate::printable::printable;
use crate::time;

/// The most of an answer that is in memory, its head included, in bytes.
const MAX_BUFFER: usize = 64 * 1024;

/// How much of what a server says about a failure is looked at, in bytes, and for how long.
const MAX_EXPLANATION: usize = 4 * 1024;
const EXPLANATION_TIME: Duration = Duration::from_secs(5);

/// An answer whose body hasn't been read yet.
pub(super) struct Answer<S: AsyncRead + AsyncWrite + Unpin> {
    pub(super) head: Head,
    body: Incoming,
    wire: Wire<S>,
    silence: Duration,
}

/// Asks for `url`. `silence` is how long to wait for the head, and later for each piece of the body.
pub(super) async fn ask<S>(
    stream: S,
    url: &Url,
    ask: Ask,
    known: &Known,
    silence: Duration,
) -> Result<Answer<S>, DownloadFault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = request(url, ask, known).map_err(|error| DownloadFault::NotHttp(error.to_string()))?;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_BUFFER);
    let (mut sender, connection) = builder.handshake(Adapter::new(stream)).await.map_err(|error| fault(&error))?;
    let mut wire = Wire { connection, is_over: false };
    let response = timeout(silence, wire.beside(sender.send_request(request))).await;
    let response = response.map_err(|_| DownloadFault::Silent(silence))?.map_err(|error| fault(&error))?;
    let (parts, body) = response.into_parts();
    let head = Head::of(parts.status.as_u16(), &parts.headers, body.size_hint().exact(), time::wall());
    Ok(Answer { head, body, wire, silence })
}

fn request(url: &Url, ask: Ask, known: &Known) -> hyper::http::Result<Request<String>> {
    let mut request = Request::get(url.target().expose().as_str())
        .header(header::HOST, url.authority())
        .header(header::USER_AGENT, concat!("gatewire/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT, "*/*")
        .header(header::ACCEPT_ENCODING, "identity")
        .header(header::CONNECTION, "close");
    if let Ask::From(length) = ask {
        request = request.header(header::RANGE, format!("bytes={length}-"));
        if let Some(validator) = &known.validator {
            request = request.header(header::IF_RANGE, validator.as_str());
        }
    }
    request.body(String::new())
}

impl<S: AsyncRead + AsyncWrite + Unpin> Answer<S> {
    /// The next piece of the body, as it comes; `None`: that was all. May be dropped at any point.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, DownloadFault> {
        loop {
            let body = &mut self.body;
            let frame = self.wire.beside(poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)));
            match timeout(self.silence, frame).await.map_err(|_| DownloadFault::Silent(self.silence))? {
                None => return Ok(None),
                Some(Err(error)) => return Err(fault(&error)),
                // What isn't data are trailers.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) if !bytes.is_empty() => return Ok(Some(bytes)),
                    _ => {}
                },
            }
        }
    }

    /// The name by which S3 calls what is wrong: its answer is XML with a `<Code>`, and may have more in it that is secret.
    pub(super) async fn code(mut self) -> Option<String> {
        let mut said = Vec::new();
        let reading = async {
            while said.len() < MAX_EXPLANATION
                && let Ok(Some(bytes)) = self.next().await
            {
                said.extend_from_slice(&bytes);
            }
        };
        // What has come by then has to do.
        let _ = timeout(EXPLANATION_TIME, reading).await;
        said.truncate(MAX_EXPLANATION);
        code_in(&said)
    }
}

fn code_in(said: &[u8]) -> Option<String> {
    let begin = memmem::find(said, b"<Code>")? + b"<Code>".len();
    let end = begin + memmem::find(&said[begin..], b"</Code>")?;
    let code = std::str::from_utf8(&said[begin..end]).ok()?;
    let is_code = (1..=64).contains(&code.len()) && code.bytes().all(|letter| letter.is_ascii_alphanumeric());
    let is_expired = memmem::find(said, b"Request has expired").is_some();
    is_code.then(|| if is_expired { format!("{code}: Request has expired") } else { code.to_owned() })
}

/// What moves the bytes: it has to be polled beside whatever waits for them.
struct Wire<S: AsyncRead + AsyncWrite + Unpin> {
    connection: Connection<Adapter<S>, String>,
    is_over: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    async fn beside<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|cx| {
            // How it ended is told to who waits for the answer, too.
            if !self.is_over && Pin::new(&mut self.connection).poll(cx).is_ready() {
                self.is_over = true;
            }
            work.as_mut().poll(cx)
        })
        .await
    }
}

/// What an error of hyper's comes to.
fn fault(error: &hyper::Error) -> DownloadFault {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if error.is_parse() {
        return DownloadFault::NotHttp(printable(&error.to_string()).into_owned());
    }
    let closed = cause.downcast_ref::<io::Error>().is_some_and(|error| is_close(error.kind()));
    match closed || error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        true => DownloadFault::Lost("the other end closed it".to_owned()),
        false => DownloadFault::Lost(printable(&cause.to_string()).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_a_server_says_only_a_plain_code_is_taken() {
        let code = |text: &str| code_in(text.as_bytes());
        let s3 = "<?xml version=\"1.0\"?>\n<Error><Code>AccessDenied</Code><Message>Request has expired</Message><Token>s3cret</Token>";
        assert_eq!(code(s3).unwrap(), "AccessDenied: Request has expired");
        assert_eq!(code("<Error><Code>NoSuchKey</Code><Key>k</Key></Error>").unwrap(), "NoSuchKey");
        for text in [
            "",
            "<Code>",
            "<Code></Code>",
            "</Code><Code>x",
            "<Code>a b</Code>",
            "<Code>\u{1b}[2J</Code>",
            "<html>403</html>",
        ] {
            assert_eq!(code(text), None, "{text}");
        }
        assert_eq!(code(&format!("<Code>{}</Code>", "x".repeat(65))), None);
    }
}
