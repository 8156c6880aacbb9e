//! The command table: what each command is called, what it takes, what it touches, and who runs it.
//!
//! Picture the board behind a bar: each drink once, with its price, what is in it, and who mixes it. Orders are taken
//! from the board and the printed menu is made from it, so there is no drink one can order that is not on the menu, and
//! none on the menu that cannot be had. This table is the dispatcher ([`find`]) and what `COMMAND` shows.
//!
//! # Contract
//! - Names are lower-case; [`find`] compares without regard to case and without allocating.
//! - Arity is Redis's: the number of words with the name (and the subcommand's), negative for "at least".
//! - A container (`CLIENT`) finds its subcommand by the second word.
//!
//! It refuses to run anything: that is `dispatch`'s.

pub mod argument;
pub mod build;
pub mod flag;
pub mod group;
pub mod place;

mod bitmap;
mod cluster;
mod connection;
mod counters;
mod dump;
mod dynamis;
mod keys;
mod pubsub;
mod scan;
mod server;
mod strings;
mod substrings;
mod transactions;
mod transfer;
mod watching;
mod upkeep;

use super::Asked;
use super::step::Step;
use argument::Argument;
use bytes::Bytes;
pub use group::Group;
pub use place::Keys;
use std::sync::LazyLock;

/// Runs a command. The first word is its name.
pub type Handler = for<'a, 'b, 'c> fn(&'a mut Asked<'b>, &'c [Bytes]) -> Step;

/// The longest name we look for, in bytes.
const NAME_BYTES_MAX: usize = 32;

/// A command, or a subcommand of one.
#[derive(Debug)]
pub struct Command {
    /// Its name, or its subcommand's name.
    pub name: &'static str,
    /// How many words it takes, its names included; negative: at least so many.
    pub arity: i8,
    /// Bits of [`flag`].
    pub flags: u16,
    /// Its keys, if it takes any: one description for all that are alike.
    pub keys: [Option<Keys>; 2],
    /// Its categories beyond those that follow from the flags.
    pub categories: &'static [&'static str],
    /// Hints for proxies and clients.
    pub tips: &'static [&'static str],
    /// One sentence of help.
    pub summary: &'static str,
    /// The first version that had it.
    pub since: &'static str,
    /// Since when Redis advises against it, and what it names instead.
    pub deprecated: Option<(&'static str, &'static str)>,
    /// Its group in the documentation.
    pub group: Group,
    /// What it costs.
    pub complexity: &'static str,
    /// What it takes.
    pub arguments: &'static [Argument],
    /// Its subcommands, if it is a container.
    pub subcommands: &'static [Command],
    /// Who runs it; none: only its subcommands can be run.
    pub run: Option<Handler>,
}

impl Command {
    /// Whether it has a flag.
    pub fn is(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// Whether it may be given so many words.
    pub fn takes(&self, words: usize) -> bool {
        let arity = i64::from(self.arity);
        if arity >= 0 { words as i64 == arity } else { words as i64 >= -arity }
    }

    /// Whether it runs what a transaction has queued.
    pub fn runs_queue(&self) -> bool {
        self.is(flag::AT_ONCE) && self.name == "exec"
    }

    /// Whether other nodes hear of it though it changes nothing: PUBLISH and SPUBLISH.
    pub fn publishes(&self) -> bool {
        self.is(flag::PUBSUB) && matches!(self.name, "publish" | "spublish")
    }

    /// Whether the indexes of databases may mean something else after it.
    pub fn swaps_databases(&self) -> bool {
        self.is(flag::WRITE) && self.name == "swapdb"
    }

    /// Whether its keys can be treated one by one and the counts added up: `DEL a b` is `DEL a` and `DEL b`.
    pub fn adds_up(&self) -> bool {
        self.is(flag::WRITE) && self.tips.contains(&"response_policy:agg_sum")
    }

    /// The names of its flags.
    pub fn flag_names(&self) -> impl Iterator<Item = &'static str> {
        flag::NAMES.iter().enumerate().filter(|(bit, _)| self.flags & (1 << bit) != 0).map(|(_, name)| *name)
    }

    /// The names of its access categories, those that follow from the flags included.
    pub fn category_names(&self) -> Vec<&'static str> {
        let mut names = self.categories.to_vec();
        let implied = [
            (self.is(flag::WRITE), "write"),
            (self.is(flag::READONLY), "read"),
            (self.is(flag::ADMIN), "admin"),
            (self.is(flag::ADMIN), "dangerous"),
            (self.is(flag::FAST), "fast"),
            (!self.is(flag::FAST), "slow"),
        ];
        for (_, name) in implied.iter().filter(|(holds, _)| *holds) {
            if !names.contains(name) {
                names.push(name);
            }
        }
        names
    }

    /// What is said of its keys.
    pub fn key_specifications(&self) -> impl Iterator<Item = &Keys> {
        self.keys.iter().flatten()
    }

    /// The places of the keys among so many words.
    pub fn key_places(&self, words: usize) -> impl Iterator<Item = usize> {
        self.keys.into_iter().flatten().flat_map(move |keys| keys.places(words))
    }
}

