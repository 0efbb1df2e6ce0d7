use std::net::Ipv4Addr;
use std::time::SystemTime;

use jiff::Timestamp;
use rustls::AlertDescription as Alert;

use super::*;
use crate::certificate::Whose;
use crate::message::{Topic, TopicFilter};
use crate::mqtt::reason::Reason;
use crate::net::credentials::{Descent, ServerCertificate};

mod mqtt;
mod tls;

const ATS: &str = "abc123-ats.iot.eu-west-1.amazonaws.com";
const SECOND: Duration = Duration::from_secs(1);

fn peer_at(host: &str) -> Arc<Peer> {
    peer_on(host, 8883, Protocol::Mqtt311)
}

fn peer_on(host: &str, port: u16, protocol: Protocol) -> Arc<Peer> {
    Arc::new(Peer {
        endpoint: Endpoint { host: host.into(), port },
        protocol,
        address: SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 8883)),
        proxy: None,
        client_id: "thing-1".into(),
        certificate_id: "c0ffee".into(),
        whose: Whose::ByHand,
        brings_authority: false,
        outside: None,
        will: None,
    })
}

#[test]
fn the_will_of_the_connect_is_named_where_that_is_refused() {
    for (retain, needs) in
        [(false, "iot:Publish on topic/gone."), (true, "iot:Publish and iot:RetainPublish on topic/gone.")]
    {
        let mut peer = (*peer_at(ATS)).clone();
        peer.will = Some(Target { topic: Topic::new("gone").unwrap(), retain });
        let reason = Reason::new(0x87, None);
        let refused = LinkError::ConnackRefused { peer: Arc::new(peer), reason };
        let advice = refused.advice();
        assert!(
            advice.contains("iot:Connect on client/thing-1, or for the will") && advice.ends_with(needs),
            "{advice}"
        );
    }
}

fn tcp(port: u16, failures: &[Option<ErrorKind>]) -> LinkError {
    let address = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), port));
    let attempts = failures.iter().map(|failure| Attempt { address, failure: *failure }).collect();
    LinkError::Tcp { endpoint: Endpoint { host: ATS.into(), port }, attempts, took: SECOND }
}

fn tls(host: &str, fault: TlsFault) -> LinkError {
    LinkError::Tls { peer: peer_at(host), fault }
}

/// Checks code, message and advice of one error, and that each text is one line that ends as a text of its kind does.
#[track_caller]
fn check(error: &LinkError, code: &str, message: &str, advice: &str) {
    let failure = Failure::from(error);
    assert_eq!(failure.code, code);
    assert!(failure.message.contains(message), "{:?} lacks {message:?}", failure.message);
    assert!(failure.advice.contains(advice), "{:?} lacks {advice:?}", failure.advice);
    for text in [&failure.message, &failure.advice] {
        assert!(!text.contains('\n') && !text.contains("  "), "{text:?}");
    }
    assert!(failure.advice.ends_with('.') && !failure.message.ends_with('.'), "{failure:?}");
}

#[test]
fn failures_before_tls_say_what_was_tried_and_what_to_do() {
    let endpoint = Endpoint { host: ATS.into(), port: 8883 };
    let dns = |fault| LinkError::Dns { endpoint: endpoint.clone(), fault, took: SECOND };
    check(
        &LinkError::InvalidEndpoint("mqtts://x".into()),
        "invalid_endpoint",
        "\"mqtts://x\"",
        "without scheme and port",
    );
    check(&dns(DnsFault::NotFound), "dns_not_found", ATS, "the wrong region (eu-west-1): `aws iot describe-endpoint");
    check(&dns(DnsFault::Temporary), "dns_no_server", "no name server", "/etc/resolv.conf");
    check(&dns(DnsFault::Timeout), "dns_timeout", "no answer (after 1000 ms)", "name server doesn't answer");
    check(&dns(DnsFault::Other("odd".to_owned())), "dns_failed", "odd", "getent hosts");
    check(&tcp(8883, &[None]), "tcp_timeout", "192.0.2.1: no answer", "connection.port = 443");
    check(&tcp(443, &[None]), "tcp_timeout", "amazonaws.com:443", "outgoing TCP to port 443");
    check(
        &tcp(1883, &[Some(ErrorKind::ConnectionRefused)]),
        "tcp_refused",
        "connection refused",
        "connection.port = 8883, or 443",
    );
    check(&tcp(8883, &[Some(ErrorKind::ConnectionRefused)]), "tcp_refused", "refused", "connection.port = 443");
    check(&tcp(443, &[Some(ErrorKind::ConnectionRefused)]), "tcp_refused", "refused", "have it opened");
    check(&tcp(8883, &[Some(ErrorKind::PermissionDenied)]), "tcp_forbidden", "permission denied", "packet filter");
    check(
        &tcp(8883, &[Some(ErrorKind::NetworkUnreachable)]),
        "tcp_unreachable",
        "network unreachable",
        "default route",
    );
    check(&tcp(8883, &[Some(ErrorKind::Other)]), "tcp_failed", "192.0.2.1: ", "dmesg");
}

