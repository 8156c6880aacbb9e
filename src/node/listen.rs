//! The sockets a node listens on, opened before anything else: a port in use is the commonest reason not to start.

use crate::world::net::{TcpListener, listen_at, resolve};
use std::io;
use std::net::SocketAddr;

/// Why a port cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// A name in `bind` cannot be resolved.
    #[error("the address {host} in bind cannot be resolved: {why}")]
    Unresolved {
        /// The name.
        host: String,
        /// What the system said.
        why: io::Error,
    },
    /// The port is taken.
    #[error(
        "{address} is in use by another program; stop it, or choose another port (port, cluster-view-port, cluster-port)"
    )]
    InUse {
        /// Address and port.
        address: SocketAddr,
    },
    /// Anything else.
    #[error("cannot listen on {address}: {why}")]
    Refused {
        /// Address and port.
        address: SocketAddr,
        /// What the system said.
        why: io::Error,
    },
}

/// Listens on every host of `bind` at `port` (0: the system chooses), or on none. `*` is every IPv4 address; a host with
/// `-` before it may fail. Whoever connects waits until the socket is served.
pub async fn listen(bind: &[String], port: u16, backlog: u32) -> Result<Vec<TcpListener>, ListenError> {
    let mut listeners = Vec::new();
    for host in bind {
        match listen_on(host.strip_prefix('-').unwrap_or(host), port, backlog).await {
            Ok(opened) => listeners.extend(opened),
            Err(why) if host.starts_with('-') => tracing::info!("{why}; bind says it may fail"),
            Err(why) => return Err(why),
        }
    }
    Ok(listeners)
}

/// Opens the listeners of one host.
async fn listen_on(host: &str, port: u16, backlog: u32) -> Result<Vec<TcpListener>, ListenError> {
    let name = if host == "*" { "0.0.0.0" } else { host };
    let unresolved = |why| ListenError::Unresolved { host: host.to_string(), why };
    let mut listeners = Vec::new();
    for address in resolve(name, port).await.map_err(unresolved)? {
        let opened = listen_at(address, backlog).await.map_err(|why| match why.kind() {
            io::ErrorKind::AddrInUse => ListenError::InUse { address },
            _ => ListenError::Refused { address, why },
        })?;
        listeners.push(opened);
    }
    Ok(listeners)
}
