//! Brokers with TLS.

use super::*;

#[test]
fn tls_wants_the_right_ca_and_a_port_that_speaks_it() {
    let tls = |name: &str| CERTIFICATES.path(name).display().to_string();
    let options = format!(
        "listener {{}} 127.0.0.1\nallow_anonymous true\ncafile {}\ncertfile {}\nkeyfile {}\n",
        tls("AmazonRootCA1.pem"),
        tls("server.crt"),
        tls("server.key")
    );
    let port = support::free_port();
    let local =
        LocalBroker::with_options(&format!("allow_anonymous true\n{}", options.replace("{}", &port.to_string())));
    let with_ca = |ca: &str| format!("tls = {{ ca_file = \"{ca}\" }}");
    let right = with_ca(&tls("AmazonRootCA1.pem"));
    setup(&format!("localhost:{port}"), &right).start().wait_for("bridge house: connected to ");
    let gatewire = setup(&format!("localhost:{port}"), &with_ca("DIR/ca.pem"));
    let other = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            "/CN=other",
            "-keyout",
            "/dev/null",
            "-out",
        ])
        .arg(gatewire.start().path("ca.pem"))
        .output();
    assert!(other.unwrap().status.success());
    let gatewire = gatewire.start();
    says(&failure(&gatewire, "broker_tls_untrusted"), &["ca_file", "the broker's certificate was signed"]);
    let gatewire = setup(&format!("localhost:{port}"), &with_ca("DIR/none.pem")).start();
    let line = failure(&gatewire, "broker_tls_files");
    says(
        &line,
        &["none.pem", "there is no such file", "the CA certificate with which the broker's certificate was signed"],
    );
    assert!(!line.contains("amazon"), "{line}");
    // A port without TLS, and the reverse.
    let gatewire = setup(&format!("localhost:{}", local.port), &right).start();
    says(&failure(&gatewire, "broker_tls_not_spoken"), &["doesn't speak TLS"]);
    let gatewire = setup(&at(port), "").start();
    eventually("that port speaks TLS", || {
        gatewire.log().into_iter().find(|line| line.contains("bridge house: ") && line.contains("TLS"))
    });
}

#[test]
fn a_broker_that_wants_a_client_certificate_gets_it_or_says_so() {
    let path = |name: &str| CERTIFICATES.path(name).display().to_string();
    let port = support::free_port();
    let _local = LocalBroker::with_options(&format!(
        "allow_anonymous true\nlistener {port} 127.0.0.1\nallow_anonymous true\nrequire_certificate true\ncafile {}\ncertfile {}\n\
         keyfile {}\n",
        path("AmazonRootCA1.pem"),
        path("server.crt"),
        path("server.key")
    ));
    let ca = path("AmazonRootCA1.pem");
    let gatewire = setup(&format!("localhost:{port}"), &format!("tls = {{ ca_file = \"{ca}\" }}")).start();
    says(
        &failure(&gatewire, "broker_tls_refused"),
        &["requires a client certificate", "tls.cert_file and tls.key_file"],
    );
    let (cert, key) = (path("certificate.pem.crt"), path("private.pem.key"));
    let tls = format!("tls = {{ ca_file = \"{ca}\", cert_file = \"{cert}\", key_file = \"{key}\" }}");
    setup(&format!("localhost:{port}"), &tls).start().wait_for("bridge house: connected to ");
}