#[test]
fn failures_on_the_way_through_a_proxy_say_whose_they_are() {
    let through = |port, fault| LinkError::Proxy {
        proxy: Endpoint { host: "proxy.lan".into(), port: 3128 },
        endpoint: Endpoint { host: ATS.into(), port },
        fault,
        took: SECOND,
    };
    let proxy = |fault| through(8883, fault);
    let tcp = |failure| {
        let address = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 9), 3128));
        proxy(ProxyFault::Tcp(vec![Attempt { address, failure }]))
    };
    let login = |sent, schemes: &[&str]| {
        proxy(ProxyFault::Login { sent, schemes: schemes.iter().map(|scheme| (*scheme).to_owned()).collect() })
    };
    let refused = |status| ProxyFault::Refused { status, reason: "Because".to_owned() };
    let not_found = proxy(ProxyFault::Dns(DnsFault::NotFound));
    check(&not_found, "proxy_dns_not_found", "looking up the proxy in DNS: there is no such name", "hosts proxy.lan");
    check(
        &proxy(ProxyFault::Dns(DnsFault::Timeout)),
        "proxy_dns_timeout",
        "through the proxy proxy.lan:3128",
        "network",
    );
    check(&proxy(ProxyFault::Dns(DnsFault::Temporary)), "proxy_dns_failed", "no name server", "resolv.conf");
    check(&tcp(Some(ErrorKind::ConnectionRefused)), "proxy_tcp_refused", "192.0.2.9: connection refused", "port 3128");
    check(&tcp(None), "proxy_tcp_timeout", "192.0.2.9: no answer (after 1000 ms)", "connection.proxy");
    check(&tcp(Some(ErrorKind::PermissionDenied)), "proxy_tcp_forbidden", "permission denied", "packet filter");
    check(&tcp(Some(ErrorKind::NetworkUnreachable)), "proxy_tcp_unreachable", "unreachable", "ip route");
    check(&tcp(Some(ErrorKind::Other)), "proxy_tcp_failed", "other error", "ip route");
    check(&login(false, &["Basic"]), "proxy_login_required", "it wants a login (after", "USER:PASSWORD@HOST:PORT");
    check(
        &login(true, &["NTLM", "basic"]),
        "proxy_login_refused",
        "refuses the login",
        "the password in connection.proxy",
    );
    check(
        &login(true, &["NTLM", "Negotiate"]),
        "proxy_login_refused",
        "refuses",
        "accepts NTLM, Negotiate and gatewire",
    );
    check(&proxy(refused(403)), "proxy_refused", "it answered 403 \"Because\"", "connection.port = 443");
    check(
        &through(443, refused(403)),
        "proxy_refused",
        "amazonaws.com:443 through",
        "sk the administrator of the proxy to let",
    );
    check(&proxy(refused(302)), "proxy_refused", "it answered 302", "captive portal");
    check(&proxy(refused(502)), "proxy_refused", "502", "connection.endpoint is mistyped");
    check(
        &proxy(ProxyFault::NotHttp("SSH-2".to_owned())),
        "proxy_not_http",
        "an HTTP proxy: \"SSH-2\"",
        "host and port",
    );
    check(&proxy(ProxyFault::TooLong(8192)), "proxy_not_http", "longer than 8 KiB", "host and port");
    check(&proxy(ProxyFault::Closed), "proxy_closed", "closed the connection instead", "host and port");
    check(&proxy(ProxyFault::Timeout), "proxy_timeout", "no answer to CONNECT", "overloaded");
    let broken = ProxyFault::from_io(&io::Error::from(ErrorKind::TimedOut));
    check(&proxy(broken), "proxy_io", "TCP timeout", "ip route");
    assert_eq!(ProxyFault::from_io(&io::Error::from(ErrorKind::ConnectionReset)), ProxyFault::Closed);
}

