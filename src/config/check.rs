//! Settings that are each allowed and contradict each other.
//!
//! Every sentence names both keys and both values, and what to do: whoever reads it at three in the morning should not
//! need the manual.

use super::value::StorageEngine;
use super::{CLUSTER_PORT_OFFSET, Config, ConfigError, PortChoice, VIEW_PORT_OFFSET};

impl Config {
    /// Finds contradictions; the first one is the error.
    pub fn check(&self) -> Result<(), ConfigError> {
        check_copies(self).map_err(ConfigError::Contradiction)?;
        check_addresses(self).map_err(ConfigError::Contradiction)?;
        for (at, database) in self.databases.iter().enumerate() {
            let index = database.index;
            if self.databases[..at].iter().any(|other| other.index == index) {
                return Err(ConfigError::Database(format!("{index} stands there twice; keep one")));
            }
            let settings = database.laid_over(self);
            check_copies(&settings).map_err(|why| ConfigError::Database(format!("{index}: {why}")))?;
        }
        Ok(())
    }
}

/// R, W ≤ N; DW ≤ W; and nobody waits for an fsync that cannot come.
fn check_copies(config: &Config) -> Result<(), String> {
    let Config { n, r, w, dw, .. } = *config;
    let exceeds = |small: &str, small_value: u8, large: &str, large_value: u8, because: &str| {
        let message = format!("{small} ({small_value}) must not exceed {large} ({large_value}): {because}");
        if small_value > large_value { Err(message) } else { Ok(()) }
    };
    exceeds("r", r, "n", n, "a read cannot wait for more replicas than there are copies")?;
    exceeds("w", w, "n", n, "a write cannot wait for more replicas than there are copies")?;
    exceeds("dw", dw, "w", w, "the durable acknowledgements are counted among those a write waits for")?;
    if dw > 0 && config.storage_engine == StorageEngine::Memory {
        return Err(format!("dw ({dw}) must be 0 with storage-engine (memory): memory never acknowledges durably"));
    }
    Ok(())
}

/// Three ports that are three, and an address that others can reach.
fn check_addresses(config: &Config) -> Result<(), String> {
    let Config { port, cluster_port, .. } = *config;
    if cluster_port == 0 && port == 0 {
        return Err(
            "port (0) lets the system choose, so cluster-port (0) cannot follow it: set cluster-port".to_string()
        );
    }
    if cluster_port == 0 && port.checked_add(CLUSTER_PORT_OFFSET).is_none() {
        return Err(format!(
            "port ({port}) plus {CLUSTER_PORT_OFFSET} is no port, so cluster-port (0) cannot follow it: \
             set cluster-port"
        ));
    }
    if cluster_port == port {
        return Err(format!("cluster-port ({cluster_port}) must differ from port ({port})"));
    }
    if config.cluster_view_port == PortChoice::Auto && port.checked_add(VIEW_PORT_OFFSET).is_none() {
        return Err(format!(
            "port ({port}) plus {VIEW_PORT_OFFSET} is no port, so cluster-view-port (auto) cannot follow it: set \
             cluster-view-port, or 0 for no cluster view"
        ));
    }
    if let Some(view) = config.view_port() {
        for (name, other) in [("port", port), ("cluster-port", config.cluster_port())] {
            if view == other {
                let shown = config.get("cluster-view-port").unwrap_or_default();
                return Err(format!("cluster-view-port ({shown}: {view}) must differ from {name} ({other})"));
            }
        }
    }
    let first = config.bind.first().map(String::as_str).unwrap_or_default();
    if !config.seeds.is_empty() && config.cluster_announce_ip.is_empty() && matches!(first, "0.0.0.0" | "::") {
        return Err(format!(
            "bind ({first}) is every address of this machine and cluster-announce-ip (\"\") names none: set \
             cluster-announce-ip to the address where the other nodes reach this one"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, DatabaseSettings};

    fn complaint(pairs: &[(&str, &str)]) -> String {
        let mut config = Config::default();
        pairs.iter().for_each(|(name, text)| config.set(name, text).unwrap());
        config.check().unwrap_err().to_string()
    }

    #[test]
    fn contradictions_name_both_keys_and_values() {
        let cases: &[(&[(&str, &str)], &str)] = &[
            (&[("r", "4")], "r (4) must not exceed n (3)"),
            (&[("n", "1"), ("r", "1")], "w (2) must not exceed n (1)"),
            (&[("dw", "3")], "dw (3) must not exceed w (2)"),
            (&[("dw", "1"), ("storage-engine", "memory")], "dw (1) must be 0 with storage-engine (memory)"),
            (&[("port", "0")], "port (0) lets the system choose, so cluster-port (0)"),
            (&[("port", "60000")], "port (60000) plus 10000 is no port, so cluster-port (0)"),
            (&[("port", "7001"), ("cluster-port", "7001")], "cluster-port (7001) must differ from port (7001)"),
            (
                &[("port", "65000"), ("cluster-port", "1")],
                "port (65000) plus 1000 is no port, so cluster-view-port (auto)",
            ),
            (&[("cluster-view-port", "6379")], "cluster-view-port (6379: 6379) must differ from port (6379)"),
            (&[("cluster-port", "7379")], "cluster-view-port (auto: 7379) must differ from cluster-port (7379)"),
            (
                &[("bind", "*"), ("seeds", "a:1")],
                "bind (0.0.0.0) is every address of this machine and cluster-announce-ip (\"\")",
            ),
        ];
        for (pairs, sentence) in cases {
            let said = complaint(pairs);
            assert!(said.starts_with(sentence), "{said}");
        }
        assert_eq!(Config::default().check(), Ok(()));
    }

    #[test]
    fn databases_are_checked_over_the_rest() {
        let mut config = Config {
            databases: vec![DatabaseSettings { index: 3, n: Some(1), ..Default::default() }],
            ..Config::default()
        };
        assert!(config.check().unwrap_err().to_string().starts_with("[[database]] 3: r (2) must not exceed n (1)"));
        config.databases[0].r = Some(1);
        config.databases[0].w = Some(1);
        assert_eq!(config.check(), Ok(()));
        assert_eq!((config.for_database(3).n, config.for_database(2).n), (1, 3));
        config.databases.push(config.databases[0].clone());
        assert_eq!(config.check().unwrap_err().to_string(), "[[database]] 3 stands there twice; keep one");
    }
}
