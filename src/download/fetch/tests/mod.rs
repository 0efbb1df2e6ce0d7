mod apache;
mod refused;
mod resumed;
mod server;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use server::{Asked, Proxy, Reply, Server, Then};
use tempfile::TempDir;

use super::*;
use crate::actions::HostPattern;
use crate::download::digest::Summing;
use crate::net::MachineNetwork;
use crate::net::tests::pki::{ALWAYS, Authority};

/// Long enough for what has to happen.
const LONG: Duration = Duration::from_secs(300);

/// Short enough to be waited for.
const SHORT: Duration = Duration::from_millis(200);

const SECRET: &str = "X-Amz-Signature=5ec2e7";

fn sum(bytes: &[u8]) -> [u8; 32] {
    let mut summing = Summing::new();
    summing.add(bytes);
    summing.sum().0
}

/// So many bytes that don't repeat.
fn content(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(17);
    (0..length).map(|_| random.u8(..)).collect()
}

/// What an honest server of `body` answers.
fn honest(body: &[u8], etag: &str, asked: &Asked) -> Reply {
    let is_same = asked.field("if-range").is_none_or(|validator| validator == etag);
    match asked.from() {
        Some(from) if is_same && from < body.len() => {
            let (last, all) = (body.len() - 1, body.len());
            let head = format!("206 Partial Content\r\nETag: {etag}\r\nContent-Range: bytes {from}-{last}/{all}");
            Reply::whole(&head, &body[from..])
        }
        Some(_) if is_same => Reply::whole(&format!("416 x\r\nContent-Range: bytes */{}", body.len()), b""),
        _ => Reply::whole(&format!("200 OK\r\nETag: {etag}"), body),
    }
}

/// A gateway that downloads one file.
struct Gateway {
    authority: Authority,
    directory: TempDir,
    url: String,
    sha256: [u8; 32],
    download: Download,
    proxy: Option<config::Proxy>,
    patience: Patience,
    time: Duration,
    /// What was told.
    told: Vec<String>,
}

impl Gateway {
    /// Which wants `body`.
    fn new(body: &[u8]) -> Gateway {
        let (authority, directory) = (Authority::new("ca"), tempfile::tempdir().unwrap());
        let ca_file = directory.path().join("ca.pem");
        fs::write(&ca_file, authority.pem()).unwrap();
        Gateway {
            authority,
            directory,
            url: String::new(),
            sha256: sum(body),
            download: Download {
                hosts: vec![HostPattern::new("localhost").unwrap()],
                max_size: 16 << 20,
                ca_file: Some(ca_file),
            },
            proxy: None,
            patience: Patience {
                silence: LONG,
                first_wait: Duration::from_millis(1),
                max_wait: Duration::from_millis(1),
            },
            time: LONG,
            told: Vec::new(),
        }
    }

    /// A server that it trusts. The file is on the first one.
    async fn server(&mut self, answer: impl FnMut(&Asked, usize) -> Reply + Send + 'static) -> Server {
        let server = Server::start(&self.authority.issue(&["localhost"], ALWAYS), answer).await;
        if self.url.is_empty() {
            self.url = format!("https://localhost:{}/a/model.bin?{SECRET}", server.port);
        }
        server
    }

    async fn fetch(&mut self) -> Result<PathBuf, DownloadError> {
        self.fetch_until(&mut |_| {}).await
    }

    async fn fetch_until(&mut self, progress: &mut dyn FnMut(Progress<'_>)) -> Result<PathBuf, DownloadError> {
        let wanted = Wanted { url: Url::parse(&self.url).unwrap(), sha256: self.sha256 };
        let order = Order { execution: "job:1", step: 0, wanted: &wanted, download: &self.download };
        let settings = Settings {
            directory: &self.directory.path().join("downloads"),
            proxy: self.proxy.as_ref(),
            connect_timeout: LONG,
            deadline: Instant::now() + self.time,
            patience: self.patience,
        };
        let told = &mut self.told;
        let mut tell = |news: Progress<'_>| {
            told.push(news.to_string());
            progress(news);
        };
        fetch(&MachineNetwork::new(&std::rc::Rc::default()), order, settings, &mut tell).await
    }

    /// Why it fails, of which nothing may be left and nothing secret be said.
    async fn failure(&mut self) -> String {
        let said = self.fetch().await.unwrap_err().to_string();
        assert!(!said.contains(SECRET) && !self.told.concat().contains(SECRET), "{said}");
        assert_eq!(self.files(), 0, "{said}");
        said
    }

    fn files(&self) -> usize {
        fs::read_dir(self.directory.path().join("downloads")).map_or(0, Iterator::count)
    }
}

