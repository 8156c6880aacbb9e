//! Everything an operator can turn, in one table.
//!
//! Picture the label on an electrical panel: one line per switch, with its name, what it does, how it is set when it
//! leaves the factory, and whether you may touch it while the current is on. There is one label. The file's keys, the
//! command line's flags, `CONFIG GET` and `CONFIG SET`, `--help` and the manual `config/dynamis.toml` are all read off
//! it ([`table::SETTINGS`]), so none of them can say something else.
//!
//! # Contract
//! - A setting has Redis's name wherever Redis has one. Flags override the file, the file overrides the defaults.
//! - Every text is parsed and held against its range before it is stored; a refusal changes nothing.
//! - An unknown name is refused and the nearest known one is named; a mistyped key is never ignored.
//! - What each value allows alone may contradict another: [`Config::check`] says which two, in one sentence.
//! - Redis's facts that are no settings here ([`fixed`]: `appendonly` is always yes) are answered by
//!   [`Config::get`]; stating them is allowed, changing them is not. Redis's settings of what does not exist here
//!   ([`inert::INERT`]: `list-max-listpack-size`) may be set to anything Redis takes, without effect.
//! - `[[database]]` tables only *seed a new cluster*: from then on a database's policy is replicated cluster state.
//!
//! # Invariants
//! - `Config::default()` is what the table's default texts parse to, and what `config/dynamis.toml` loads as.
//! - [`Config::get`] gives a text that [`Config::set`] takes back to the same value.
//!
//! # What it refuses to do
//! It starts nothing, opens no socket, and reads and rewrites one file in one place ([`mod@load`]). It knows no idea of Dynamo:
//! whether a policy is wise is `policy`'s business, and what a value does is its user's.

pub mod check;
pub mod database;
pub mod dev_cluster;
pub mod error;
pub mod file;
pub mod fixed;
pub mod flags;
pub mod inert;
pub mod load;
pub mod output;
pub mod percentiles;
pub mod range;
pub mod rewrite;
pub mod table;
pub mod value;

#[cfg(test)]
mod manual;

pub use database::DatabaseSettings;
pub use dev_cluster::DevCluster;
pub use error::ConfigError;
pub use load::{Asked, Loaded, load};
pub use output::{OutputLimit, OutputLimits};
pub use table::Config;
pub use value::{AppendFsync, Conflict, DebugCommand, LogLevel, PortChoice, StorageEngine};

use table::{SETTINGS, Setting};

/// How many databases (Redis's SELECT) there are: 0 to 15.
pub const DATABASES: u8 = 16;

/// How far the bus port lies above the client port when `cluster-port` is 0.
pub const CLUSTER_PORT_OFFSET: u16 = 10_000;

/// How far the cluster view's port lies above the client port when `cluster-view-port` is auto.
pub const VIEW_PORT_OFFSET: u16 = 1_000;

