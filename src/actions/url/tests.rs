use proptest::prelude::*;

use super::*;

fn parts(text: &str) -> (String, u16, String) {
    let url = Url::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault}"));
    (url.host().to_string(), url.port(), url.target().expose().clone())
}

#[test]
fn a_url_is_taken_apart() {
    for (text, host, port, target) in [
        ("https://a.example/x?y=z&w", "a.example", 443, "/x?y=z&w"),
        ("HTTPS://A.Example:8443", "a.example", 8443, "/"),
        ("https://a.example:?q", "a.example", 443, "/?q"),
        ("https://a.example./x#fragment", "a.example", 443, "/x"),
        ("https://192.0.2.1/a//b/", "192.0.2.1", 443, "/a//b/"),
        ("https://[2001:DB8:0::1]:4443/x", "2001:db8::1", 4443, "/x"),
        (
            "https://my_bucket.s3.amazonaws.com/a%20b/%2e%2e/c@d:e",
            "my_bucket.s3.amazonaws.com",
            443,
            "/a%20b/%2e%2e/c@d:e",
        ),
    ] {
        assert_eq!(parts(text), (host.to_owned(), port, target.to_owned()), "{text}");
    }
}

#[test]
fn what_is_no_url_to_download_from_is_named() {
    for (text, fault) in [
        ("", UrlFault::NotUrl),
        ("/model.bin", UrlFault::NotUrl),
        ("1https://a.example", UrlFault::NotUrl),
        ("http://a.example/x", UrlFault::NotHttps),
        ("file:///etc/shadow", UrlFault::NotHttps),
        ("https://me:secret@a.example/x", UrlFault::Login),
        ("https://a.example@evil.example/x", UrlFault::Login),
        ("https:///x", UrlFault::Host),
        ("https://?x", UrlFault::Host),
        ("https://a..b/x", UrlFault::Host),
        ("https://[::1/x", UrlFault::Host),
        ("https://[::1]x/x", UrlFault::Host),
        ("https://[fe80::1%25eth0]/x", UrlFault::Host),
        ("https://::1/x", UrlFault::Host),
        ("https://%6cocalhost/x", UrlFault::Host),
        // Addresses in disguise.
        ("https://127.1/x", UrlFault::Host),
        ("https://2130706433/x", UrlFault::Host),
        ("https://0x7f000001/x", UrlFault::Host),
        ("https://0x7f.0.0.0x1/x", UrlFault::Host),
        ("https://0177.0.0.1/x", UrlFault::Host),
        ("https://a.example:0/x", UrlFault::Port),
        ("https://a.example:65536/x", UrlFault::Port),
        ("https://a.example:+1/x", UrlFault::Port),
        ("https://a.example:1:2/x", UrlFault::Port),
        ("https://a.example/a b", UrlFault::Character(' ')),
        ("https://a.example/\r\nHost: b", UrlFault::Character('\r')),
        ("https://a.example\\@b/", UrlFault::Character('\\')),
        ("https://ä.example/", UrlFault::Character('ä')),
        ("${aws:iot:s3-presigned-url:https://s3.eu-west-1.amazonaws.com/b/k}", UrlFault::Placeholder),
        ("${aws:iot:s3-presigned-url-v2:https://b.s3.amazonaws.com/k}", UrlFault::Placeholder),
    ] {
        assert_eq!(Url::parse(text), Err(fault), "{text}");
    }
    assert_eq!(Url::parse(&format!("https://a.example/{}", "x".repeat(9000))), Err(UrlFault::TooLong));
}

#[test]
fn a_location_leads_where_rfc_3986_says() {
    let base = Url::parse("https://a.example:8443/b/c/d;p?q").unwrap();
    // 5.4, as far as it isn't about other schemes.
    for (location, expected) in [
        ("g", "/b/c/g"),
        ("./g", "/b/c/g"),
        ("g/", "/b/c/g/"),
        ("/g", "/g"),
        ("?y", "/b/c/d;p?y"),
        ("g?y", "/b/c/g?y"),
        ("#s", "/b/c/d;p?q"),
        ("g?y#s", "/b/c/g?y"),
        (";x", "/b/c/;x"),
        ("", "/b/c/d;p?q"),
        (".", "/b/c/"),
        ("./", "/b/c/"),
        ("..", "/b/"),
        ("../g", "/b/g"),
        ("../..", "/"),
        ("../../../g", "/g"),
        ("/./g", "/g"),
        ("/../g", "/g"),
        ("g.", "/b/c/g."),
        ("..g", "/b/c/..g"),
        ("./../g", "/b/g"),
        ("./g/.", "/b/c/g/"),
        ("g/../h", "/b/c/h"),
        ("g?y/../x", "/b/c/g?y/../x"),
    ] {
        let url = base.join(location).unwrap();
        assert_eq!((url.target().expose().as_str(), url.port()), (expected, 8443), "{location}");
    }
    let other = base.join("//b.example/x").unwrap();
    assert_eq!((&**other.host(), other.port()), ("b.example", 443));
    assert_eq!(&**base.join("https://[::1]/x").unwrap().host(), "::1");
    for (location, fault) in [
        ("http://a.example/x", UrlFault::NotHttps),
        ("//me@a.example/x", UrlFault::Login),
        ("javascript:alert(1)", UrlFault::NotUrl),
        ("/a b", UrlFault::Character(' ')),
    ] {
        assert_eq!(base.join(location), Err(fault), "{location}");
    }
}

