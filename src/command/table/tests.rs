use super::*;
use std::collections::HashSet;

fn words(text: &str) -> Vec<Bytes> {
    text.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
}

fn found(text: &str) -> Option<&'static str> {
    match find(&words(text)) {
        Found::Command(entry) => Some(&entry.name),
        _ => None,
    }
}

#[test]
fn every_command_is_found_in_any_case_and_no_name_stands_twice() {
    let mut names = HashSet::new();
    for entry in &table().entries {
        assert!(names.insert(&entry.name), "{} stands twice", entry.name);
        assert!(std::ptr::eq(table().whole_name(entry.name.to_uppercase().as_bytes()).unwrap(), entry));
        assert_eq!(table().entries[usize::from(entry.number)].name, entry.name);
    }
    assert_eq!(found("GeT a"), Some("get"));
    assert_eq!(found("DYN.get a"), Some("dyn.get"));
    assert_eq!(found("client iD"), Some("client|id"));
    assert_eq!(found("client"), Some("client"));
    assert_eq!(found("command"), Some("command"));
    assert_eq!(found("ge"), None);
    assert_eq!(found(&"x".repeat(1000)), None);
    assert!(matches!(find(&words("client x")), Found::NoSubcommand(_)));
    assert!(matches!(find(&words("client|id")), Found::Unknown));
}

#[test]
fn names_are_lower_case_and_rows_are_whole() {
    for entry in &table().entries {
        let command = entry.command;
        assert_eq!(entry.name, entry.name.to_lowercase());
        assert!(!command.summary.is_empty() && !command.since.is_empty(), "{}", entry.name);
        assert!(command.summary.ends_with('.'), "{}", entry.name);
        assert!(command.run.is_some() != (command.subcommands.len() > 1 && entry.name != "command"), "{}", entry.name);
        assert!(command.arity != 0, "{}", entry.name);
        if entry.name.contains('|') {
            assert!(command.arity.unsigned_abs() >= 2, "{}", entry.name);
        }
    }
}

#[test]
fn keys_and_flags_agree() {
    for entry in &table().entries {
        let command = entry.command;
        let (writes, reads) = (command.is(flag::WRITE), command.is(flag::READONLY));
        assert!(!(writes && reads), "{} both writes and only reads", entry.name);
        let access: Vec<&str> = command.key_specifications().flat_map(|keys| keys.access).copied().collect();
        if access.is_empty() {
            // What names no key and writes concerns all of them; Redis gives SWAPDB no hint that it does.
            let all = command.tips.contains(&"request_policy:all_shards") || entry.name == "swapdb";
            assert!(!writes || all, "{} writes but has no key", entry.name);
            continue;
        }
        if access == ["not_key"] {
            // Where the word stands says which node a cluster library asks; no data hangs on it.
            assert!(!writes && !reads, "{} reads or writes what is no key", entry.name);
            continue;
        }
        // WATCH looks at keys; Redis gives it neither flag.
        let reads = reads || entry.name == "watch";
        assert!(writes || reads, "{} has a key but neither reads nor writes", entry.name);
        assert_eq!(access.iter().all(|word| !matches!(*word, "RW" | "OW" | "RM")), reads, "{}", entry.name);
        assert!(command.key_places(command.arity.unsigned_abs().into()).count() > 0, "{}", entry.name);
    }
}

#[test]
fn words_are_counted_as_redis_counts_them() {
    let takes = |name: &str, count| table().whole_name(name.as_bytes()).unwrap().command.takes(count);
    assert!(takes("get", 2) && !takes("get", 1) && !takes("get", 3));
    assert!(takes("set", 3) && takes("set", 9) && !takes("set", 2));
    assert!(takes("client|setname", 3) && !takes("client|setname", 2));
    assert!(takes("ping", 1) && takes("command", 1));
}

#[test]
fn keys_stand_where_they_should() {
    let places =
        |name: &str, words| table().whole_name(name.as_bytes()).unwrap().command.key_places(words).collect::<Vec<_>>();
    assert_eq!(places("get", 2), [1]);
    assert_eq!(places("mset", 5), [1, 3]);
    assert_eq!(places("del", 4), [1, 2, 3]);
    assert_eq!(places("ping", 2), [0; 0]);
}

#[test]
fn only_deletes_are_split_by_key() {
    let split: Vec<&str> =
        table().entries.iter().filter(|entry| entry.command.adds_up()).map(|entry| &*entry.name).collect();
    assert_eq!(split, ["del", "unlink"]);
}

#[test]
fn categories_follow_from_the_flags() {
    let of = |name: &str| table().whole_name(name.as_bytes()).unwrap().command.category_names();
    assert_eq!(of("get"), ["string", "read", "fast"]);
    assert_eq!(of("config|set"), ["admin", "dangerous", "slow"]);
}
