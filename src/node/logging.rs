//! The log: lines on standard error, as detailed as `loglevel` says, and changeable at run time.

use crate::config::LogLevel;
use std::io::IsTerminal;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt};

/// Changes the log's level later.
#[derive(Clone)]
pub struct LogHandle(reload::Handle<Targets, Registry>);

impl LogHandle {
    /// Sets the level.
    pub fn set(&self, level: LogLevel) {
        // Fails only when the subscriber is gone, that is, at the very end of the process.
        let _ = self.0.reload(filter(level));
    }
}

/// Starts logging. Call once in a process.
pub fn start(level: LogLevel) -> LogHandle {
    let (filter, handle) = reload::Layer::new(filter(level));
    let lines = fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(std::io::stderr().is_terminal());
    // A second start in one process (tests) keeps the first log.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
    LogHandle(handle)
}

/// Our own lines at the level asked for; of the libraries only what is wrong.
fn filter(level: LogLevel) -> Targets {
    let own = match level {
        LogLevel::Debug => LevelFilter::TRACE,
        LogLevel::Verbose => LevelFilter::DEBUG,
        LogLevel::Notice => LevelFilter::INFO,
        LogLevel::Warning => LevelFilter::WARN,
    };
    Targets::new().with_default(own.min(LevelFilter::WARN)).with_target("dynamis", own)
}
