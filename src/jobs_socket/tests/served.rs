//! The socket with clients, in a file system.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::Command;
use std::rc::Rc;

use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::{identity, offer};
use crate::config::SocketFile;
use crate::jobs_socket::{JobsSocket, MAX_LINE, Offer, Said};
use crate::services::jobs::Status;
use crate::socket::{Listener, connect_unread};

/// Serves a socket in a directory of its own.
fn listen(socket: &Rc<JobsSocket>) -> (TempDir, PathBuf, JoinHandle<()>) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("jobs.sock");
    let listener = Rc::new(Listener::bind(&SocketFile { path: path.clone(), mode: 0o660, group: None }).unwrap());
    (directory, path, tokio::task::spawn_local(Rc::clone(socket).serve(listener)))
}

/// Serves a socket, and has `clients` do something with it in a thread of their own.
async fn serve(
    socket: &Rc<JobsSocket>,
    clients: impl FnOnce(PathBuf) + Send + 'static,
    ours: impl Future<Output = ()>,
) {
    let (_directory, path, server) = listen(socket);
    let mut clients = tokio::task::spawn_blocking(move || clients(path));
    let mut ours = pin!(ours);
    tokio::select! {
        biased;
        () = &mut ours => clients.await.unwrap(),
        // If they fail, what we wait for may never come.
        ended = &mut clients => {
            ended.unwrap();
            ours.await;
        }
    }
    server.abort();
}

struct Client(BufReader<UnixStream>);