#[tokio::test]
async fn a_file_arrives_whole_and_for_gatewire_alone() {
    let body = content(3 << 20);
    let mut gateway = Gateway::new(&body);
    let served = body.clone();
    let server = gateway.server(move |asked, _| honest(&served, "\"a\"", asked)).await;
    let path = gateway.fetch().await.unwrap();
    assert_eq!(fs::read(&path).unwrap(), body);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!path.to_str().unwrap().contains("model"), "{path:?}");
    let asked = &server.asked()[0];
    assert_eq!(asked.target, format!("/a/model.bin?{SECRET}"));
    assert_eq!(asked.field("host"), Some(format!("localhost:{}", server.port).as_str()));
    assert_eq!((asked.field("accept-encoding"), asked.field("range")), (Some("identity"), None));
    assert!(asked.field("authorization").is_none() && asked.field("cookie").is_none());
    let tenths: Vec<u64> =
        gateway.told.iter().map(|told| told.split_once('%').unwrap().0.parse::<u64>().unwrap() / 10).collect();
    assert!(tenths.len() >= 5 && tenths.windows(2).all(|pair| pair[0] < pair[1]), "{tenths:?}");
    assert_eq!(gateway.told.last().unwrap(), "100% of 3 MiB");

    // In another life it is still there.
    assert_eq!(gateway.fetch().await.unwrap(), path);
    assert_eq!(server.asked().len(), 1);
    super::super::clean(path.parent().unwrap(), None).unwrap();
    assert_eq!(gateway.files(), 0);
}

#[tokio::test]
async fn a_body_in_chunks_or_until_the_end_is_a_file_too() {
    let body = content(300_000);
    let chunks = [b"493e0\r\n", &body[..], b"\r\n0\r\n\r\n"].concat();
    for reply in [
        Reply::new("200 OK\r\nTransfer-Encoding: chunked", &chunks, Then::Close),
        Reply::new("200 OK", &body, Then::Close),
        // Without TLS's own end: the sum says that it is all.
        Reply::new("200 OK", &body, Then::Cut),
    ] {
        let mut gateway = Gateway::new(&body);
        let server = gateway.server(move |_, _| reply.clone()).await;
        assert_eq!(fs::read(gateway.fetch().await.unwrap()).unwrap(), body);
        assert_eq!(server.asked().len(), 1);
    }
    let mut gateway = Gateway::new(b"");
    gateway.server(|_, _| Reply::whole("200 OK", b"")).await;
    assert_eq!(fs::read(gateway.fetch().await.unwrap()).unwrap(), b"");
}

#[tokio::test]
async fn the_way_leads_through_the_proxy() {
    let body = content(1000);
    let mut gateway = Gateway::new(&body);
    let proxy = Proxy::start().await;
    gateway.proxy = Some(config::Proxy { host: "localhost".to_owned(), port: proxy.port, login: None });
    let served = body.clone();
    let server = gateway.server(move |asked, _| honest(&served, "\"a\"", asked)).await;
    assert_eq!(fs::read(gateway.fetch().await.unwrap()).unwrap(), body);
    let told = proxy.told();
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with(&format!("CONNECT localhost:{} HTTP/1.1\r\n", server.port)), "{told:?}");
    // Nothing else of the URL is the proxy's business.
    assert!(!told[0].contains("model") && !told[0].contains(SECRET), "{told:?}");
}

#[tokio::test]
async fn a_server_may_send_on_to_hosts_of_the_list() {
    let body = content(1000);
    let mut gateway = Gateway::new(&body);
    let served = body.clone();
    let other = Server::start(&gateway.authority.issue(&["localhost"], ALWAYS), move |asked, _| {
        honest(&served, "\"a\"", asked)
    })
    .await;
    let there = format!("https://localhost:{}/b?c#d", other.port);
    let server = gateway
        .server(move |_, number| match number {
            0 => Reply::whole("302 Found\r\nLocation: ../next", b"gone"),
            1 => Reply::whole("307 x\r\nLocation: ?again", b""),
            _ => Reply::whole(&format!("308 x\r\nLocation: {there}"), b""),
        })
        .await;
    assert_eq!(fs::read(gateway.fetch().await.unwrap()).unwrap(), body);
    let targets: Vec<String> = server.asked().iter().chain(&other.asked()).map(|asked| asked.target.clone()).collect();
    assert_eq!(
        targets,
        [format!("/a/model.bin?{SECRET}"), "/next".to_owned(), "/next?again".to_owned(), "/b?c".to_owned()]
    );
}
