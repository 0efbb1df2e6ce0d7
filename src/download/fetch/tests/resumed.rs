//! Files that don't arrive in one go.

use super::*;

/// From where on each request has asked.
fn froms(server: &Server) -> Vec<Option<usize>> {
    server.asked().iter().map(Asked::from).collect()
}

#[tokio::test]
async fn a_file_goes_on_where_the_connection_broke() {
    for (then, etag) in [(Then::Close, "\"a\""), (Then::Cut, "\"a\""), (Then::Cut, "W/\"weak\"")] {
        let body = content(1_000_000);
        let mut gateway = Gateway::new(&body);
        let served = body.clone();
        let server = gateway.server(move |asked, _| honest(&served, etag, asked).cut(400_000).then(then)).await;
        assert_eq!(fs::read(gateway.fetch().await.unwrap()).unwrap(), body);
        assert_eq!(froms(&server), [None, Some(400_000), Some(800_000)]);
        // With a weak validator it is the sum alone that tells.
        let expected = Some(etag).filter(|etag| etag.starts_with('"'));
        assert_eq!(server.asked()[1].field("if-range"), expected);
        assert!(gateway.told.iter().any(|told| told.contains("the other end")), "{:?}", gateway.told);
    }
}

#[tokio::test]
async fn a_file_goes_on_in_another_life() {
    let body = content(1_000_000);
    let mut gateway = Gateway::new(&body);
    let served = body.clone();
    let server = gateway
        .server(move |asked, number| match number {
            0 => honest(&served, "\"a\"", asked).cut(600_000).then(Then::Hang),
            _ => honest(&served, "\"a\"", asked),
        })
        .await;
    // The daemon ends when half of it is on the disk.
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let mut progress = |news: Progress<'_>| {
        if let Progress::Received { bytes, .. } = news
            && bytes > 500_000
        {
            tell.send(bytes).unwrap();
        }
    };
    let on_the_disk = tokio::select! {
        biased;
        bytes = told.recv() => bytes.unwrap(),
        done = gateway.fetch_until(&mut progress) => panic!("{done:?}"),
    };
    assert_eq!(gateway.files(), 2);
    gateway.url = gateway.url.replace(SECRET, "X-Amz-Signature=another");
    assert_eq!(fs::read(gateway.fetch().await.unwrap()).unwrap(), body);
    assert_eq!(froms(&server), [None, Some(usize::try_from(on_the_disk).unwrap())]);
    assert!(server.asked()[1].target.ends_with("another"));
}

#[tokio::test]
async fn a_server_that_ignores_the_range_begins_anew() {
    let body = content(700_000);
    let mut gateway = Gateway::new(&body);
    let served = body.clone();
    let server = gateway
        .server(move |_, number| {
            let all = Reply::whole("200 OK\r\nETag: \"a\"", &served);
            if number == 0 { all.cut(300_000) } else { all }
        })
        .await;
    assert_eq!(fs::read(gateway.fetch().await.unwrap()).unwrap(), body);
    assert_eq!(froms(&server), [None, Some(300_000)]);
}

/// What a server says that answers a range with that of another file.
fn part_of(body: &[u8], from: usize, etag: &str) -> Reply {
    let (last, all) = (body.len() - 1, body.len());
    Reply::whole(&format!("206 x{etag}\r\nContent-Range: bytes {from}-{last}/{all}"), &body[from..])
}

#[tokio::test]
async fn a_file_that_changed_begins_anew() {
    let (old, new) = (vec![b'o'; 700_000], content(700_000));
    // The second answer: as `If-Range` asks for; of the new file, and saying so; without a word; not the same size.
    for (etags, sizes, expected) in [
        (["\r\nETag: \"a\"", "\r\nETag: \"b\""], 700_000, vec![None, Some(300_000), None]),
        (["", ""], 700_000, vec![None, Some(300_000), None]),
        (["", ""], 700_001, vec![None, Some(300_000), None]),
    ] {
        let mut gateway = Gateway::new(&new);
        let (old, served) = (old[..].to_vec(), new.clone());
        let server = gateway
            .server(move |asked, number| match (number, asked.from()) {
                (0, _) => {
                    let old = [&old[..], &[0; 1]].concat();
                    Reply::whole(&format!("200 OK{}", etags[0]), &old[..sizes]).cut(300_000)
                }
                (_, Some(from)) => part_of(&served, from, etags[1]),
                (_, None) => Reply::whole("200 OK", &served),
            })
            .await;
        assert_eq!(fs::read(gateway.fetch().await.unwrap()).unwrap(), new);
        assert_eq!(froms(&server), expected);
    }
    let mut gateway = Gateway::new(&new);
    let served = new.clone();
    let server = gateway
        .server(move |asked, number| match number {
            0 => honest(&old, "\"a\"", asked).cut(300_000),
            _ => honest(&served, "\"b\"", asked),
        })
        .await;
    assert_eq!(fs::read(gateway.fetch().await.unwrap()).unwrap(), new);
    assert_eq!(froms(&server), [None, Some(300_000)]);
}