impl Config {
    /// Every name `CONFIG GET` answers: settings, fixed facts, and what has no effect.
    pub fn names() -> impl Iterator<Item = &'static str> {
        let own = SETTINGS.iter().map(|setting| setting.name);
        own.chain(fixed::facts().map(|fact| fact.name)).chain(inert::names())
    }

    /// A setting's or fixed fact's value as `CONFIG GET` prints it (memory in bytes, yes or no). None: no such name.
    /// Names are compared without regard to case, as Redis does.
    pub fn get(&self, name: &str) -> Option<String> {
        if let Some(setting) = setting(name) {
            return Some((setting.get)(self, &setting.range));
        }
        if let Some(inert) = inert::find(name) {
            return Some(self.inert.get(inert.name).map_or(inert.default, String::as_str).to_string());
        }
        fixed::find(name).map(|fact| fact.value.to_string())
    }

    /// Parses `text`, checks its range and stores it, whether or not the setting may change while the node runs.
    /// A fixed fact may be set to the value it has. On an error nothing has changed.
    pub fn set(&mut self, name: &str, text: &str) -> Result<(), ConfigError> {
        if let Some(setting) = setting(name) {
            let quoted = if setting.secret { "(hidden)" } else { text };
            let refused = |why| ConfigError::refused(setting.name, quoted, why);
            return (setting.set)(self, text, &setting.range).map_err(refused);
        }
        if let Some(inert) = inert::find(name) {
            let value = inert.read(text).map_err(|why| ConfigError::refused(inert.name, text, why))?;
            match value == inert.default {
                true => self.inert.remove(inert.name),
                false => self.inert.insert(inert.name, value),
            };
            return Ok(());
        }
        match fixed::find(name) {
            Some(fact) if fact.value.eq_ignore_ascii_case(text) => Ok(()),
            Some(fact) => Err(ConfigError::Fixed { name: fact.name, value: fact.value, why: fact.why }),
            None => Err(ConfigError::unknown(name)),
        }
    }

    /// `CONFIG SET`: as [`Config::set`], and refuses what cannot change while the node runs. Where several pairs come
    /// together, change a clone and swap it in when all were taken.
    pub fn change(&mut self, name: &str, text: &str) -> Result<(), ConfigError> {
        let at_start = match (setting(name), inert::find(name)) {
            (Some(setting), _) => Some(setting.name).filter(|_| !setting.mutable),
            (None, inert) => inert.filter(|inert| inert.at_start).map(|inert| inert.name),
        };
        match at_start {
            Some(name) => Err(ConfigError::Immutable { name }),
            None => self.set(name, text),
        }
    }

    /// Whether its value must not be shown.
    pub fn is_secret(name: &str) -> bool {
        setting(name).is_some_and(|setting| setting.secret)
    }

    /// Whether `CONFIG SET` may change it while the node runs. None: no such name.
    pub fn mutable(name: &str) -> Option<bool> {
        let fixed = || fixed::find(name).map(|_| false);
        let inert = || inert::find(name).map(|inert| !inert.at_start);
        setting(name).map(|setting| setting.mutable).or_else(inert).or_else(fixed)
    }

    /// Whether it is a fact that no configuration changes.
    pub fn is_fixed(name: &str) -> bool {
        setting(name).is_none() && fixed::find(name).is_some()
    }

    /// The bus port: `cluster-port`, or `port` + 10000 when that is 0.
    pub fn cluster_port(&self) -> u16 {
        match self.cluster_port {
            0 => self.port.saturating_add(CLUSTER_PORT_OFFSET),
            port => port,
        }
    }

    /// The host that other nodes and clients are told: `cluster-announce-ip`, or the first one of `bind`.
    pub fn announced_host(&self) -> &str {
        match self.bind.first() {
            _ if !self.cluster_announce_ip.is_empty() => &self.cluster_announce_ip,
            Some(host) if host != "0.0.0.0" && host != "::" => host,
            _ => "127.0.0.1",
        }
    }

    /// The port at which other nodes are told to reach this one: `cluster-announce-bus-port`, or the bus port.
    pub fn announced_cluster_port(&self) -> u16 {
        match self.cluster_announce_bus_port {
            0 => self.cluster_port(),
            port => port,
        }
    }

    /// The port that cluster clients are told: `cluster-announce-port`, or the cluster view's; 0: the one for clients.
    pub fn announced_view_port(&self) -> u16 {
        match self.cluster_announce_port {
            0 => self.view_port().unwrap_or_default(),
            port => port,
        }
    }

    /// The cluster view's port: `cluster-view-port`, or `port` + 1000 when that is auto. None: there is no cluster view.
    pub fn view_port(&self) -> Option<u16> {
        match (self.cluster_view_port, self.port) {
            // Nobody can tell others what the system will choose.
            (PortChoice::Given(0), _) | (PortChoice::Auto, 0) => None,
            (PortChoice::Given(port), _) => Some(port),
            (PortChoice::Auto, port) => port.checked_add(VIEW_PORT_OFFSET),
        }
    }

    /// These settings with n, r, w, dw, sloppy and conflict as the `[[database]]` table of that index says, if any.
    pub fn for_database(&self, index: u8) -> Config {
        let database = self.databases.iter().find(|database| database.index == index);
        database.map_or_else(|| self.clone(), |database| database.laid_over(self))
    }
}