impl Client {
    fn connect(path: &Path) -> Client {
        Client(BufReader::new(UnixStream::connect(path).unwrap()))
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn send(&mut self, line: &str) {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn is_at_its_end(&mut self) -> bool {
        self.0.read(&mut [0]).unwrap() == 0
    }
}

#[tokio::test(flavor = "local")]
async fn a_reader_does_a_job_and_what_it_says_last_counts_though_it_has_gone() {
    let socket: Rc<JobsSocket> = Rc::default();
    socket.offer(offer("j", 1));
    let clients = |path: PathBuf| {
        let mut first = Client::connect(&path);
        assert_eq!(first.line()["execution"], 1);
        first.send("{\"job\":\"j\",\"progress\":{\"step\":\"1\"}}");
        first.send("nonsense");
        assert_eq!(first.line()["error"], "bad_line");
        drop(first);
        let mut second = Client::connect(&path);
        assert_eq!(second.line()["job"], "j", "a reader that goes leaves it to the next");
        second.send("{\"job\":\"j\",\"result\":\"succeeded\"}");
    };
    serve(&socket, clients, async {
        assert!(matches!(socket.said().await, Said::Progress(of, _) if of == identity("j", 1)));
        assert!(matches!(socket.said().await, Said::Ended(of, _) if of == identity("j", 1)));
    })
    .await;
}

/// The program of docs/sockets.md.
#[tokio::test(flavor = "local")]
async fn a_program_in_python_does_jobs() {
    let docs = include_str!("../../../docs/sockets.md");
    let (_, jobs) = docs.split_once("\n## Jobs\n").unwrap();
    let (_, program) = jobs.split_once("```python\n").unwrap();
    let (program, _) = program.split_once("```").unwrap();
    let socket: Rc<JobsSocket> = Rc::default();
    let offered = |job: &str, document: &str| Offer { document: document.to_owned(), ..offer(job, 1) };
    let clients = move |path: PathBuf| {
        assert!(program.contains("/run/gatewire/jobs.sock"));
        let program = program.replace("/run/gatewire/jobs.sock", path.to_str().unwrap());
        let output = Command::new("timeout").args(["60", "python3", "-c", &program]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        let expected = "gatewire says {\"job\":\"a\",\"cancelled\":true}\n";
        assert!(said.starts_with(expected), "{said}");
    };
    let (_directory, path, server) = listen(&socket);
    let mut client = tokio::task::spawn_blocking(move || clients(path));
    let ours = async {
        socket.offer(offered("j", "{\"operation\": \"calibrate\",\n\"probe\": 3}"));
        // If they come at once, the result is all that matters.
        let mut said = socket.said().await;
        if let Said::Progress(_, details) = &said {
            assert_eq!(details.get("step"), Some("probe 3"));
            said = socket.said().await;
        }
        let Said::Ended(_, outcome) = said else { panic!("no result") };
        assert_eq!((outcome.status, outcome.details.get("offset")), (Status::Succeeded, Some("0.25")));
        socket.offer(offered("k", "[\"explode\"]"));
        let Said::Ended(_, outcome) = socket.said().await else { panic!("no result") };
        assert_eq!(outcome.status, Status::Rejected);
        // Both are in its socket before it reads one.
        socket.offer(offered("a", "{}"));
        socket.cancel(&identity("a", 1));
        socket.offer(offered("b", "null"));
        assert!(matches!(socket.said().await, Said::Ended(of, _) if of == identity("b", 1)));
    };
    tokio::select! {
        biased;
        () = ours => {}
        ended = &mut client => panic!("the program has ended: {ended:?}"),
    }
    server.abort();
    client.await.unwrap();
}

#[tokio::test(flavor = "local")]
async fn who_cannot_answer_has_no_job() {
    let socket: Rc<JobsSocket> = Rc::default();
    socket.offer(offer("j", 1));
    let clients = |path: PathBuf| {
        let mut observer = connect_unread(&path).unwrap();
        let mut half = Client::connect(&path);
        assert_eq!(half.line()["job"], "j");
        half.0.get_mut().write_all(b"{\"job\":\"k\",\"result\":\"failed\"}").unwrap();
        half.0.get_ref().shutdown(Shutdown::Write).unwrap();
        let answer = half.line();
        assert_eq!((&answer["job"], &answer["error"]), (&"k".into(), &"not_yours".into()));
        assert!(half.is_at_its_end());
        let mut whole = Client::connect(&path);
        assert_eq!(whole.line()["job"], "j");
        whole.send("{\"job\":\"j\",\"result\":\"rejected\",\"details\":{}}");
        observer.write_all(b"{}\n").unwrap();
        let mut answer = [0; 100];
        let count = observer.read(&mut answer).unwrap();
        // By this `gatewire status` knows that it has asked another socket than that of the status.
        assert!(answer[..count].starts_with(b"{\"error\":\"bad_line\""));
    };
    serve(&socket, clients, async {
        assert!(matches!(socket.said().await, Said::Ended(..)));
    })
    .await;
}

#[tokio::test(flavor = "local")]
async fn only_who_has_the_job_may_send_long_lines() {
    let socket: Rc<JobsSocket> = Rc::default();
    socket.offer(offer("j", 1));
    let clients = |path: PathBuf| {
        let mut first = Client::connect(&path);
        first.line();
        let mut second = Client::connect(&path);
        second.send(&"x".repeat(20 * 1024));
        assert!(second.line()["detail"].as_str().unwrap().contains("4 KiB"));
        let fill = "x".repeat(MAX_LINE - 100);
        second.send("{}");
        assert_eq!(second.line()["detail"], "`job` is missing");
        first.send(&format!("{{\"job\":\"j\",\"result\":\"succeeded\",\"details\":{{\"a\":\"{fill}\"}}}}"));
        first.send(&"x".repeat(2 * MAX_LINE));
        assert!(!first.line()["detail"].as_str().unwrap().contains("x"));
    };
    serve(&socket, clients, async {
        let Said::Ended(_, outcome) = socket.said().await else { panic!("no result") };
        assert_eq!(outcome.details.get("a").map(str::len), Some(1024));
    })
    .await;
}

#[tokio::test(flavor = "local")]
async fn a_reader_that_reads_nothing_keeps_nothing_from_the_next() {
    let socket: Rc<JobsSocket> = Rc::default();
    // More than a socket's buffers hold, and more than may wait.
    let large = Offer { document: format!("\"{}\"", "x".repeat(4 << 20)), ..offer("j", 1) };
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let clients = move |path: PathBuf| {
        let silent = Client::connect(&path);
        wait.recv().unwrap();
        let mut next = Client::connect(&path);
        assert_eq!(next.line()["job"], "k");
        next.send("{\"job\":\"k\",\"result\":\"succeeded\"}");
        drop(silent);
    };
    serve(&socket, clients, async {
        while socket.readers() == 0 {
            tokio::task::yield_now().await;
        }
        socket.offer(large);
        while socket.readers() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(socket.cancel(&identity("j", 1)));
        socket.offer(offer("k", 1));
        done.send(()).unwrap();
        assert!(matches!(socket.said().await, Said::Ended(of, _) if of == identity("k", 1)));
    })
    .await;
}