#[tokio::test]
async fn a_shorter_file_than_what_is_there_begins_anew() {
    let (old, new) = (content(700_000), content(1000));
    let mut gateway = Gateway::new(&new);
    let served = new.clone();
    let server = gateway
        .server(move |asked, number| match (number, asked.from()) {
            (0, _) => Reply::whole("200 OK", &old).cut(300_000),
            (_, Some(_)) => Reply::whole("416 Range Not Satisfiable\r\nContent-Range: bytes */1000", b""),
            (_, None) => Reply::whole("200 OK", &served),
        })
        .await;
    assert_eq!(fs::read(gateway.fetch().await.unwrap()).unwrap(), new);
    assert_eq!(froms(&server), [None, Some(300_000), None]);
}

#[tokio::test]
async fn more_than_was_announced_is_no_part_of_the_file() {
    let body = content(400_000);
    let mut gateway = Gateway::new(&body);
    let served = body.clone();
    let server = gateway
        .server(move |asked, number| match (number, asked.from()) {
            (0, _) => Reply::whole("200 OK", &served).cut(300_000),
            (1, Some(from)) => {
                let range = format!("206 x\r\nContent-Range: bytes {from}-399999/400000");
                Reply::whole(&range, &[&served[from..], &[0; 9]].concat())
            }
            _ => honest(&served, "\"a\"", asked),
        })
        .await;
    assert_eq!(fs::read(gateway.fetch().await.unwrap()).unwrap(), body);
    assert_eq!(froms(&server), [None, Some(300_000), None]);
    assert!(gateway.told.iter().any(|told| told.contains("more came than")), "{:?}", gateway.told);
}

#[tokio::test]
async fn a_server_that_hangs_is_left_after_a_while() {
    let body = content(700_000);
    let mut gateway = Gateway::new(&body);
    gateway.patience.silence = SHORT;
    let served = body.clone();
    let server = gateway
        .server(move |asked, number| match number {
            0 => Reply { bytes: Vec::new(), then: Then::Hang },
            1 => Reply { bytes: b"HTTP/1.1 200 OK\r\nContent-".to_vec(), then: Then::Hang },
            2 => honest(&served, "\"a\"", asked).cut(300_000).then(Then::Hang),
            _ => honest(&served, "\"a\"", asked),
        })
        .await;
    assert_eq!(fs::read(gateway.fetch().await.unwrap()).unwrap(), body);
    // On a loaded machine an honest answer may be too slow, too.
    assert!(server.asked().len() >= 4, "{:?}", server.asked());
    assert!(gateway.told.iter().any(|told| told.contains("nothing came for 200ms")), "{:?}", gateway.told);
}

#[tokio::test]
async fn a_server_that_is_overloaded_is_asked_again() {
    let body = content(1000);
    let mut gateway = Gateway::new(&body);
    let served = body.clone();
    let server = gateway
        .server(move |asked, number| match number {
            0 => Reply::whole("503 Slow Down\r\nRetry-After: 0", b"<Error><Code>SlowDown</Code></Error>"),
            1 => Reply::whole("429 Too Many Requests", b""),
            2 => Reply::whole("500 x", b""),
            3 => Reply { bytes: Vec::new(), then: Then::Cut },
            _ => honest(&served, "\"a\"", asked),
        })
        .await;
    assert_eq!(fs::read(gateway.fetch().await.unwrap()).unwrap(), body);
    assert_eq!(server.asked().len(), 5);
    assert!(gateway.told[0].contains("the server answered 503 (SlowDown)"), "{:?}", gateway.told);
}