impl std::fmt::Debug for Config {
    /// Prints everything but secrets, which must not reach a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut fields = f.debug_struct("Config");
        for setting in SETTINGS {
            let shown = (setting.get)(self, &setting.range);
            let hidden = setting.secret && !shown.is_empty();
            fields.field(setting.name, if hidden { &"(hidden)" } else { &shown as &dyn std::fmt::Debug });
        }
        fields.field("database", &self.databases).finish()
    }
}

/// The table's row for a name, without regard to case.
fn setting(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::{Config, ConfigError, PortChoice, SETTINGS, fixed, inert};

    #[test]
    fn every_value_shown_can_be_set_and_is_shown_again() {
        let mut config = Config::default();
        for name in Config::names() {
            let shown = config.get(name).unwrap();
            config.set(name, &shown).unwrap();
            assert_eq!(config.get(&name.to_uppercase()).unwrap(), shown);
        }
        assert_eq!(config, Config::default());
        assert_eq!(
            (config.get("proto-max-bulk-len").unwrap(), config.get("save").unwrap()),
            ("536870912".into(), "".into())
        );
        assert_eq!(config.get("io-thread"), None);
    }

    #[test]
    fn names_are_unique_lower_case_and_explained() {
        let mut names: Vec<_> = Config::names().collect();
        let count = SETTINGS.len() + fixed::facts().count() + inert::names().count();
        assert_eq!(names.len(), count);
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(names.iter().all(|name| name.chars().all(|c| c.is_ascii_lowercase() || "-_".contains(c))));
        assert!(SETTINGS.iter().all(|setting| setting.meaning.ends_with('.') && setting.meaning.len() > 60));
    }

    #[test]
    fn what_cannot_change_at_run_time_is_refused_and_nothing_changes() {
        let mut config = Config::default();
        assert_eq!(config.change("port", "1").unwrap_err().reason(), "can't set immutable config");
        assert_eq!(
            config.change("maxmemory", "100mb").unwrap_err().reason(),
            "can't set immutable config: it is always '0' here, for values live on disk, so memory does not bound them"
        );
        assert_eq!(config.change("appendonly", "YES"), Ok(()));
        let refused = config.change("timeout", "x").unwrap_err();
        assert_eq!(refused.reason(), "argument couldn't be parsed into an integer");
        assert!(matches!(config.change("nonsense", "1"), Err(ConfigError::Unknown { .. })));
        assert_eq!(config, Config::default());
        config.change("TimeOut", "7").unwrap();
        assert_eq!(config.timeout, 7);
        assert_eq!(
            (Config::mutable("timeout"), Config::mutable("n"), Config::mutable("save")),
            (Some(true), Some(false), Some(false))
        );
        assert_eq!(Config::mutable("nonsense"), None);
    }

    #[test]
    fn the_bus_port_follows_the_client_port_unless_set() {
        let mut config = Config::default();
        assert_eq!(config.cluster_port(), 16379);
        config.cluster_port = 5;
        assert_eq!(config.cluster_port(), 5);
    }

    #[test]
    fn the_cluster_view_follows_the_client_port_unless_set_or_off() {
        let mut config = Config::default();
        assert_eq!(config.view_port(), Some(7379));
        config.cluster_view_port = PortChoice::Given(0);
        assert_eq!(config.view_port(), None);
        config.cluster_view_port = PortChoice::Given(5);
        assert_eq!(config.view_port(), Some(5));
        (config.port, config.cluster_view_port) = (0, PortChoice::Auto);
        assert_eq!(config.view_port(), None);
    }

    #[test]
    fn secrets_are_not_printed() {
        let mut config = Config::default();
        config.set("requirepass", "open-sesame").unwrap();
        config.set("cluster-secret", "open-sesame").unwrap();
        let printed = format!("{config:?}");
        assert!(!printed.contains("sesame") && printed.contains("(hidden)") && printed.contains("6379"));
    }
}
