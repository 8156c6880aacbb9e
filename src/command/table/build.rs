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
        keys: None,
        categories: match group {
            Group::String => &["string"],
            Group::Generic => &["keyspace"],
            Group::Connection => &["connection"],
            Group::Server | Group::Cluster | Group::Dynamis => &[],
        },
        tips: &[],
        summary: "",
        since: "1.0.0",
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
    pub const fn keys(mut self, last: i32, step: i32, access: &'static [&'static str]) -> Command {
        self.keys = Some(Keys { first: 1, last, step, access });
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
