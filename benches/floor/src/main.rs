//! The bare program on rumqttc: connects, publishes, receives, and keeps nothing. What gatewire costs is compared with it.
//!
//!     floor 3.1.1|5 PORT DIRECTORY CLIENT_ID      (of a broker on localhost; of the credentials)
//!
//! It says `connected`, and for each line `up COUNT PAUSE_US` or `down COUNT` on its standard input `ready`, and `done` once so
//! many messages are acknowledged or have come.

use std::cell::Cell;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::unix::pipe::Receiver;

thread_local!(static LEFT: Cell<u64> = const { Cell::new(0) });

fn one_less() {
    let left = LEFT.replace(LEFT.get().saturating_sub(1));
    if left == 1 {
        say("done");
    }
}

fn say(word: &str) {
    println!("{word}");
    std::io::stdout().flush().unwrap();
}

fn tls(directory: &str) -> rumqttc::Transport {
    let read = |name| std::fs::read(format!("{directory}/{name}")).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&read("AmazonRootCA1.pem")).unwrap()).unwrap();
    let certificate = CertificateDer::from_pem_slice(&read("certificate.pem.crt")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(&read("private.pem.key")).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into());
    let config = config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let config = config.with_client_auth_cert(vec![certificate], key).unwrap();
    rumqttc::Transport::tls_with_config(rumqttc::TlsConfiguration::Rustls(config.into()))
}

macro_rules! run {
    ($rumqttc:path, $packets:path, $qos:path, $port:expr, $directory:expr, $client_id:expr) => {{
        use $packets as packets;
        use $qos as qos;
        use $rumqttc::{AsyncClient, Event, MqttOptions};
        let mut options = MqttOptions::new($client_id, "localhost", $port);
        options.set_keep_alive(Duration::from_secs(60)).set_transport(tls($directory));
        let (client, mut events) = AsyncClient::new(options, 100);
        tokio::spawn(async move {
            client.subscribe("down", qos::AtLeastOnce).await.unwrap();
            let input = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
            let mut lines = BufReader::new(Receiver::from_owned_fd(input).unwrap()).lines();
            while let Some(line) = lines.next_line().await.unwrap() {
                let words: Vec<&str> = line.split(' ').collect();
                let count = words[1].parse().unwrap();
                LEFT.set(count);
                say("ready");
                let Some(pause) = words.get(2).map(|pause| Duration::from_micros(pause.parse().unwrap())) else {
                    continue;
                };
                let start = tokio::time::Instant::now();
                for n in 0..count {
                    client.publish("up", qos::AtLeastOnce, false, vec![b'x'; 200]).await.unwrap();
                    if !pause.is_zero() {
                        tokio::time::sleep_until(start + pause * (n as u32 + 1)).await;
                    }
                }
            }
        });
        loop {
            match events.poll().await.unwrap() {
                Event::Incoming(packets::ConnAck(_)) => say("connected"),
                Event::Incoming(packets::PubAck(_) | packets::Publish(_)) => one_less(),
                _ => {}
            }
        }
    }};
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let (port, directory, client_id) = (arguments[2].parse().unwrap(), arguments[3].as_str(), arguments[4].as_str());
    match arguments[1].as_str() {
        "5" => run!(
            rumqttc::v5,
            rumqttc::v5::mqttbytes::v5::Packet,
            rumqttc::v5::mqttbytes::QoS,
            port,
            directory,
            client_id
        ),
        _ => run!(rumqttc, rumqttc::Packet, rumqttc::QoS, port, directory, client_id),
    }
}
