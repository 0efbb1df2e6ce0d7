//! A reader that sends anything while messages are on their way to it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::LazyLock;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use super::Reader;
use crate::config;
use crate::forward::{Forward, Recipient as _};
use crate::message::{Inbound, Qos, Topic, TopicFilter};
use crate::socket::Stream;

/// For the registration of sockets alone.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_io().build().expect("a runtime can be made"));

/// Reads `input` as what a client of a forward socket sends, in pieces whose size its first byte says; between them a message
/// comes for it. Where that byte is odd the forward waits for acknowledgements.
pub fn forward_lines(input: &[u8]) {
    let Some((&size, input)) = input.split_first() else { return };
    let _entered = RUNTIME.enter();
    let (mut client, server) = UnixStream::pair().expect("a pair of sockets can be made");
    client.set_nonblocking(true).expect("a socket can be non-blocking");
    let stream = Stream::new(server).expect("a socket can be registered");
    let ack = if size % 2 == 0 { config::Ack::Written } else { config::Ack::Reader };
    let forward = forward(ack);
    let mut reader = Reader::new(Rc::clone(&forward), stream);
    let mut received = Vec::new();
    for (id, piece) in (1..).zip(input.chunks(usize::from(size) + 1)) {
        client.write_all(piece).expect("the socket takes what is read at once");
        reader.read().expect("the client is there");
        forward.deliver(id, &message(), None);
        while reader.answer() {
            write(&mut reader, &mut client, &mut received);
        }
        write(&mut reader, &mut client, &mut received);
    }
    let text = String::from_utf8(received).expect("lines are UTF-8");
    assert!(text.is_empty() || text.ends_with('\n'), "no line is cut by an answer: {text}");
    for line in text.lines() {
        let json: Value = serde_json::from_str(line).expect("a line is JSON");
        assert!(json["topic"] == "a/b" || json["error"] == "bad_line", "{line}");
    }
}

/// Writes all there is, and reads it as the client.
fn write(reader: &mut Reader, client: &mut UnixStream, received: &mut Vec<u8>) {
    reader.write().expect("the client is there");
    if let Err(error) = client.read_to_end(received) {
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }
}

fn forward(ack: config::Ack) -> Rc<Forward> {
    let config = config::Forward {
        name: "f".to_owned(),
        filters: TopicFilter::new("#").into_iter().collect(),
        allow: None,
        qos: Qos::AtLeastOnce,
        socket: config::SocketFile { path: "f.sock".into(), mode: 0o660, group: None },
        format: config::Format::Json,
        ack,
        keep: config::Keep { messages: 10, bytes: 1000, when_full: config::WhenFull::DropOldest },
    };
    Forward::in_memory(config, Rc::default())
}

fn message() -> Inbound {
    Inbound {
        topic: Topic::received("a/b"),
        payload: Bytes::from_static(b"\x00\"x"),
        qos: Qos::AtLeastOnce,
        retain: false,
        duplicate: false,
        received_at: Timestamp::UNIX_EPOCH,
        properties: None,
    }
}
