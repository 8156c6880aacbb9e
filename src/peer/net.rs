//! The sockets in use. The rest of `peer` takes its types from here, so a simulation swaps this one file.

pub use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
pub use tokio::net::{TcpListener, TcpStream};

use std::io;
use std::time::Duration;

/// Silence after which the kernel begins to probe, and the time between its probes.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(5));

/// How long sent bytes may stay unacknowledged by the other kernel before the connection breaks. Without it a vanished
/// peer would be waited for a quarter of an hour.
#[cfg(target_os = "linux")]
const UNHEARD: Duration = Duration::from_secs(30);

/// Sets a new stream up for small, urgent messages: no waiting to fill packets, and dead ends are noticed.
pub fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE.0).with_interval(KEEPALIVE.1);
    let socket = socket2::SockRef::from(stream);
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNHEARD))?;
    socket.set_tcp_keepalive(&keepalive)
}
