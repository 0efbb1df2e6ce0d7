//! A forward that serves its socket, and a client of it.

use super::*;

const SPILL_AFTER: Duration = Duration::from_millis(300);

/// A forward that is served in a directory of its own.
pub(super) struct Served {
    pub(super) directory: tempfile::TempDir,
    pub(super) store: Rc<Store>,
    pub(super) path: PathBuf,
    pub(super) inbox: Rc<Inbox>,
    pub(super) forward: Rc<Forward>,
    pub(super) task: JoinHandle<()>,
    pub(super) keeper: JoinHandle<()>,
    pub(super) sent: Cell<u64>,
}

impl Served {
    pub(super) async fn start() -> Served {
        Served::start_in(tempfile::tempdir().unwrap(), Ack::Written).await
    }

    pub(super) async fn start_in(directory: tempfile::TempDir, ack: Ack) -> Served {
        let path = directory.path().join("a.sock");
        let config = config::Forward {
            name: "messages".into(),
            filters: vec![TopicFilter::new("#").unwrap()],
            allow: None,
            qos: Qos::AtLeastOnce,
            socket: SocketFile { path: path.clone(), mode: 0o660, group: None },
            format: Format::Json,
            ack,
            keep: config::Keep { messages: 10_000, bytes: 16 << 20, when_full: WhenFull::DropOldest },
        };
        let listener = Rc::new(Listener::bind(&config.socket).unwrap());
        let acks = Rc::default();
        let store =
            Store::open(&directory.path().join("gatewire.db"), &["messages"], &crate::store::Thread).await.unwrap();
        let forward = Forward::new(config, SPILL_AFTER, Rc::clone(&acks), store.place("messages").await, Rc::default());
        let task = tokio::task::spawn_local(Rc::clone(&forward).serve(listener));
        let keeper = tokio::task::spawn_local(Rc::clone(&forward).keep(Rc::clone(&store)));
        let inbox = Inbox::new(vec![Rc::clone(&forward) as Rc<dyn Recipient>], acks, true, 0);
        Served { directory, path, inbox, forward, task, keeper, store, sent: Cell::new(0) }
    }

    /// Ends as a killed daemon would, and starts again.
    pub(super) async fn again(self, ack: Ack) -> Served {
        self.task.abort();
        self.keeper.abort();
        self.until(|status| status.readers == 0).await;
        self.store.close().await;
        let sent = self.sent.get();
        let again = Served::start_in(self.directory, ack).await;
        again.sent.set(sent);
        again
    }

    pub(super) fn forward(&self) -> &Forward {
        &self.forward
    }

    /// Delivers a message with its number in front of `padding` bytes.
    pub(super) fn deliver(&self, padding: usize) -> u64 {
        let number = self.sent.get();
        self.sent.set(number + 1);
        let message = Inbound {
            topic: Topic::received("test/topic"),
            payload: Bytes::from(format!("{number} {}", "x".repeat(padding))),
            qos: Qos::AtLeastOnce,
            retain: false,
            duplicate: false,
            received_at: jiff::Timestamp::now(),
            properties: None,
        };
        self.inbox.deliver(&message, Some(AckToken::new(number)));
        number
    }

    /// Waits until the numbers of so many messages have come back as done.
    pub(super) async fn done(&self, count: usize) -> Vec<AckToken> {
        let mut done = Vec::new();
        while done.len() < count {
            self.inbox.acks().ready().await;
            self.inbox.acks().drain(&mut done);
        }
        done
    }

    /// Waits for other tasks to bring something about.
    pub(super) async fn until(&self, condition: impl Fn(&ForwardStatus) -> bool) {
        while !condition(&self.forward().status()) {
            tokio::task::yield_now().await;
        }
    }
}

pub(super) struct Client(pub(super) BufReader<UnixStream>);

impl Client {
    pub(super) async fn connect(path: &Path) -> Client {
        Client(BufReader::new(UnixStream::connect(path).await.unwrap()))
    }

    pub(super) async fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).await.unwrap();
    }

    pub(super) async fn json(&mut self) -> serde_json::Value {
        let mut line = String::new();
        assert_ne!(self.0.read_line(&mut line).await.unwrap(), 0, "the daemon has disconnected us");
        serde_json::from_str(&line).unwrap()
    }

    /// The number of the next message.
    pub(super) async fn number(&mut self) -> u64 {
        let line = self.json().await;
        line["payload"].as_str().unwrap().split_once(' ').unwrap().0.parse().unwrap()
    }
}
