//! COMMAND: the table, shown.
//!
//! Contract: everything here is read off [`super::table`]; nothing is said of a command that the dispatcher does not use.
//! Shapes are Redis 7's: ten elements for each command, maps for its documentation.

use super::arguments::{is, syntax_error};
use super::step::Step;
use super::table::argument::Argument;
use super::table::{Entry, Keys, table};
use super::{Asked, done, help_lines};
use crate::glob;
use crate::resp::reply::Reply;
use bytes::Bytes;

/// `COMMAND`
pub fn all(_asked: &mut Asked, _words: &[Bytes]) -> Step {
    done(Reply::Array(table().commands().map(entry).collect()))
}

/// `COMMAND COUNT`
pub fn count(_asked: &mut Asked, _words: &[Bytes]) -> Step {
    done(Reply::Integer(table().commands().count() as i64))
}

/// `COMMAND INFO [name …]`
pub fn info(asked: &mut Asked, words: &[Bytes]) -> Step {
    if words.len() == 2 {
        return all(asked, words);
    }
    let named = words[2..].iter().map(|name| table().whole_name(name).map_or(Reply::Null, entry));
    done(Reply::Array(named.collect()))
}

/// `COMMAND DOCS [name …]`
pub fn docs(_asked: &mut Asked, words: &[Bytes]) -> Step {
    let pair = |entry: &'static Entry| (Reply::text(&*entry.name), documentation(entry));
    done(Reply::Map(match &words[2..] {
        [] => table().commands().map(pair).collect(),
        names => names.iter().filter_map(|name| table().whole_name(name)).map(pair).collect(),
    }))
}

/// `COMMAND LIST [FILTERBY MODULE name|ACLCAT category|PATTERN pattern]`
pub fn list(_asked: &mut Asked, words: &[Bytes]) -> Step {
    let takes: Box<dyn Fn(&Entry) -> bool> = match &words[2..] {
        [] => Box::new(|_| true),
        [by, kind, _] if is(by, "FILTERBY") && is(kind, "MODULE") => Box::new(|_| false),
        [by, kind, category] if is(by, "FILTERBY") && is(kind, "ACLCAT") => {
            Box::new(|entry| entry.command.category_names().iter().any(|name| is(category, name)))
        }
        [by, kind, pattern] if is(by, "FILTERBY") && is(kind, "PATTERN") => {
            Box::new(|entry| glob::matches(pattern, entry.name.as_bytes(), true))
        }
        _ => return done(syntax_error()),
    };
    let names = table().entries.iter().filter(|entry| takes(entry)).map(|entry| Reply::text(&*entry.name));
    done(Reply::Array(names.collect()))
}

/// `COMMAND GETKEYS command …`
pub fn getkeys(_asked: &mut Asked, words: &[Bytes]) -> Step {
    done(match keys(&words[2..]) {
        Ok(found) => Reply::Array(found.into_iter().map(|(key, _)| Reply::Bulk(key)).collect()),
        Err(reply) => reply,
    })
}

/// `COMMAND GETKEYSANDFLAGS command …`
pub fn getkeysandflags(_asked: &mut Asked, words: &[Bytes]) -> Step {
    done(match keys(&words[2..]) {
        Ok(found) => {
            let pair =
                |(key, access): KeyAccess| Reply::Array(vec![Reply::Bulk(key), simple_set(access.iter().copied())]);
            Reply::Array(found.into_iter().map(pair).collect())
        }
        Err(reply) => reply,
    })
}

/// A key among the words of a whole command, and what the command does with it.
type KeyAccess = (Bytes, &'static [&'static str]);

