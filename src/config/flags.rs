//! The command line: `dynamis-server [CONFIG.toml] [--key value ...]`.
//!
//! Its flags are the table's names, so whatever the file can say a flag can say too. Redis's fixed facts may be stated
//! (`--appendonly yes`), and what has no effect here may be set (`--hz 100`), but neither is advertised.

use super::dev_cluster::FIRST_PORT;
use super::table::{SETTINGS, Setting};
use super::{Config, ConfigError, fixed, inert};
use clap::builder::ValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgMatches, Command};
use std::ffi::OsString;
use std::path::PathBuf;

/// The file's place on the command line.
const FILE: &str = "CONFIG.toml";
/// The one flag that is no setting: it starts a whole cluster for trying out.
const DEV_CLUSTER: &str = "dev-cluster";
/// The most nodes that flag starts.
const DEV_NODES_MAX: i64 = 64;

/// What a command line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flags {
    /// Print this and end: `--help`, `--version`.
    Print(String),
    /// Start.
    Run {
        /// The configuration file, if one is named.
        file: Option<PathBuf>,
        /// How many nodes to start on this machine for trying out, if asked to.
        dev_cluster: Option<u16>,
        /// The settings given as flags: name and text, in the table's order.
        overrides: Vec<(String, String)>,
    },
}

/// Reads a command line; the first argument is the program's own name. Values are not parsed yet.
pub fn parse(args: impl Iterator<Item = OsString>) -> Result<Flags, ConfigError> {
    match command().try_get_matches_from(args) {
        Ok(matches) => Ok(flags(matches)),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(Flags::Print(error.to_string())),
            ErrorKind::UnknownArgument => Err(unknown(&error)),
            _ => Err(usage(&error)),
        },
    }
}

fn flags(mut matches: ArgMatches) -> Flags {
    let overrides = Config::names().filter_map(|name| Some((name.to_string(), matches.remove_one(name)?))).collect();
    Flags::Run { file: matches.remove_one(FILE), dev_cluster: matches.remove_one(DEV_CLUSTER), overrides }
}

/// The command, built from the table.
fn command() -> Command {
    let file = Arg::new(FILE)
        .value_parser(ValueParser::path_buf())
        .help("The configuration file; config/dynamis.toml explains every key");
    let dev_cluster = Arg::new(DEV_CLUSTER)
        .long(DEV_CLUSTER)
        .value_name("N")
        .value_parser(clap::value_parser!(u16).range(1..=DEV_NODES_MAX))
        .help(format!(
            "Start a cluster of N nodes on this machine for trying out, the first at --port [{FIRST_PORT}], the others at \
             the ports after it; Ctrl-C stops them all"
        ));
    let fixed = fixed::facts().map(|fact| fact.name).chain(inert::names());
    let fixed = fixed.map(|name| Arg::new(name).long(name).hide(true));
    Command::new("dynamis-server")
        .version(env!("CARGO_PKG_VERSION"))
        .about(env!("CARGO_PKG_DESCRIPTION"))
        .after_help(
            "Flags override the file, the file overrides the defaults. -h is short, --help explains each setting.",
        )
        .next_line_help(true)
        .args([file, dev_cluster])
        .args(SETTINGS.iter().map(flag))
        .args(fixed)
}

/// One setting as a flag.
fn flag(setting: &'static Setting) -> Arg {
    let (first, _) = setting.meaning.split_once(". ").unwrap_or((setting.meaning.trim_end_matches('.'), ""));
    let default = if setting.default.is_empty() { "empty" } else { setting.default };
    let unit = if setting.unit.is_empty() { String::new() } else { format!(" {}", setting.unit) };
    Arg::new(setting.name)
        .long(setting.name)
        .value_name(if setting.unit.is_empty() { "value" } else { setting.unit })
        .help_heading(setting.group.split(':').next())
        .help(format!("{first} [{default}]"))
        .long_help(format!("{}\n[default: {default}{unit}] [range: {}]", setting.meaning, setting.range))
}

/// An argument nobody knows, with the nearest flag.
fn unknown(error: &clap::Error) -> ConfigError {
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else { return usage(error) };
    match argument.strip_prefix("--") {
        Some(name) => {
            let name = name.split('=').next().unwrap_or_default();
            ConfigError::mistyped("flag", name, Config::names().chain([DEV_CLUSTER, "help", "version"]))
        }
        None => ConfigError::Usage(format!("{argument:?} is neither a flag nor the one configuration file")),
    }
}

/// Clap's own sentence, without what it prints around it.
fn usage(error: &clap::Error) -> ConfigError {
    let text = error.to_string();
    let sentence = text.lines().next().unwrap_or_default();
    ConfigError::Usage(sentence.trim_start_matches("error: ").to_string())
}

#[cfg(test)]
mod tests {
    use super::{Flags, command, parse};
    use crate::config::table::SETTINGS;
    use std::path::PathBuf;

    fn read(line: &str) -> Result<Flags, String> {
        let words = std::iter::once("dynamis-server").chain(line.split(' ').filter(|word| !word.is_empty()));
        parse(words.map(Into::into)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_command_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn file_flags_and_dev_cluster_are_read() {
        let flags = read("a.toml --port 7001 --seeds=a:1 --dev-cluster 3").unwrap();
        let overrides =
            [("port", "7001"), ("seeds", "a:1")].map(|(name, text)| (name.to_string(), text.to_string())).to_vec();
        assert_eq!(flags, Flags::Run { file: Some(PathBuf::from("a.toml")), dev_cluster: Some(3), overrides });
        let empty = parse(["dynamis-server", "--requirepass", ""].into_iter().map(Into::into)).unwrap();
        assert!(
            matches!(empty, Flags::Run { overrides, .. } if overrides == [("requirepass".to_string(), String::new())])
        );
        assert_eq!(read(""), Ok(Flags::Run { file: None, dev_cluster: None, overrides: vec![] }));
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        assert_eq!(read("--prot 1").unwrap_err(), "there is no flag prot; the nearest known one is port");
        assert_eq!(
            read("--cluster_port=1").unwrap_err(),
            "there is no flag cluster_port; the nearest known one is cluster-port"
        );
        assert!(read("a.toml b.toml").unwrap_err().starts_with("\"b.toml\" is neither a flag nor"));
        assert!(read("--port").unwrap_err().contains("value is required"));
        assert!(read("--port 1 --port 2").unwrap_err().contains("multiple times"));
        assert!(read("--dev-cluster 0").is_err() && read("--dev-cluster 65").is_err());
    }

    #[test]
    fn help_names_every_setting_and_its_default() {
        let (Flags::Print(short), Flags::Print(long)) = (read("-h").unwrap(), read("--help").unwrap()) else {
            panic!()
        };
        for setting in SETTINGS {
            assert!(short.contains(&format!("--{} <", setting.name)), "{short}");
            assert!(long.contains(setting.meaning), "{}", setting.name);
        }
        assert!(!long.contains("--appendonly"));
        assert_eq!(read("--version"), Ok(Flags::Print(format!("dynamis-server {}\n", env!("CARGO_PKG_VERSION")))));
    }
}
