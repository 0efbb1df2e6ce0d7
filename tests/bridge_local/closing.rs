//! A broker that closes the connection because of a message.

use super::*;

/// A packet of MQTT 3.1.1: its first byte and what follows its length.
fn packet(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut byte = [0];
    stream.read_exact(&mut byte).ok()?;
    let (first, mut length, mut shift) = (byte[0], 0, 0);
    loop {
        stream.read_exact(&mut byte).ok()?;
        length |= usize::from(byte[0] & 0x7f) << shift;
        shift += 7;
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((first, body))
}

/// A broker of MQTT 3.1.1 that keeps sessions and closes the connection on a PUBLISH to `.../bad`.
fn closing_on_bad() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut is_known = 0;
        for mut stream in listener.incoming().map_while(Result::ok) {
            while let Some((first, body)) = packet(&mut stream) {
                let answer = match first >> 4 {
                    1 => vec![0x20, 2, std::mem::replace(&mut is_known, 1), 0],
                    3 => {
                        let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
                        let (topic, rest) = body[2..].split_at(length);
                        if topic.ends_with(b"/bad") {
                            break;
                        }
                        vec![0x40, 2, rest[0], rest[1]]
                    }
                    8 => vec![0x90, 3, body[0], body[1], 1],
                    12 => vec![0xd0, 0],
                    _ => continue,
                };
                if stream.write_all(&answer).is_err() {
                    break;
                }
            }
        }
    });
    port
}

#[test]
fn what_closes_the_connection_alone_is_left_out_and_the_rest_arrives() {
    let cloud = Mosquitto::start();
    let rules = "protocol = \"3.1.1\"\n[[bridge.down]]\nfrom = \"down/#\"\nto = \"local/\"\n";
    let broker = at(closing_on_bad());
    let setup = Setup::new(cloud.port, &format!("[[bridge]]\nname = \"house\"\nbroker = \"{broker}\"\n{rules}"));
    let gatewire = setup.start();
    gatewire.wait_for("bridge house: connected to ");
    gatewire.wait_for("connected to localhost");
    cloud.wait_for("Sending SUBACK to thing-1");
    for n in 0..5 {
        cloud.publish(&format!("down/{n}"), b"x");
        cloud.publish("down/bad", b"x");
    }
    let rule = || gatewire.status()["bridge"][0]["down"][0].clone();
    support::patiently("all but the bad ones", || (rule()["delivered"] == json!(5)).then_some(()));
    // Only beside messages that the broker takes it is clear that it doesn't refuse everything.
    support::patiently("the bad ones", || {
        cloud.publish("down/good", b"x");
        (rule()["dropped"] == json!({"refused": 5})).then_some(())
    });
    cloud.publish("down/last", b"x");
    support::patiently("the good ones", || (rule()["waiting"] == json!(0)).then_some(()));
    assert_eq!(rule()["dropped"], json!({"refused": 5}));
    gatewire.wait_for("the local broker doesn't accept it");
}
