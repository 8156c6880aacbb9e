//! Commands (being built): one table of facts that is also the dispatcher, one file per group of commands.

pub mod step;