#[test]
fn what_matters_of_several_addresses_makes_the_code() {
    let (unreachable, refused) = (Some(ErrorKind::NetworkUnreachable), Some(ErrorKind::ConnectionRefused));
    assert_eq!(tcp(8883, &[unreachable, refused]).code(), "tcp_refused");
    assert_eq!(tcp(8883, &[refused, None, unreachable]).code(), "tcp_timeout");
    assert_eq!(tcp(8883, &[Some(ErrorKind::TimedOut), unreachable]).code(), "tcp_timeout");
    assert_eq!(tcp(8883, &[unreachable, Some(ErrorKind::HostUnreachable)]).code(), "tcp_unreachable");
    assert!(tcp(8883, &[unreachable, None]).message().contains("192.0.2.1: network unreachable, 192.0.2.1: no answer"));
}

#[test]
fn a_broker_that_wants_a_password_is_told_what_gatewire_has_instead() {
    for (protocol, code) in [(Protocol::Mqtt311, 4), (Protocol::Mqtt5, 0x86)] {
        let refused = |host| {
            let reason = Reason::new(code, None);
            LinkError::ConnackRefused { peer: peer_on(host, 8883, protocol), reason }.advice()
        };
        assert!(refused("broker.lan").contains("gatewire sends none: its certificate"), "{}", refused("broker.lan"));
        assert!(!refused(ATS).contains("password"), "{}", refused(ATS));
    }
}

#[test]
fn a_web_server_behind_tls_is_not_taken_for_an_old_broker() {
    let detail = "bytes that aren't MQTT, beginning with \"HTTP/1.1 400 Bad\"".to_owned();
    let advice =
        LinkError::MalformedPacket { peer: peer_on("broker.lan", 443, Protocol::Mqtt5), detail, is_connected: false }
            .advice();
    assert!(advice.contains("not an MQTT server") && !advice.contains("connection.protocol"), "{advice}");
}

#[test]
fn a_clock_that_is_not_set_comes_first() {
    let at = |second| Timestamp::from_second(second).unwrap();
    let expired = |clock| tls(ATS, TlsFault::ServerExpired { not_after: Some(at(1_000_000_000)), clock });
    let early = |clock| tls(ATS, TlsFault::ServerNotYetValid { not_before: None, clock });
    let (unset, set) = (at(1_500_000_000), at(1_800_000_000));
    check(&expired(unset), "tls_server_expired", "clock says 2017-", "Most likely this machine's clock isn't set");
    check(&expired(set), "tls_server_expired", "expired on 2001-", "if it is right, the server needs");
    check(&early(unset), "tls_server_not_yet_valid", "clock says 2017-", "Most likely this machine's clock isn't set");
    check(&early(set), "tls_server_not_yet_valid", "clock says 2027-", "Most likely this machine's clock isn't set");
}

#[test]
fn the_certificate_is_called_what_it_is_and_the_remedy_is_its_own() {
    let at = |second| jiff::Timestamp::from_second(second).unwrap();
    let outside = Some(Outside::Expired { not_after: at(2_000_000_000), clock: at(2_000_000_001) });
    let begin_anew =
        "`sudo systemctl stop gatewire`, `sudo rm -r /var/lib/gatewire/identity`, `sudo systemctl start gatewire`";
    for (whose, called, remedy) in [
        (Whose::ByHand, "the client certificate (tls.cert_file)", "create a new certificate in IoT Core"),
        (
            Whose::Identity("/var/lib/gatewire/identity".into()),
            "the certificate of this gateway's identity",
            begin_anew,
        ),
        (Whose::Next, "the new certificate", "gatewire asks for another one by itself"),
        (Whose::Claim, "the claim's certificate (provisioning.claim_cert_file)", "create a new claim"),
    ] {
        let peer = Arc::new(Peer { outside, whose: whose.clone(), brings_authority: true, ..(*peer_at(ATS)).clone() });
        let tls = |alert| LinkError::Tls { peer: Arc::clone(&peer), fault: TlsFault::Alert(alert) };
        for error in [tls(Alert::CertificateExpired), LinkError::ClosedBeforeConnack { peer: Arc::clone(&peer) }] {
            let advice = error.advice();
            assert!(advice.starts_with(&format!("Most likely {called} expired on")), "{advice}");
            assert!(advice.contains(remedy), "{advice}");
            assert_eq!(advice.contains("tls.cert_file"), whose == Whose::ByHand, "{advice}");
        }
        let sent = vec![Sent::Subscribe(TopicFilter::new("a/#").unwrap())];
        let lacks = LinkError::closed(&peer, Phase::Connected { last_sent: sent }).advice();
        assert_eq!(lacks.contains("`gatewire policy --claim`"), whose == Whose::Claim, "{lacks}");
    }
}

