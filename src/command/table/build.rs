//! How the rows of the table are written down: a command, then what is special about it.

use super::argument::Argument;
use super::{Command, Group, Handler, Keys};

/// A command that `run` runs.
pub const fn command(name: &'static str, arity: i8, flags: u16, group: Group, run: Handler) -> Command {
    Command { run: Some(run), ..blank(name, arity, flags, group) }
}

/// A command that is only a container for `subcommands`.
pub const fn container(name: &'static str, group: Group, subcommands: &'static [Command]) -> Command {
    Command { subcommands, complexity: "Depends on the subcommand.", ..blank(name, -2, 0, group) }
}

const fn blank(name: &'static str, arity: i8, flags: u16, group: Group) -> Command {
    Command {
        name,
        arity,
        flags,
        keys: [None, None],
        categories: match group {
            Group::String => &["string"],
            Group::Bitmap => &["bitmap"],
            Group::Generic => &["keyspace"],
            Group::Connection => &["connection"],
            Group::Transactions => &["transaction"],
            Group::Pubsub => &["pubsub"],
            Group::Scripting => &["scripting"],
            Group::Server | Group::Cluster | Group::Dynamis => &[],
        },
        tips: &[],
        summary: "",
        since: "1.0.0",
        deprecated: None,
        group,
        complexity: "O(1)",
        arguments: &[],
        subcommands: &[],
        run: None,
    }
}

impl Command {
    /// Its sentence of help, and the first version that had it.
    pub const fn help(mut self, since: &'static str, summary: &'static str) -> Command {
        self.since = since;
        self.summary = summary;
        self
    }

    /// What it costs, where that is not O(1).
    pub const fn costs(mut self, complexity: &'static str) -> Command {
        self.complexity = complexity;
        self
    }

    /// It takes one key, as its first argument.
    pub const fn one_key(self, access: &'static [&'static str]) -> Command {
        self.keys(1, 1, access)
    }

    /// Every `step`th word up to `last` is a key.
    pub const fn keys(self, last: i32, step: i32, access: &'static [&'static str]) -> Command {
        self.keys_from(1, last, step, access)
    }

    /// Every `step`th word from `first` up to `last` is a key. Said a second time, it adds keys of another kind.
    pub const fn keys_from(mut self, first: i32, last: i32, step: i32, access: &'static [&'static str]) -> Command {
        let place = if self.keys[0].is_none() { 0 } else { 1 };
        self.keys[place] = Some(Keys { first, last, step, access, note: None });
        self
    }

    /// Why what was said of its first keys is so.
    pub const fn note(mut self, note: &'static str) -> Command {
        if let Some(keys) = self.keys[0] {
            self.keys[0] = Some(Keys { note: Some(note), ..keys });
        }
        self
    }

    /// Redis advises against it since then, and names something else instead.
    pub const fn deprecated(mut self, since: &'static str, instead: &'static str) -> Command {
        self.deprecated = Some((since, instead));
        self
    }

    /// Its access categories, instead of the group's.
    pub const fn categories(mut self, categories: &'static [&'static str]) -> Command {
        self.categories = categories;
        self
    }

    /// Hints for proxies and clients.
    pub const fn tips(mut self, tips: &'static [&'static str]) -> Command {
        self.tips = tips;
        self
    }

    /// What it takes.
    pub const fn takes_arguments(mut self, arguments: &'static [Argument]) -> Command {
        self.arguments = arguments;
        self
    }

    /// It can also be a container.
    pub const fn with_subcommands(mut self, subcommands: &'static [Command]) -> Command {
        self.subcommands = subcommands;
        self
    }
}
