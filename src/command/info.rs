//! INFO: what operators, dashboards and client libraries read of a node.
//!
//! Contract: lines are `key:value` and CRLF under `# Section`; sections come in Redis's order, each once, however often it
//! is named. Unknown sections are ignored. All of Redis 7.0's keys are there (facts of the process come from /proc); a key
//! of which we have no such thing has the value that is true here: no fork ever ran, no script is cached. Nothing here
//! asks other nodes: what is counted is this node's.

mod counted;
mod dynamo;
mod process;

use super::step::Step;
use super::{Asked, Server, done, latency};
use crate::resp::reply::Reply;
use crate::session::Face;
use bytes::Bytes;
use std::fmt::Write;
use std::sync::Arc;

const SECTIONS: [&str; 14] = [
    "server",
    "clients",
    "memory",
    "persistence",
    "stats",
    "replication",
    "cpu",
    "modules",
    "commandstats",
    "errorstats",
    "latencystats",
    "cluster",
    "keyspace",
    "dynamo",
];

/// Sections that are shown only when named, or with `all`.
const ON_DEMAND: [&str; 2] = ["commandstats", "latencystats"];

/// `INFO [section …]`
pub fn info(asked: &mut Asked, words: &[Bytes]) -> Step {
    done(Reply::Verbatim(render(asked.server, asked.session.face, &wanted(&words[1..]))))
}

/// The sections that the words name, in order.
fn wanted(words: &[Bytes]) -> Vec<&'static str> {
    let named = |name: &str| words.iter().any(|word| word.eq_ignore_ascii_case(name.as_bytes()));
    let (all, default) = (named("all") || named("everything"), words.is_empty() || named("default"));
    let takes = |section: &&str| all || named(section) || (default && !ON_DEMAND.contains(section));
    SECTIONS.into_iter().filter(takes).collect()
}

fn render(server: &Arc<Server>, face: Face, wanted: &[&'static str]) -> String {
    let mut out = String::new();
    for section in wanted {
        if !out.is_empty() {
            out.push_str("\r\n");
        }
        let title = section[..1].to_uppercase() + &section[1..];
        let title = if *section == "cpu" { "CPU" } else { &title };
        line(&mut out, format_args!("# {title}"));
        match *section {
            "server" => process::server(server, face, &mut out),
            "clients" => process::clients(server, &mut out),
            "memory" => process::memory(server, &mut out),
            "persistence" => process::persistence(server, &mut out),
            "stats" => counted::stats(server, &mut out),
            "replication" => process::replication(server, &mut out),
            "cpu" => process::cpu(&mut out),
            "commandstats" => counted::commands(server, &mut out),
            "errorstats" => counted::errors(server, &mut out),
            "cluster" => line(&mut out, format_args!("cluster_enabled:1")),
            "keyspace" => process::keyspace(server, &mut out),
            "dynamo" => dynamo::dynamo(server, &mut out),
            "latencystats" => {
                latency::info_lines(server).iter().for_each(|text| line(&mut out, format_args!("{text}")));
            }
            // No modules.
            _ => {}
        }
    }
    out
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = write!(out, "{text}\r\n");
}

/// Writes `name:value` lines.
macro_rules! facts {
    ($out:expr, $($name:literal: $value:expr),* $(,)?) => {
        $($crate::command::info::line($out, format_args!(concat!($name, ":{}"), $value));)*
    };
}
use facts;

#[cfg(test)]
mod tests {
    use super::*;

    fn sections(text: &str) -> Vec<&'static str> {
        let words: Vec<Bytes> = text.split_whitespace().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        wanted(&words)
    }

    #[test]
    fn sections_come_once_and_in_order() {
        assert_eq!(sections("keyspace SERVER server nothing"), ["server", "keyspace"]);
        assert_eq!(sections("everything"), SECTIONS);
        assert_eq!(sections("all"), SECTIONS);
        assert!(!sections("").contains(&"commandstats"));
        assert_eq!(sections("default latencystats commandstats"), SECTIONS);
        assert!(sections("nothing").is_empty());
    }
}