#[test]
fn an_io_error_is_diagnosed_by_phase_and_kind() {
    let peer = peer_at("broker.lan");
    let of = |kind: ErrorKind, phase| LinkError::from_io(&io::Error::from(kind), &peer, phase);
    let connected = || Phase::Connected { last_sent: Vec::new() };
    let in_handshake = |error: &io::Error| {
        let Peer {
            endpoint, address, proxy, protocol, client_id, certificate_id, whose, brings_authority, will, ..
        } = (*peer).clone();
        let identity = Identity { protocol, client_id, certificate_id, whose, brings_authority, validity: None, will };
        let failed = ConnectError::of_handshake(error, Route { endpoint, address, proxy }, None);
        LinkError::from_connect(failed, &identity)
    };
    for kind in [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe] {
        assert_eq!(in_handshake(&io::Error::from(kind)).code(), "tls_closed");
        assert_eq!(of(kind, Phase::AwaitingConnack).code(), "closed_before_connack");
        assert_eq!(of(kind, connected()).code(), "closed_by_server");
    }
    check(&of(ErrorKind::TimedOut, connected()), "network_lost", "TCP timeout", "ip route");
    check(&of(ErrorKind::NetworkUnreachable, connected()), "network_lost", "network unreachable", "ip route");
    let odd = LinkError::from_io(&io::Error::from_raw_os_error(5), &peer, connected());
    check(&odd, "io", "Input/output error", "dmesg");

    let alert = rustls::Error::AlertReceived(Alert::CertificateUnknown);
    let wrapped = io::Error::new(ErrorKind::InvalidData, alert);
    assert_eq!(in_handshake(&wrapped).code(), "tls_alert_certificate_unknown");
    for phase in [Phase::AwaitingConnack, connected()] {
        assert_eq!(LinkError::from_io(&wrapped, &peer, phase).code(), "tls_alert_certificate_unknown");
    }
}

#[test]
fn only_what_nobody_has_said_against_us_may_end_with_another_network() {
    let address = IpAddr::from(Ipv4Addr::new(10, 0, 0, 5));
    let lost = LinkError::AddressLost { peer: peer_at("broker.lan"), address };
    check(&lost, "address_lost", "the address 10.0.0.5, from which broker.lan:8883 (192.0.2.1) was reached", "DHCP");
    assert!(lost.is_of_the_network());
    assert!(tcp(8883, &[None]).is_of_the_network());
    assert!(tls(ATS, TlsFault::Timeout { waited: SECOND }).is_of_the_network());
    assert!(!tls(ATS, TlsFault::UnknownIssuer { certificate: None }).is_of_the_network());
    assert!(!LinkError::ClosedBeforeConnack { peer: peer_at(ATS) }.is_of_the_network());
}

#[test]
fn names_and_addresses_are_shown_so_that_they_can_be_copied() {
    let mut peer = Peer::clone(&peer_at("broker.lan"));
    assert_eq!(peer.to_string(), "broker.lan:8883 (192.0.2.1)");
    peer.endpoint.host = "192.0.2.1".into();
    assert_eq!(peer.to_string(), "192.0.2.1:8883");
    peer.endpoint.host = "2001:db8::1".into();
    assert_eq!(peer.to_string(), "[2001:db8::1]:8883");
    peer.proxy = Some(Endpoint { host: "proxy".into(), port: 3128 });
    assert_eq!(peer.to_string(), "[2001:db8::1]:8883 (through the proxy proxy:3128)");
}

