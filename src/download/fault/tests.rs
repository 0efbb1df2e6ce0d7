use std::net::SocketAddr;

use super::*;
use crate::net::{Attempt, Endpoint, Route};

fn endpoint() -> Endpoint {
    Endpoint { host: "b.s3.amazonaws.com".into(), port: 443 }
}

fn status(status: u16, code: Option<&str>) -> DownloadFault {
    DownloadFault::Status { status, code: code.map(str::to_owned), retry_after: None }
}

fn connect(error: ConnectError) -> DownloadFault {
    DownloadFault::Connect(Box::new(error))
}

fn tls(fault: TlsFault) -> DownloadFault {
    let address = SocketAddr::from(([192, 0, 2, 1], 443));
    connect(ConnectError::Tls { route: Route { endpoint: endpoint(), address, proxy: None }, fault })
}

fn proxy(fault: ProxyFault) -> DownloadFault {
    let proxy = Endpoint { host: "proxy".into(), port: 3128 };
    connect(ConnectError::Proxy { proxy, endpoint: endpoint(), fault, took: Duration::ZERO })
}

fn dns(fault: DnsFault) -> DownloadFault {
    connect(ConnectError::Dns { endpoint: endpoint(), fault, took: Duration::ZERO })
}

#[test]
fn what_may_pass_is_tried_again_and_what_stays_is_not() {
    let attempts = vec![Attempt { address: SocketAddr::from(([192, 0, 2, 1], 443)), failure: None }];
    let refused = |status| ProxyFault::Refused { status, reason: String::new() };
    for fault in [
        status(408, None),
        status(429, None),
        status(500, None),
        status(503, Some("SlowDown")),
        DownloadFault::Silent(Duration::ZERO),
        DownloadFault::Lost(String::new()),
        DownloadFault::NoThread(String::new()),
        dns(DnsFault::Temporary),
        dns(DnsFault::Timeout),
        connect(ConnectError::Tcp { endpoint: endpoint(), attempts, took: Duration::ZERO }),
        tls(TlsFault::Closed { answered: false }),
        tls(TlsFault::Timeout { waited: Duration::ZERO }),
        proxy(ProxyFault::Timeout),
        proxy(refused(502)),
    ] {
        assert!(fault.is_temporary(100), "{fault}");
    }
    for fault in [
        status(400, None),
        status(403, None),
        status(404, None),
        status(416, None),
        DownloadFault::NotHttp(String::new()),
        DownloadFault::TooManyRedirects(5),
        DownloadFault::TooLarge { size: None, max: 1 },
        DownloadFault::Disk { path: "/x".into(), detail: "x".into() },
        connect(ConnectError::InvalidHost("x".into())),
        tls(TlsFault::UnknownIssuer { certificate: None }),
        tls(TlsFault::NotTls(String::new())),
        proxy(ProxyFault::Login { sent: true, schemes: Vec::new() }),
        proxy(refused(403)),
    ] {
        assert!(!fault.is_temporary(1), "{fault}");
    }
    // A network that has just come up may not know the name yet.
    assert!(dns(DnsFault::NotFound).is_temporary(2) && !dns(DnsFault::NotFound).is_temporary(3));
    assert!(proxy(ProxyFault::Dns(DnsFault::NotFound)).is_temporary(2));
}

#[test]
fn each_failure_is_said_in_words_for_a_person() {
    for (fault, expected) in [
        (
            status(403, Some("RequestTimeTooSkewed")),
            "the server answered 403 (RequestTimeTooSkewed). This machine's clock or that of who made the URL is wrong",
        ),
        (status(503, None), "the server answered 503. The server is overloaded or broken for now"),
        (
            dns(DnsFault::NotFound),
            "looking up b.s3.amazonaws.com in DNS: there is no such name. Check the name, and `getent hosts b.s3.amazonaws.com`",
        ),
        (
            tls(TlsFault::UnknownIssuer { certificate: None }),
            "TLS with b.s3.amazonaws.com:443: the server's certificate isn't from a CA that this machine trusts. For a CA of your \
             own set download.ca_file of the action; else `apt-get install ca-certificates`",
        ),
        (
            proxy(ProxyFault::Refused { status: 403, reason: "Filtered".to_owned() }),
            "reaching b.s3.amazonaws.com:443 through the proxy proxy:3128 of connection.proxy: it answered 403 \"Filtered\". Ask the \
             administrator of the proxy to let it through",
        ),
        (
            DownloadFault::TooLarge { size: Some(3 << 20), max: 2 << 20 },
            "it has 3 MiB, more than download.max_size = 2 MiB",
        ),
        (
            DownloadFault::NoRoom { directory: "/d".into(), needed: 200 << 20, free: 100 << 20, reserve: 64 << 20 },
            "there isn't room for it in /d: 200 MiB are needed and 100 MiB free, and 64 MiB are left for everything else. Free some \
             (`df -h`, `journalctl --vacuum-size=50M`), or move the state directory",
        ),
        (
            DownloadFault::TimedOut {
                received: 1536,
                total: Some(1 << 20),
                last: Some(Box::new(DownloadFault::Lost("x".to_owned()))),
            },
            "it wasn't done in time: 1.5 KiB of 1 MiB came; at last: the connection broke (x). Raise the action's timeout if this \
             connection needs longer",
        ),
    ] {
        assert_eq!(fault.to_string(), expected);
    }
    let shown = [0, 1023, 1024, 1535, (1 << 20) - 1, u64::MAX].map(|bytes| Bytes(bytes).to_string());
    assert_eq!(shown, ["0 B", "1023 B", "1 KiB", "1.4 KiB", "1023.9 KiB", "17179869183.9 GiB"]);
}
