//! What COMMAND INFO and COMMAND DOCS say of each command that Redis 7.0 has, too: the same, line by line.
//!
//! `described.txt` is what redis-server 7.0.15 says of the commands of the groups that we have a part in, one block for
//! each command and subcommand. With `COMPAT_ORACLE` set, the file is held against that server. Summaries, complexities
//! and histories are our own words or none: they say what is true here.

use super::Subject;
use crate::harness::resp::{Connection, Value};
use std::collections::{BTreeMap, BTreeSet};

/// What Redis says.
const DESCRIBED: &str = include_str!("described.txt");

/// The groups of the documentation that the file covers.
const GROUPS: &str = "string bitmap generic connection server cluster transactions pubsub scripting";

/// Commands that Redis 7.0 has not, and why we have them. A name that ends in `*` stands for all that begin so.
const OURS: &[(&str, &str)] = &[
    ("dyn.*", "siblings, contexts and quorums"),
    ("client|setinfo", "Redis 7.2 has it, and libraries send it"),
    ("client|no-touch", "Redis 7.2 has it"),
    ("cluster|myshardid", "Redis 7.2 has it"),
];

/// Lines that differ on purpose: command, line, why.
const DIFFERENT: &[(&str, &str, &str)] = &[
    ("client|kill", "arguments", "MAXAGE is there, and the words of SKIPME and TYPE are told one by one"),
    ("client|list", "arguments", "TYPE is told as for KILL"),
    ("debug", "doc_flags", "Redis marks its own system commands"),
    ("command|getkeys", "arguments", "Redis 7.0 left them out"),
    ("command|getkeysandflags", "arguments", "Redis 7.0 left them out"),
];

/// Every command that Redis has is described as Redis describes it.
#[test]
fn commands_are_described_as_in_redis() {
    let subject = Subject::start();
    let mut connection = subject.connect(3);
    let described = describe(&mut connection);
    let expected = blocks(DESCRIBED);
    if subject.cluster.is_none() {
        let missing = expected.iter().find(|(name, lines)| described.get(*name) != Some(lines));
        assert!(missing.is_none() && described.len() == expected.len(), "the file should be:\n{}", file(&described));
        return;
    }
    let is_ours = |name: &str| {
        OURS.iter().any(|(ours, _)| ours.strip_suffix('*').map_or(*ours == name, |start| name.starts_with(start)))
    };
    let mut wrong = Vec::new();
    for (name, lines) in &described {
        let Some(wanted) = expected.get(name) else {
            if !is_ours(name) {
                wrong.push(format!("{name}: Redis has no such command, and OURS does not say why we have it"));
            }
            continue;
        };
        for part in wanted.keys().chain(lines.keys()).collect::<BTreeSet<_>>() {
            let is_meant = DIFFERENT.iter().any(|(command, line, _)| command == name && line == part);
            let [redis, ours] = [wanted, lines].map(|lines| lines.get(part).map_or("", String::as_str));
            match (redis == ours, is_meant) {
                (false, false) => wrong.push(format!("{name} {part}\n    Redis {redis}\n    ours  {ours}")),
                (true, true) => wrong.push(format!("{name} {part} is as in Redis; DIFFERENT need not name it")),
                _ => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{} lines differ:\n{}", wrong.len(), wrong.join("\n"));
}

type Lines = BTreeMap<String, String>;

fn blocks(text: &str) -> BTreeMap<String, Lines> {
    let mut blocks: BTreeMap<String, Lines> = BTreeMap::new();
    let mut name = String::new();
    for line in text.lines() {
        match line.strip_prefix("  ").and_then(|line| line.split_once(' ')) {
            Some((part, rest)) => {
                blocks.entry(name.clone()).or_default().insert(part.to_owned(), rest.to_owned());
            }
            None => line.clone_into(&mut name),
        }
    }
    blocks
}

fn file(described: &BTreeMap<String, Lines>) -> String {
    let mut text = String::new();
    for (name, lines) in described {
        text += &format!("{name}\n");
        for (part, rest) in lines {
            text += &format!("  {part} {rest}\n");
        }
    }
    text
}

/// Everything that a server says of its commands.
fn describe(connection: &mut Connection) -> BTreeMap<String, Lines> {
    let docs = connection.run("COMMAND DOCS");
    let mut described = BTreeMap::new();
    for entry in connection.run("COMMAND").items() {
        let name = entry.items()[0].text();
        let doc = docs.field(&name);
        if !GROUPS.split(' ').chain(["dynamis"]).any(|group| doc.field("group").text() == group) {
            continue;
        }
        described.insert(name, lines(entry, doc));
        for subcommand in entry.items()[9].items() {
            let name = subcommand.items()[0].text();
            described.insert(name.clone(), lines(subcommand, doc.field("subcommands").field(&name)));
        }
    }
    described
}

fn lines(entry: &Value, doc: &Value) -> Lines {
    let fields = entry.items();
    let docs =
        ["since", "group", "doc_flags", "deprecated_since", "replaced_by"].map(|name| (name, optional(doc, name)));
    let docs = docs.into_iter().filter_map(|(name, value)| value.map(|value| (name, sorted(value))));
    let arguments = optional(doc, "arguments").map_or(String::new(), arguments);
    [
        ("arity", fields[1].integer().to_string()),
        ("flags", sorted(&fields[2])),
        ("range", [3, 4, 5].map(|at| fields[at].integer().to_string()).join(" ")),
        ("categories", sorted(&fields[6])),
        ("tips", sorted(&fields[7])),
        ("keys", fields[8].items().iter().map(keys).collect::<Vec<_>>().join("; ")),
        ("arguments", arguments),
    ]
    .into_iter()
    .chain(docs)
    .filter(|(_, text)| !text.is_empty())
    .map(|(name, text)| (name.to_owned(), text))
    .collect()
}

fn optional<'a>(map: &'a Value, name: &str) -> Option<&'a Value> {
    let Value::Map(entries) = map else { panic!("a map was expected, not {map}") };
    entries.iter().find(|(key, _)| key.text() == name).map(|(_, value)| value)
}

/// The words of a set, in order; a text as it is.
fn sorted(value: &Value) -> String {
    let Value::Array(items) = value else { return value.text() };
    let mut words: Vec<String> = items.iter().map(Value::text).collect();
    words.sort_unstable();
    words.join(" ")
}

fn keys(specification: &Value) -> String {
    let part = |name: &str| {
        let part = specification.field(name);
        format!("{} {}", part.field("type").text(), part.field("spec"))
    };
    let note = optional(specification, "notes").map_or(String::new(), |note| format!(" ({})", note.text()));
    format!("{} {} {}{note}", sorted(specification.field("flags")), part("begin_search"), part("find_keys"))
}

/// `name:type`, `#n` for a key of the nth specification, `=TOKEN`, flags in parentheses, `[…]` around what is inside.
fn arguments(list: &Value) -> String {
    let one = |argument: &Value| {
        let mut text = format!("{}:{}", argument.field("name").text(), argument.field("type").text());
        if let Some(index) = optional(argument, "key_spec_index") {
            text += &format!("#{}", index.integer());
        }
        if let Some(token) = optional(argument, "token") {
            text += &format!("={}", token.text());
        }
        if let Some(flags) = optional(argument, "flags") {
            text += &format!("({})", sorted(flags));
        }
        if let Some(inside) = optional(argument, "arguments") {
            text += &format!("[{}]", arguments(inside));
        }
        text
    };
    list.items().iter().map(one).collect::<Vec<_>>().join(" ")
}