/// A command with its place in the table.
#[derive(Debug)]
pub struct Entry {
    /// The command.
    pub command: &'static Command,
    /// Its number, for statistics: below [`Table::entries`]' length.
    pub number: u16,
    /// Its whole name: `get`, `client|id`.
    pub name: String,
    /// Its subcommands' numbers: from, up to.
    subcommands: (u16, u16),
}

/// All commands, and where their names lead.
pub struct Table {
    /// Every command and subcommand; a container is followed by its subcommands.
    pub entries: Vec<Entry>,
    /// Entry number + 1 by hash of the name, open addressing; 0: free.
    places: Vec<u16>,
}

/// What the words of a request name.
#[derive(Debug)]
pub enum Found {
    /// A command that can be run, or a container named alone.
    Command(&'static Entry),
    /// A container whose second word is none of its subcommands.
    NoSubcommand(&'static Entry),
    /// Nothing.
    Unknown,
}

const GROUPS: &[&[Command]] = &[
    strings::COMMANDS,
    counters::COMMANDS,
    substrings::COMMANDS,
    bitmap::COMMANDS,
    keys::COMMANDS,
    scan::COMMANDS,
    transfer::COMMANDS,
    dump::COMMANDS,
    connection::COMMANDS,
    pubsub::COMMANDS,
    server::COMMANDS,
    watching::COMMANDS,
    upkeep::COMMANDS,
    cluster::COMMANDS,
    transactions::COMMANDS,
    dynamis::COMMANDS,
];

static TABLE: LazyLock<Table> = LazyLock::new(Table::build);

/// The table.
pub fn table() -> &'static Table {
    &TABLE
}

/// Finds what a request's words name.
pub fn find(words: &[Bytes]) -> Found {
    let Some(entry) = words.first().and_then(|name| TABLE.named(name)) else { return Found::Unknown };
    match words.get(1) {
        Some(second) if entry.has_subcommands() => match TABLE.subcommand(entry, second) {
            Some(subcommand) => Found::Command(subcommand),
            None => Found::NoSubcommand(entry),
        },
        _ => Found::Command(entry),
    }
}

impl Entry {
    /// Whether it is a container.
    pub fn has_subcommands(&self) -> bool {
        self.subcommands.0 < self.subcommands.1
    }
}

impl Table {
    fn build() -> Table {
        let mut entries = Vec::new();
        let mut containers = Vec::new();
        for command in GROUPS.iter().flat_map(|group| group.iter()) {
            let at = entries.len() as u16;
            let first = at + 1;
            let subcommands = (first, first + command.subcommands.len() as u16);
            entries.push(Entry { command, number: at, name: command.name.to_string(), subcommands });
            containers.push(at);
            for (number, subcommand) in (first..).zip(command.subcommands) {
                let name = format!("{}|{}", command.name, subcommand.name);
                entries.push(Entry { command: subcommand, number, name, subcommands: (0, 0) });
            }
        }
        let mut places = vec![0; (containers.len() * 4).next_power_of_two()];
        for number in containers {
            let mut place = hash(entries[usize::from(number)].name.as_bytes()) & (places.len() - 1);
            while places[place] != 0 {
                place = (place + 1) & (places.len() - 1);
            }
            places[place] = number + 1;
        }
        Table { entries, places }
    }

    /// The command of that name.
    pub fn named(&'static self, name: &[u8]) -> Option<&'static Entry> {
        let mut lower = [0; NAME_BYTES_MAX];
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        let mut place = hash(lower) & (self.places.len() - 1);
        while self.places[place] != 0 {
            let entry = &self.entries[usize::from(self.places[place] - 1)];
            if entry.name.as_bytes() == lower {
                return Some(entry);
            }
            place = (place + 1) & (self.places.len() - 1);
        }
        None
    }

    /// A container's subcommand of that name.
    pub fn subcommand(&'static self, container: &Entry, name: &[u8]) -> Option<&'static Entry> {
        self.subcommands(container).iter().find(|entry| entry.command.name.as_bytes().eq_ignore_ascii_case(name))
    }

    /// A container's subcommands.
    pub fn subcommands(&'static self, container: &Entry) -> &'static [Entry] {
        &self.entries[usize::from(container.subcommands.0)..usize::from(container.subcommands.1)]
    }

    /// The command or subcommand of that whole name: `get`, `client|id`.
    pub fn whole_name(&'static self, name: &[u8]) -> Option<&'static Entry> {
        match name.iter().position(|byte| *byte == b'|') {
            None => self.named(name),
            Some(bar) => self.subcommand(self.named(&name[..bar])?, &name[bar + 1..]),
        }
    }

    /// The commands, without subcommands.
    pub fn commands(&'static self) -> impl Iterator<Item = &'static Entry> {
        self.entries.iter().filter(|entry| !entry.name.contains('|'))
    }
}

/// A small hash of a short lower-case name (FNV-1a).
fn hash(name: &[u8]) -> usize {
    name.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)) as usize
}

#[cfg(test)]
mod tests;