/// The keys among the words of a whole command, and what the command does with each.
fn keys(words: &[Bytes]) -> Result<Vec<KeyAccess>, Reply> {
    let found = match super::table::find(words) {
        super::table::Found::Command(entry) => entry.command,
        _ => return Err(Reply::error("ERR Invalid command specified")),
    };
    if found.key_specifications().all(|keys| keys.access.contains(&"not_key")) {
        return Err(Reply::error("ERR The command has no key arguments"));
    }
    if !found.takes(words.len()) {
        return Err(Reply::error("ERR Invalid number of arguments specified for command"));
    }
    let of = |keys: &'static Keys| {
        let access = access(keys, words);
        keys.places(words.len()).map(move |place| (words[place].clone(), access))
    };
    Ok(found.keys.iter().flatten().flat_map(of).collect())
}

/// What is done with the keys. Where that depends on the options, SET and BITFIELD are the only ones: the option GET of SET
/// reads too, and BITFIELD without SET and INCRBY only reads.
fn access(keys: &Keys, words: &[Bytes]) -> &'static [&'static str] {
    if !keys.access.contains(&"variable_flags") {
        return keys.access;
    }
    let option = |name| words.iter().skip(2).any(|word| is(word, name));
    match is(&words[0], "SET") {
        true if words.iter().skip(3).any(|word| is(word, "GET")) => &["RW", "access", "update"],
        true => &["OW", "update"],
        false if option("SET") || option("INCRBY") => &["RW", "access", "update"],
        false => &["RO", "access"],
    }
}

/// `COMMAND HELP`
pub fn help(_asked: &mut Asked, _words: &[Bytes]) -> Step {
    help_lines(
        "COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        &[
            "(no subcommand)",
            "    Describe all commands.",
            "COUNT",
            "    Count the commands.",
            "DOCS [<name> ...]",
            "    Document all commands, or these.",
            "GETKEYS <command> [<arg> ...]",
            "    Tell which words of a command are keys.",
            "GETKEYSANDFLAGS <command> [<arg> ...]",
            "    The same, and what is done with them.",
            "INFO [<name> ...]",
            "    Describe all commands, or these.",
            "LIST [FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]",
            "    List the names of the commands.",
        ],
    )
}

fn simple_set(names: impl Iterator<Item = &'static str>) -> Reply {
    Reply::Set(names.map(Reply::Simple).collect())
}

fn pair(name: &str, value: Reply) -> (Reply, Reply) {
    (Reply::text(name), value)
}

/// A command's ten elements.
fn entry(entry: &'static Entry) -> Reply {
    let command = entry.command;
    let (first, last, step) = Keys::range(&command.keys);
    let mut categories: Vec<Reply> =
        command.category_names().into_iter().map(|name| Reply::Status(format!("@{name}"))).collect();
    categories.dedup();
    Reply::Array(vec![
        Reply::text(&*entry.name),
        Reply::Integer(command.arity.into()),
        simple_set(command.flag_names()),
        Reply::Integer(first.into()),
        Reply::Integer(last.into()),
        Reply::Integer(step.into()),
        Reply::Set(categories),
        Reply::Set(command.tips.iter().map(|tip| Reply::text(*tip)).collect()),
        Reply::Set(command.key_specifications().map(key_specification).collect()),
        match table().subcommands(entry) {
            // As Redis: no array, but an empty set.
            [] => Reply::Set(Vec::new()),
            subcommands => Reply::Array(subcommands.iter().map(self::entry).collect()),
        },
    ])
}

/// Where the keys are, in the form that proxies and cluster clients read.
fn key_specification(keys: &Keys) -> Reply {
    let number = |name, value: i32| pair(name, Reply::Integer(value.into()));
    let of_type = |kind: &str, spec| Reply::Map(vec![pair("type", Reply::text(kind)), pair("spec", Reply::Map(spec))]);
    // Relative to the first key, as key specifications count.
    let last = if keys.last < 0 { keys.last } else { keys.last - keys.first };
    let range = vec![number("lastkey", last), number("keystep", keys.step), number("limit", 0)];
    let note = keys.note.map(|note| pair("notes", Reply::text(note)));
    Reply::Map(
        note.into_iter()
            .chain([
                pair("flags", simple_set(keys.access.iter().copied())),
                pair("begin_search", of_type("index", vec![number("index", keys.first)])),
                pair("find_keys", of_type("range", range)),
            ])
            .collect(),
    )
}

