//! What lies between gatewire and a broker, and counts the bytes that it passes on: as a meter of the network would, without headers.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// A relay to one port, for as many connections as come.
pub struct Relay {
    pub port: u16,
    /// Bytes from the client, and to it.
    carried: Arc<[AtomicU64; 2]>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Relay {
    pub fn to(port: u16) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap().port();
        let (carried, open) = (Arc::new([AtomicU64::new(0), AtomicU64::new(0)]), Arc::new(Mutex::new(Vec::new())));
        let (counters, streams) = (Arc::clone(&carried), Arc::clone(&open));
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let again = |stream: &TcpStream| stream.try_clone().unwrap();
                streams.lock().unwrap().extend([again(&client), again(&server)]);
                for (way, from, to) in [(0, again(&client), again(&server)), (1, server, client)] {
                    let counters = Arc::clone(&counters);
                    thread::spawn(move || pass_on(from, to, &counters[way]));
                }
            }
        });
        Relay { port: own, carried, open }
    }

    /// Bytes from the client, and to it, so far.
    pub fn carried(&self) -> [u64; 2] {
        [0, 1].map(|way: usize| self.carried[way].load(Ordering::SeqCst))
    }

    /// Ends all connections, as a network that breaks.
    pub fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, counter: &AtomicU64) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        counter.fetch_add(len as u64, Ordering::SeqCst);
        if to.write_all(&buffer[..len]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