#[test]
fn connections_that_are_closed_soon_and_for_no_visible_reason_mean_a_second_device() {
    let closed = |last_sent| LinkError::closed(&peer_at(ATS), Phase::Connected { last_sent });
    let mut closes = Closes::default();
    let mut code = |error, lived| closes.ended(error, lived).code();
    let soon = Some(10 * SECOND);
    assert_eq!([code(closed(Vec::new()), soon), code(closed(Vec::new()), soon)], ["closed_by_server"; 2]);
    // The network may be away in between; that says nothing.
    assert_eq!(code(tcp(8883, &[None]), None), "tcp_timeout");
    assert_eq!(code(closed(Vec::new()), soon), "client_id_taken_over");
    assert_eq!(code(closed(Vec::new()), soon), "client_id_taken_over");
    // What was sent is likelier to be the reason, and who stays connected for long isn't pushed out.
    for (last_sent, lived) in [(vec![Sent::Publish(Topic::new("a").unwrap())], soon), (Vec::new(), Some(600 * SECOND))]
    {
        assert_eq!(code(closed(last_sent), lived), "closed_by_server");
        assert_eq!(code(closed(Vec::new()), soon), "closed_by_server", "the row begins anew");
    }
    let mut closes = Closes { in_a_row: 2 };
    let taken_over = closes.ended(closed(Vec::new()), soon);
    check(
        &taken_over,
        "client_id_taken_over",
        "of `thing-1` after 10 s, with nothing in",
        "two devices share this client",
    );
}

/// A server that was stopped and started as often has closed the connections for that.
#[test]
fn a_server_that_is_restarted_is_no_second_device() {
    let closed = || LinkError::closed(&peer_at("broker.lan"), Phase::Connected { last_sent: Vec::new() });
    let refused = || tcp(8883, &[Some(ErrorKind::ConnectionRefused)]);
    let mut closes = Closes::default();
    for _ in 0..5 {
        let error = closes.ended(closed(), Some(10 * SECOND));
        assert_eq!(error.code(), "closed_by_server");
        assert_eq!(closes.ended(refused(), None).code(), "tcp_refused");
    }
    // It may be back before anybody asks.
    let told = Closes { in_a_row: 2 }.ended(closed(), Some(10 * SECOND));
    check(&told, "client_id_taken_over", "3 times in a row", "If the server was restarted as often, that was it.");
}

#[test]
fn a_topic_cannot_forge_a_line() {
    let last_sent = vec![Sent::Publish(Topic::received("a\nERROR b"))];
    let failure = Failure::from(&LinkError::closed(&peer_at(ATS), Phase::Connected { last_sent }));
    assert!(failure.message.ends_with("`a\\nERROR b`") && !failure.advice.contains('\n'), "{failure:?}");
}

#[test]
fn a_client_certificate_out_of_date_is_the_first_cause_named() {
    let at = |second| jiff::Timestamp::from_second(second).unwrap();
    let (not_before, not_after) = (at(1_000_000_000), at(2_000_000_000));
    let validity = Validity { not_before, not_after };
    let identity = |host| {
        let Peer { protocol, client_id, certificate_id, whose, will, .. } = (*peer_at(host)).clone();
        Identity { protocol, client_id, certificate_id, whose, brings_authority: false, validity: Some(validity), will }
    };
    let outside = |second| {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        identity(ATS).validity.unwrap().outside(now)
    };
    assert_eq!(outside(1_000_000_000), None);
    for (outside, expected) in [
        (
            outside(999_999_999),
            "isn't valid yet: it is from 2001-09-09T01:46:40Z on, and this machine's clock says 2001-09-09T01:46:39Z",
        ),
        (outside(2_000_000_001), "expired on 2033-05-18T03:33:20Z; this machine's clock says 2033-05-18T03:33:21Z"),
    ] {
        for host in [ATS, "broker.lan"] {
            let peer = Arc::new(Peer { outside, ..(*peer_at(host)).clone() });
            let tls = |fault| LinkError::Tls { peer: Arc::clone(&peer), fault };
            for error in [
                tls(TlsFault::Alert(Alert::BadCertificate)),
                tls(TlsFault::Alert(Alert::CertificateExpired)),
                tls(TlsFault::Closed { answered: true }),
                LinkError::ClosedBeforeConnack { peer: Arc::clone(&peer) },
            ] {
                let advice = error.advice();
                let start = format!("Most likely the client certificate (tls.cert_file) {expected}");
                assert!(advice.starts_with(&start) && advice.ends_with('.'), "{advice}");
            }
        }
    }
}