/// A command's entry of `COMMAND DOCS`.
fn documentation(entry: &'static Entry) -> Reply {
    let command = entry.command;
    let mut map = vec![
        pair("summary", Reply::text(command.summary)),
        pair("since", Reply::text(command.since)),
        pair("group", Reply::text(command.group.name())),
        pair("complexity", Reply::text(command.complexity)),
    ];
    if let Some((since, instead)) = command.deprecated {
        map.push(pair("doc_flags", simple_set(["deprecated"].into_iter())));
        map.push(pair("deprecated_since", Reply::text(since)));
        map.push(pair("replaced_by", Reply::text(instead)));
    }
    if !command.arguments.is_empty() {
        map.push(pair("arguments", Reply::Array(command.arguments.iter().map(argument).collect())));
    }
    let subcommands = table().subcommands(entry);
    if !subcommands.is_empty() {
        let documented = subcommands.iter().map(|each| (Reply::text(&*each.name), documentation(each)));
        map.push(pair("subcommands", Reply::Map(documented.collect())));
    }
    Reply::Map(map)
}

fn argument(argument: &Argument) -> Reply {
    let mut map = vec![
        pair("name", Reply::text(argument.name)),
        pair("type", Reply::text(argument.kind.name())),
        pair("display_text", Reply::text(argument.name)),
    ];
    if argument.kind == super::table::argument::Kind::Key {
        map.push(pair("key_spec_index", Reply::Integer(argument.specification.into())));
    }
    if let Some(token) = argument.token {
        map.push(pair("token", Reply::text(token)));
    }
    let flags =
        [(argument.optional, "optional"), (argument.multiple, "multiple"), (argument.multiple_token, "multiple_token")];
    if flags.iter().any(|(holds, _)| *holds) {
        let held = flags.iter().filter(|(holds, _)| *holds).map(|(_, name)| *name);
        map.push(pair("flags", simple_set(held)));
    }
    if !argument.inside.is_empty() {
        map.push(pair("arguments", Reply::Array(argument.inside.iter().map(self::argument).collect())));
    }
    Reply::Map(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys_of(text: &str) -> Result<Vec<Bytes>, Reply> {
        let words: Vec<Bytes> = text.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        keys(&words).map(|keys| keys.into_iter().map(|(key, _)| key).collect())
    }

    #[test]
    fn keys_are_found_by_place() {
        assert_eq!(keys_of("GET a").unwrap(), ["a"]);
        assert_eq!(keys_of("mset a 1 b 2").unwrap(), ["a", "b"]);
        assert_eq!(keys_of("del a b c").unwrap(), ["a", "b", "c"]);
        assert_eq!(
            keys_of("set a").unwrap_err(),
            Reply::error("ERR Invalid number of arguments specified for command")
        );
        assert_eq!(keys_of("ping a").unwrap_err(), Reply::error("ERR The command has no key arguments"));
        let access =
            |text: &str| keys(&text.split(' ').map(|w| Bytes::from(w.to_owned())).collect::<Vec<_>>()).unwrap()[0].1;
        assert_eq!(access("set k v"), ["OW", "update"]);
        assert_eq!(access("set k v get"), ["RW", "access", "update"]);
        assert_eq!(keys_of("nothing a").unwrap_err(), Reply::error("ERR Invalid command specified"));
    }

    #[test]
    fn every_command_has_ten_elements_and_documentation() {
        for command in table().commands() {
            let Reply::Array(elements) = entry(command) else { panic!("{} is no array", command.name) };
            assert_eq!(elements.len(), 10, "{}", command.name);
            let Reply::Map(map) = documentation(command) else { panic!("{} is no map", command.name) };
            assert!(map.len() >= 4 && map.iter().all(|(_, value)| *value != Reply::text("")), "{}", command.name);
        }
    }
}
