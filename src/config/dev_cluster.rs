//! What `--dev-cluster N` makes of the other flags.
//!
//! # Contract
//! - `--port` is the first node's; the others have the ports after it. `--dir` holds the nodes' directories.
//! - What each node must have a value of its own of, and gets it from its port, is refused as a flag: it would be ignored.
//!   In a file it is overridden, as any flag overrides the file.

use super::{CLUSTER_PORT_OFFSET, ConfigError};

/// The first node's port for clients, unless `--port` says another.
pub const FIRST_PORT: u16 = 7001;

/// What follows from each node's port, or from its being a node of such a cluster.
const FOLLOWS: [&str; 6] =
    ["cluster-port", "cluster-view-port", "cluster-announce-port", "cluster-announce-bus-port", "seeds", "bind"];

/// The nodes to start on this machine for trying out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DevCluster {
    /// How many.
    pub nodes: u16,
    /// The first one's port for clients.
    pub first_port: u16,
}

impl DevCluster {
    /// So many nodes, where these flags put them.
    pub fn new(nodes: u16, flags: &[(String, String)]) -> Result<DevCluster, ConfigError> {
        let given = |name: &str| flags.iter().find(|(given, _)| given == name);
        if let Some(name) = FOLLOWS.iter().find(|name| given(name).is_some()) {
            let why = format!("--{name} cannot be given with --dev-cluster: each node's own follows from its port");
            return Err(ConfigError::Usage(why));
        }
        let Some((_, port)) = given("port") else { return Ok(DevCluster { nodes, first_port: FIRST_PORT }) };
        let last = u16::MAX - CLUSTER_PORT_OFFSET - (nodes - 1);
        match port.parse() {
            Ok(first_port) if (1..=last).contains(&first_port) => Ok(DevCluster { nodes, first_port }),
            _ => Err(ConfigError::Usage(format!(
                "--port {port} cannot be the first of {nodes} nodes with --dev-cluster: it must be between 1 and {last}"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(nodes: u16, flags: &[(&str, &str)]) -> Result<u16, String> {
        let flags: Vec<_> = flags.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
        DevCluster::new(nodes, &flags).map(|cluster| cluster.first_port).map_err(|error| error.to_string())
    }

    #[test]
    fn the_first_port_is_the_flag_s() {
        assert_eq!(asked(3, &[("r", "1"), ("dir", "here")]), Ok(7001));
        assert_eq!(asked(3, &[("port", "7640")]), Ok(7640));
        assert_eq!((asked(1, &[("port", "55535")]), asked(64, &[("port", "55472")])), (Ok(55535), Ok(55472)));
        for (nodes, port) in [(1, "55536"), (64, "55473"), (3, "0")] {
            let refused = asked(nodes, &[("port", port)]).unwrap_err();
            assert!(refused.starts_with(&format!("--port {port} cannot be the first of {nodes} nodes")), "{refused}");
        }
    }

    #[test]
    fn what_would_be_ignored_is_refused() {
        for name in FOLLOWS {
            let refused = asked(3, &[("port", "7640"), (name, "1")]).unwrap_err();
            assert!(refused.starts_with(&format!("--{name} cannot be given with --dev-cluster")), "{refused}");
        }
    }
}
