//! The manual `config/dynamis.toml`, as the table says it must read. For tests only: the file itself is for people.

use super::table::{SETTINGS, Setting};
use super::value::Value;
use super::{Config, file};

const MANUAL: &str = include_str!("../../config/dynamis.toml");
const WIDTH: usize = 110;

const HEAD: &str = "\
    The manual of dynamis-server's configuration: every key, at its default. A file needs only the keys it changes. \
    Each key is also a flag of the same name, which overrides the file: dynamis-server my.toml --port 7001. CONFIG \
    GET shows the values of a running node. Amounts of memory are numbers of bytes or texts like \"512mb\"; yes and \
    no may be written true and false. An unknown key is refused.";

const DATABASES: &str = "\
    [[database]] tables give single databases (SELECT 0 to 15) a policy of their own: index, and any of n, r, w, dw, \
    sloppy and conflict; what is left out is as above. They are read once, by the node that founds a new cluster. \
    From then on policies are replicated cluster state, the same on every node: DYN.DATABASE shows and changes them, \
    and editing this file does nothing. See business-merge.toml, newest-wins.toml and read-engine.toml.";

const EXAMPLE: &str =
    "# [[database]]\n# index = 1\n# n = 3\n# r = 1\n# w = 3\n# dw = 1\n# sloppy = \"no\"\n# conflict = \"newest\"\n";

/// Breaks a text into comment lines.
fn comment(text: &str, out: &mut String) {
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            out.push_str(&line);
            out.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    out.push_str(&line);
    out.push('\n');
}

fn entry(setting: &Setting, out: &mut String) {
    comment(setting.meaning, out);
    let unit = if setting.unit.is_empty() { String::new() } else { format!("Unit: {}. ", setting.unit) };
    let default = if setting.default.is_empty() { "empty" } else { setting.default };
    let when = if setting.mutable { "CONFIG SET changes it while the node runs" } else { "Read at start" };
    comment(&format!("{unit}Default: {default}. Range: {}. {when}.", setting.range), out);
    let number = setting.default.parse::<u64>().is_ok();
    let value = if number { setting.default.to_string() } else { format!("{:?}", setting.default) };
    out.push_str(&format!("{} = {value}\n\n", setting.name));
}

fn render() -> String {
    let mut out = String::new();
    comment(HEAD, &mut out);
    out.push('\n');
    let mut group = "";
    for setting in SETTINGS {
        if setting.group != group {
            group = setting.group;
            out.push_str("# ");
            out.push_str(&"=".repeat(WIDTH - 2));
            out.push('\n');
            comment(&format!("{group}."), &mut out);
            out.push('\n');
        }
        entry(setting, &mut out);
    }
    comment(DATABASES, &mut out);
    out.push_str(EXAMPLE);
    out
}

#[test]
fn the_manual_is_what_the_table_says() {
    let expected = render();
    if let Some((found, wanted)) = MANUAL.lines().zip(expected.lines()).find(|(found, wanted)| found != wanted) {
        panic!("config/dynamis.toml says\n{found}\nwhere the table says\n{wanted}\nThe whole manual:\n{expected}");
    }
    assert_eq!(MANUAL.len(), expected.len(), "the manual:\n{expected}");
}

#[test]
fn the_manual_sets_every_key_and_loads_as_the_defaults() {
    assert_eq!(file::parse(MANUAL), Ok(Config::default()));
    let keys = MANUAL.parse::<toml::Table>().unwrap();
    assert!(SETTINGS.iter().all(|setting| keys.contains_key(setting.name)) && keys.len() == SETTINGS.len());
}

#[test]
fn the_manuals_example_of_a_database_loads() {
    let live: String = EXAMPLE.lines().map(|line| format!("{}\n", line.trim_start_matches("# "))).collect();
    let config = file::parse(&live).unwrap();
    assert_eq!(config.check(), Ok(()));
    assert_eq!(config.for_database(1).conflict.show(&SETTINGS[0].range), "newest");
}
