use bytes::Bytes;

use jiff::Timestamp;

use super::*;
use crate::config::{Ack, Format, Keep, SocketFile, WhenFull};
use crate::forward::Forward;
use crate::message::{Qos, Topic, TopicFilter};

fn forward(filter: &str, acks: &Rc<Acks>) -> Rc<Forward> {
    let config = crate::config::Forward {
        name: filter.to_owned(),
        filters: vec![TopicFilter::new(filter).unwrap()],
        allow: None,
        qos: Qos::AtLeastOnce,
        socket: SocketFile { path: "unused".into(), mode: 0o660, group: None },
        format: Format::Json,
        ack: Ack::Written,
        keep: Keep { messages: 10, bytes: 10_000, when_full: WhenFull::DropOldest },
    };
    Forward::in_memory(config, Rc::clone(acks))
}

struct Bench {
    inbox: Rc<Inbox>,
    forwards: Vec<Rc<Forward>>,
}

impl std::ops::Deref for Bench {
    type Target = Inbox;

    fn deref(&self) -> &Inbox {
        &self.inbox
    }
}

fn inbox(filters: &[&str]) -> Bench {
    let acks = Rc::default();
    let forwards: Vec<_> = filters.iter().map(|filter| forward(filter, &acks)).collect();
    let recipients = forwards.iter().map(|forward| Rc::clone(forward) as Rc<dyn Recipient>);
    Bench { inbox: Inbox::new(recipients.collect(), acks, true, 0), forwards }
}

fn message(topic: &str) -> Inbound {
    Inbound {
        topic: Topic::received(topic),
        payload: Bytes::from_static(b"x"),
        qos: Qos::AtLeastOnce,
        retain: false,
        duplicate: false,
        received_at: Timestamp::UNIX_EPOCH,
        properties: None,
    }
}

fn done(inbox: &Bench) -> Vec<AckToken> {
    inbox.forwards.iter().for_each(|forward| forward.store_at_once());
    let mut done = Vec::new();
    inbox.acks().drain(&mut done);
    done
}

#[tokio::test]
async fn what_no_forward_wants_is_acknowledged_and_counted() {
    let inbox = inbox(&["a"]);
    inbox.deliver(&message("b"), Some(AckToken::new(7)));
    inbox.acks().ready().await;
    assert_eq!(done(&inbox), [AckToken::new(7)]);
    let status = inbox.status();
    assert_eq!((status.received, status.unmatched, status.unacknowledged), (1, 1, 0));
}

#[tokio::test]
async fn a_message_is_acknowledged_once_however_many_forwards_want_it() {
    let inbox = inbox(&["a", "+", "#", "b"]);
    for n in 0..3 {
        inbox.deliver(&message("a"), Some(AckToken::new(n)));
    }
    inbox.deliver(&message("a"), None);
    assert_eq!(done(&inbox), [0, 1, 2].map(AckToken::new));
    assert!(!inbox.acks.pending().1);
    assert_eq!(inbox.forwards.iter().map(|forward| forward.waiting().0).collect::<Vec<_>>(), [4, 4, 4, 0]);
}

#[test]
fn a_message_is_acknowledged_only_when_the_last_forward_is_done() {
    let acks = Acks::default();
    let token = AckToken::new(1);
    acks.owe(token, 2);
    acks.done(token);
    assert_eq!((acks.pending().0, acks.owed()), (0, 1));
    acks.done(token);
    assert_eq!((acks.pending().0, acks.owed()), (1, 0));
}

#[tokio::test]
async fn the_link_is_woken_once_for_many_and_not_for_what_it_has_had() {
    let acks = Acks::default();
    for n in 0..3 {
        acks.done(AckToken::new(n));
    }
    acks.ready().await;
    acks.drain(&mut Vec::new());
    let waiting = acks.ready();
    tokio::pin!(waiting);
    assert!(futures_poll(waiting.as_mut()).await.is_pending(), "nothing is left");
    acks.done(AckToken::new(3));
    waiting.await;
}

/// Polls once.
async fn futures_poll<F: Future>(mut future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
    std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx))).await
}