#[test]
fn only_hosts_of_the_list_are_allowed_on_whatever_port() {
    let hosts = ["*.s3.eu-west-1.amazonaws.com", "downloads.example", "192.0.2.1", "::1"];
    let hosts: Vec<HostPattern> = hosts.iter().map(|host| HostPattern::new(host).unwrap()).collect();
    for url in [
        "https://bucket.s3.eu-west-1.amazonaws.com/x",
        "https://a.b.S3.eu-west-1.amazonaws.com:444/x",
        "https://downloads.example.:8443/",
        "https://192.0.2.1/",
        "https://[0:0::1]:9/",
    ] {
        assert!(Url::parse(url).unwrap().allowed(&hosts).is_ok(), "{url}");
    }
    for (url, host) in [
        ("https://s3.eu-west-1.amazonaws.com/x", "s3.eu-west-1.amazonaws.com"),
        ("https://downloads.example.evil.example/", "downloads.example.evil.example"),
        ("https://192.0.2.10/", "192.0.2.10"),
        ("https://[::ffff:192.0.2.1]/", "::ffff:192.0.2.1"),
    ] {
        assert_eq!(Url::parse(url).unwrap().allowed(&hosts), Err(UrlFault::NotAllowed(host.into())), "{url}");
    }
}

#[test]
fn what_is_shown_of_a_url_has_no_query() {
    let url = Url::parse("https://b.s3.amazonaws.com:444/k?X-Amz-Signature=5ec2e7").unwrap();
    assert_eq!(url.to_string(), "https://b.s3.amazonaws.com:444/k");
    assert_eq!(format!("{url:?} {:?}", url.target()), "Url(https://b.s3.amazonaws.com:444/k) Secret");
    let long = Url::parse(&format!("https://[::1]/{}?{}", "k".repeat(1000), "s".repeat(1000))).unwrap().to_string();
    assert!(long.len() < 200 && long.ends_with("k...") && !long.contains('s'.to_string().repeat(9).as_str()), "{long}");
}

fn texts() -> impl Strategy<Value = String> {
    let words = [
        "https",
        "http",
        "://",
        "//",
        "/",
        "..",
        ".",
        "a.example",
        "[::1]",
        "@",
        ":",
        ":8443",
        "?",
        "#",
        "%2f",
        " ",
        "\r\n",
        "ä",
        "127.1",
        "x",
    ];
    proptest::collection::vec(
        prop_oneof![4 => proptest::sample::select(words.to_vec()).prop_map(str::to_owned), 1 => ".{0,3}"],
        0..10,
    )
    .prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn what_is_sent_is_one_word_in_which_another_parser_finds_the_same(text in texts(), location in texts(), whole in any::<bool>()) {
        let text = if whole { format!("https://a.example{text}") } else { text };
        let Ok(url) = Url::parse(&text) else { return Ok(()) };
        let joined = url.join(&location).unwrap_or_else(|_| url.clone());
        for url in [url, joined] {
            let (target, authority) = (url.target(), url.authority());
            prop_assert!(target.expose().starts_with('/') && !target.expose().contains('#'));
            prop_assert!(target.expose().bytes().chain(authority.bytes()).all(|byte| byte.is_ascii_graphic()));
            let uri: hyper::Uri = format!("https://{authority}{}", target.expose()).parse().unwrap();
            prop_assert_eq!(uri.path_and_query().unwrap().as_str(), target.expose());
            prop_assert_eq!(uri.host().unwrap().trim_matches(['[', ']']), &**url.host());
            prop_assert_eq!(uri.port_u16().unwrap_or(443), url.port());
            prop_assert_eq!(Url::parse(&uri.to_string()), Ok(url));
        }
    }
}
