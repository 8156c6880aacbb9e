//! A slow road to a node: what others send it arrives later, what it answers does not.
//!
//! The node tells the others the relay's address as its own. The relay takes their connections and passes on every byte after
//! the delay, in order, without holding up those behind it. Threads end with their connections.

use super::network::Network;
use super::node::Node;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// The relay of one node. It runs until the test process ends.
#[derive(Debug)]
pub struct Relay {
    delay_ms: Arc<AtomicU64>,
}

impl Relay {
    /// Puts a relay before a node that was not started yet; without delay at first.
    pub fn before(network: &Network, at: usize, node: &mut Node) -> Relay {
        let ip = network.second_address(at);
        let delay_ms = Arc::new(AtomicU64::new(0));
        let (behind, clients) = (node.bus, node.address);
        listen(SocketAddr::from((ip, behind.port())), behind, delay_ms.clone());
        listen(SocketAddr::from((ip, clients.port())), clients, Arc::default());
        node.set("cluster-announce-ip", &ip.to_string());
        node.address = SocketAddr::from((ip, clients.port()));
        Relay { delay_ms }
    }

    /// From now on everything the other nodes send takes so long.
    pub fn delay(&self, delay_ms: u64) {
        self.delay_ms.store(delay_ms, Ordering::Relaxed);
    }
}

fn listen(on: SocketAddr, to: SocketAddr, delay_ms: Arc<AtomicU64>) {
    let listener = TcpListener::bind(on).expect("the relay can listen");
    thread::spawn(move || {
        for guest in listener.incoming().flatten() {
            // Whoever dials a node that is not there is told so in the same way.
            let Ok(host) = TcpStream::connect(to) else { continue };
            let both = [&guest, &host].map(|stream| {
                stream.set_nodelay(true).expect("an option can be set");
                stream.try_clone().expect("a second handle")
            });
            let [guest_back, host_back] = both;
            pass(guest, host, delay_ms.clone());
            pass(host_back, guest_back, Arc::default());
        }
    });
}

/// Passes bytes on in one direction, each the delay after it came.
fn pass(mut from: TcpStream, mut to: TcpStream, delay_ms: Arc<AtomicU64>) {
    let (sender, receiver) = mpsc::sync_channel::<(Instant, Vec<u8>)>(10_000);
    thread::spawn(move || {
        for (due, bytes) in receiver {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        // One that is closed already need not be closed again.
        let _ = to.shutdown(Shutdown::Write);
    });
    thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let due = Instant::now() + Duration::from_millis(delay_ms.load(Ordering::Relaxed));
            if sender.send((due, buffer[..count].to_vec())).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Read);
    });
}
