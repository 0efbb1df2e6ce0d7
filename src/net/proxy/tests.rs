use proptest::prelude::*;

use super::*;
use crate::secret::Secret;

fn verdict(answer: &str) -> Option<Result<(), ProxyFault>> {
    judge(answer.as_bytes(), false)
}

#[test]
fn the_request_names_the_server_and_carries_the_login() {
    let config = |login| config::Proxy { host: "proxy".to_owned(), port: 3128, login };
    let server = |host: &str| Endpoint { host: host.into(), port: 8883 };
    let plain = Proxy::new(&config(None)).request(&server("a.iot.example"));
    let agent = format!("User-Agent: gatewire/{}\r\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(plain, format!("CONNECT a.iot.example:8883 HTTP/1.1\r\nHost: a.iot.example:8883\r\n{agent}\r\n"));
    assert!(Proxy::new(&config(None)).request(&server("2001:db8::1")).starts_with("CONNECT [2001:db8::1]:8883 HTTP"));
    let login =
        config::Login { user: Secret::new("Aladdin".to_owned()), password: Secret::new("open sesame".to_owned()) };
    let proxy = Proxy::new(&config(Some(login)));
    // The example of RFC 7617.
    let field = "\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n";
    assert!(proxy.request(&server("a")).ends_with(field));
    assert!(!format!("{proxy:?}").contains("sesame"));
    // Something that repeats what it is sent.
    for answer in [
        "echo: Basic QWxhZGRpbjpvcGVu",
        "HTTP/1.1 403 no open sesame\r\n\r\n",
        "HTTP/1.1 407 x\r\nProxy-Authenticate: QWxhZGRpbjpvcGVu\r\n\r\n",
    ] {
        let fault = proxy.without_login(judge(answer.as_bytes(), true).unwrap().unwrap_err());
        let said = format!("{fault:?}");
        assert!(said.contains("repeats the login") && !said.contains("sesame") && !said.contains("QWxh"), "{said}");
    }
    let other = ProxyFault::Refused { status: 403, reason: "Forbidden".to_owned() };
    assert_eq!(proxy.without_login(other.clone()), other);
}

#[test]
fn an_answer_is_judged_once_its_head_is_whole() {
    let whole = "HTTP/1.0 200 Connection established\r\nProxy-agent: x\r\n\r\n";
    for end in 0..whole.len() {
        assert_eq!(verdict(&whole[..end]), None, "{end}");
    }
    assert_eq!(verdict(whole), Some(Ok(())));
    for answer in ["HTTP/1.1 200 OK\n\n", "HTTP/1.1 200\r\n\r\n", "HTTP/1.1 204 \r\nContent-Length: 0\r\n\r\n"] {
        assert_eq!(verdict(answer), Some(Ok(())), "{answer:?}");
    }
    let refused = |status, reason: &str| Some(Err(ProxyFault::Refused { status, reason: reason.to_owned() }));
    assert_eq!(verdict("HTTP/1.1 403 Filtered\r\n\r\n<html>..."), refused(403, "Filtered"));
    assert_eq!(verdict("HTTP/1.1 503 \u{1b}[2J\r\n\r\n"), refused(503, "\\u001b[2J"));
    assert_eq!(verdict("HTTP/1.1 100 Continue\r\n\r\n"), refused(100, "Continue"));
}

#[test]
fn what_is_no_answer_to_connect_is_noticed_at_once() {
    let not_http = |shown: &str| Some(Err(ProxyFault::NotHttp(shown.to_owned())));
    assert_eq!(verdict("SSH-2.0-OpenSSH_9"), not_http("SSH-2.0-OpenSSH_9"));
    assert_eq!(verdict("HTTQ"), not_http("HTTQ"));
    assert_eq!(verdict("HTTP/2"), not_http("HTTP/2"));
    assert_eq!(verdict("HTTP/1.1 yes\r\n\r\n"), not_http("HTTP/1.1 yes\\r\\n\\r\\n".trim_end_matches("\\r\\n\\r\\n")));
    assert_eq!(verdict("HTTP/1.1 200 OK\r\n\r\nhello"), not_http("hello"));
    assert_eq!(verdict(""), None);
}

#[test]
fn a_wanted_login_is_told_with_the_ways_there_are() {
    let wanted = |sent, schemes: &[&str]| {
        let schemes = schemes.iter().map(|scheme| (*scheme).to_owned()).collect();
        Some(Err(ProxyFault::Login { sent, schemes }))
    };
    let answer =
        "HTTP/1.1 407 x\r\nProxy-Authenticate: Basic realm=\"a, b\"\r\nproxy-authenticate: NTLM, Negotiate\r\n\r\n";
    assert_eq!(judge(answer.as_bytes(), true), wanted(true, &["Basic", "NTLM", "Negotiate"]));
    let answer = "HTTP/1.0 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"Tinyproxy\"\r\n\r\n";
    assert_eq!(judge(answer.as_bytes(), true), wanted(true, &["Basic"]));
    assert_eq!(verdict("HTTP/1.1 407 x\r\n\r\n"), wanted(false, &[]));
}

proptest! {
    #[test]
    fn no_bytes_make_the_judge_panic(answer in proptest::collection::vec(any::<u8>(), 0..300), begin in any::<bool>()) {
        let answer = if begin { [&b"HTTP/1.1 4"[..], &answer].concat() } else { answer };
        if let Some(Err(fault)) = judge(&answer, false) {
            prop_assert!(!fault.to_string().contains(char::is_control));
        }
    }
}
