//! Files that don't arrive, and what is said of that.

use super::*;

/// What is said of a server that always answers so, and how often it was asked.
async fn said_of(reply: Reply) -> (String, usize) {
    let mut gateway = Gateway::new(b"wanted");
    let server = gateway.server(move |_, _| reply.clone()).await;
    let said = gateway.failure().await;
    assert!(said.starts_with(&format!("downloading https://localhost:{}/a/model.bin: ", server.port)), "{said}");
    (said, server.asked().len())
}

#[tokio::test]
async fn what_a_server_refuses_is_not_asked_for_again() {
    let expired =
        b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message><Token>5ec2e7</Token></Error>";
    for (reply, expected) in [
        (
            Reply::whole("403 Forbidden", expired),
            "403 (AccessDenied: Request has expired). The pre-signed URL may have expired: AWS makes a new one",
        ),
        (
            Reply::whole("404 Not Found", b"<Error><Code>NoSuchKey</Code></Error>"),
            "404 (NoSuchKey). There is no such object",
        ),
        (Reply::whole("404 Not Found", b""), "404. The pre-signed URL may have expired"),
        (
            Reply::whole("301 x", b"<Error><Code>PermanentRedirect</Code></Error>"),
            "301, which sends on to another place, and didn't say where",
        ),
        (Reply::whole("206 x\r\nContent-Range: bytes 0-0/1", b"x"), "206. That is no answer to a download"),
        (Reply::new("204 No Content", b"", Then::Close), "204. That is no answer to a download"),
        (Reply::whole("400 Bad Request", b""), "400. The server doesn't take this request"),
        // It never ends its explanation.
        (Reply::new("403 x\r\nTransfer-Encoding: chunked", b"", Then::GoOn), "the server answered 403. The pre-signed"),
    ] {
        let (said, asked) = said_of(reply).await;
        assert!(said.contains(expected) && asked == 1, "{asked} {said}");
        assert!(!said.contains("5ec2e7"), "{said}");
    }
}

#[tokio::test]
async fn what_is_no_http_is_said() {
    let hello = Reply { bytes: b"SSH-2.0-OpenSSH_9.9\r\n\r\n".to_vec(), then: Then::Close };
    let endless = Reply::new(&format!("200 OK\r\nX: {}", "x".repeat(100_000)), b"", Then::Close);
    for reply in [hello, endless] {
        let (said, asked) = said_of(reply).await;
        assert!(said.contains("what came back isn't HTTP/1.1 (") && asked == 1, "{asked} {said}");
    }
}

#[tokio::test]
async fn a_file_that_is_too_large_is_refused() {
    let announced = Reply::new("200 OK\r\nContent-Length: 16777217", b"", Then::Hang);
    let (said, asked) = said_of(announced).await;
    assert!(said.contains("it has 16.0 MiB, more than download.max_size = 16 MiB") && asked == 1, "{asked} {said}");
    let endless = Reply::new("200 OK\r\nTransfer-Encoding: chunked", b"", Then::GoOn);
    let (said, asked) = said_of(endless).await;
    assert!(said.contains("it goes on and on, more than download.max_size = 16 MiB") && asked == 1, "{asked} {said}");
}

#[tokio::test]
async fn another_file_than_the_wanted_one_is_refused() {
    let (said, asked) = said_of(Reply::whole("200 OK\r\nContent-Encoding: gzip", b"other")).await;
    let found = Sha256(sum(b"other"));
    assert!(
        said.contains(&format!("what came has the SHA-256 {found}, and the document says {}", Sha256(sum(b"wanted")))),
        "{said}"
    );
    assert!(said.contains("Content-Encoding") && asked == 1, "{asked} {said}");
    // Of what ended without a word nobody knows whether it was all.
    let (said, asked) = said_of(Reply::new("200 OK", b"other", Then::Close)).await;
    assert!(said.contains("SHA-256") && !said.contains("Content-Encoding") && asked == 2, "{asked} {said}");
}

#[tokio::test]
async fn a_server_may_not_send_on_to_anywhere() {
    for (location, expected) in [
        ("https://evil.example/x?5ec2e7", ", https://evil.example/x: its host evil.example isn't in download.hosts"),
        ("https://127.0.0.1/x", ", https://127.0.0.1/x: its host 127.0.0.1 isn't in"),
        ("http://localhost/x", ": it must begin with https://"),
        ("https://me:5ec2e7@localhost/x", ": it has a user name before the host"),
        ("file:///etc/shadow", ": it must begin with https://"),
        ("/a b", ": it has the character U+0020"),
    ] {
        let (said, asked) = said_of(Reply::whole(&format!("302 x\r\nLocation: {location}"), b"")).await;
        assert!(said.contains(&format!("sends on to another place{expected}")) && asked == 1, "{asked} {said}");
        assert!(!said.contains("5ec2e7"), "{said}");
    }
    let (said, asked) = said_of(Reply::whole("302 x\r\nLocation: /a/model.bin", b"")).await;
    assert!(said.contains("more than 5 times") && asked == 6, "{asked} {said}");
}

#[tokio::test]
async fn what_may_not_be_downloaded_any_more_is_not_asked_for() {
    let mut gateway = Gateway::new(b"");
    let server = gateway.server(|_, _| Reply::whole("200 OK", b"")).await;
    gateway.download.hosts = vec![HostPattern::new("downloads.example").unwrap()];
    let said = gateway.failure().await;
    assert!(
        said.ends_with(": its host localhost isn't in download.hosts of the action") && server.asked().is_empty(),
        "{said}"
    );
}

#[tokio::test]
async fn only_a_server_that_is_trusted_is_asked() {
    let mut gateway = Gateway::new(b"");
    let server = gateway.server(|_, _| Reply::whole("200 OK", b"")).await;
    fs::write(gateway.download.ca_file.as_ref().unwrap(), Authority::new("another").pem()).unwrap();
    let said = gateway.failure().await;
    assert!(said.contains("isn't from a CA that this machine trusts") && said.contains("download.ca_file"), "{said}");
    fs::write(gateway.download.ca_file.as_ref().unwrap(), gateway.authority.pem()).unwrap();
    gateway.download.hosts = vec![HostPattern::new("127.0.0.1").unwrap()];
    gateway.url = gateway.url.replace("localhost", "127.0.0.1");
    let said = gateway.failure().await;
    assert!(said.contains("the server's certificate is for another name: localhost"), "{said}");
    gateway.download.ca_file = Some(gateway.directory.path().join("none"));
    let said = gateway.failure().await;
    assert!(said.contains("download.ca_file") && said.contains("there is no such file"), "{said}");
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_download_ends_with_the_time_of_its_action() {
    let body = content(700_000);
    let mut gateway = Gateway::new(&body);
    let served = body.clone();
    gateway.server(move |asked, _| honest(&served, "\"a\"", asked).cut(300_000).then(Then::Hang)).await;
    gateway.time = SHORT;
    let said = gateway.failure().await;
    assert!(said.contains("it wasn't done in time: ") && said.contains("Raise the action's timeout"), "{said}");

    // A server that wants to be left alone longer than there is time.
    let mut gateway = Gateway::new(b"");
    let server = gateway.server(|_, _| Reply::whole("503 x\r\nRetry-After: 3600", b"")).await;
    let said = gateway.failure().await;
    assert!(said.contains("; at last: the server answered 503") && server.asked().len() == 1, "{said}");
}
