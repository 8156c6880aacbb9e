//! The sockets in use, and what is set on them.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

#[cfg(not(feature = "simulation"))]
pub use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
#[cfg(not(feature = "simulation"))]
pub use tokio::net::{TcpListener, TcpStream};
#[cfg(feature = "simulation")]
pub use turmoil::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
#[cfg(feature = "simulation")]
pub use turmoil::net::{TcpListener, TcpStream};

/// How quiet a connection may be before its end is doubted.
#[derive(Clone, Copy, Debug)]
pub struct Vigilance {
    /// Silence after which the kernel begins to probe.
    pub silence: Duration,
    /// The time between its probes.
    pub interval: Duration,
    /// So many unanswered probes end the connection; none: the system's number.
    pub probes: Option<u32>,
    /// How long sent bytes may stay unacknowledged before the connection breaks; none: the system's quarter of an hour.
    pub unheard: Option<Duration>,
}

#[cfg(not(feature = "simulation"))]
mod real {
    use super::{SocketAddr, TcpListener, TcpStream, Vigilance, io};
    use std::os::fd::AsRawFd;
    use tokio::net::{TcpSocket, lookup_host};

    /// The addresses of a host to listen on.
    pub async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(lookup_host((host, port)).await?.collect())
    }

    /// Opens a listener. A restart need not wait until the system has forgotten the connections of the process before.
    pub async fn listen_at(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        if address.is_ipv6() {
            socket2::SockRef::from(&socket).set_only_v6(true)?;
        }
        socket.bind(address)?;
        socket.listen(backlog)
    }

    /// Has dead ends noticed.
    pub fn watch(stream: &TcpStream, vigilance: Vigilance) -> io::Result<()> {
        let mut keepalive = socket2::TcpKeepalive::new().with_time(vigilance.silence).with_interval(vigilance.interval);
        if let Some(probes) = vigilance.probes {
            keepalive = keepalive.with_retries(probes);
        }
        let socket = socket2::SockRef::from(stream);
        #[cfg(target_os = "linux")]
        if let Some(unheard) = vigilance.unheard {
            socket.set_tcp_user_timeout(Some(unheard))?;
        }
        socket.set_tcp_keepalive(&keepalive)
    }

    /// The connection's file descriptor.
    pub fn descriptor(stream: &TcpStream) -> i32 {
        stream.as_raw_fd()
    }

    /// Whether the other end is seen to be gone, now. Reads nothing.
    pub async fn is_gone(stream: &TcpStream) -> bool {
        let look = tokio::time::timeout(std::time::Duration::ZERO, stream.ready(tokio::io::Interest::READABLE)).await;
        matches!(look, Ok(Ok(ready)) if ready.is_read_closed()) || matches!(look, Ok(Err(_)))
    }
}

#[cfg(feature = "simulation")]
mod painted {
    use super::{SocketAddr, TcpListener, TcpStream, Vigilance, io};
    use std::net::Ipv4Addr;

    /// Every simulated host has one address, and listens on all.
    pub async fn resolve(_host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(vec![(Ipv4Addr::UNSPECIFIED, port).into()])
    }

    /// Opens a listener.
    pub async fn listen_at(address: SocketAddr, _backlog: u32) -> io::Result<TcpListener> {
        TcpListener::bind(address).await
    }

    /// A simulated connection has no kernel that could watch it.
    pub fn watch(_stream: &TcpStream, _vigilance: Vigilance) -> io::Result<()> {
        Ok(())
    }

    /// No simulated connection has one.
    pub fn descriptor(_stream: &TcpStream) -> i32 {
        -1
    }

    /// Cannot be seen without reading.
    pub async fn is_gone(_stream: &TcpStream) -> bool {
        false
    }
}

#[cfg(feature = "simulation")]
pub use painted::{descriptor, is_gone, listen_at, resolve, watch};
#[cfg(not(feature = "simulation"))]
pub use real::{descriptor, is_gone, listen_at, resolve, watch};
