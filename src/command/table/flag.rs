//! Facts about a command that others may decide on, one bit each.

/// Changes data.
pub const WRITE: u16 = 1;
/// Only reads data.
pub const READONLY: u16 = 1 << 1;
/// May need memory.
pub const DENYOOM: u16 = 1 << 2;
/// For operators.
pub const ADMIN: u16 = 1 << 3;
/// About channels and who listens to them.
pub const PUBSUB: u16 = 1 << 4;
/// Not for scripts.
pub const NOSCRIPT: u16 = 1 << 5;
/// Allowed while loading.
pub const LOADING: u16 = 1 << 6;
/// Allowed on stale data.
pub const STALE: u16 = 1 << 7;
/// Not shown by MONITOR.
pub const SKIP_MONITOR: u16 = 1 << 8;
/// Not noted by SLOWLOG.
pub const SKIP_SLOWLOG: u16 = 1 << 9;
/// Takes constant time.
pub const FAST: u16 = 1 << 10;
/// Allowed before authentication.
pub const NO_AUTH: u16 = 1 << 11;
/// Not allowed while a replica loads beside serving (which never happens here).
pub const NO_ASYNC_LOADING: u16 = 1 << 12;
/// Not allowed in a transaction.
pub const NO_MULTI: u16 = 1 << 13;
/// Allowed while the server is busy.
pub const ALLOW_BUSY: u16 = 1 << 14;

/// Run at once even in a transaction, where everything else is queued. Not shown by `COMMAND`.
pub const AT_ONCE: u16 = 1 << 15;

/// The names `COMMAND` shows, in the order of the bits.
pub const NAMES: [&str; 15] = [
    "write",
    "readonly",
    "denyoom",
    "admin",
    "pubsub",
    "noscript",
    "loading",
    "stale",
    "skip_monitor",
    "skip_slowlog",
    "fast",
    "no_auth",
    "no_async_loading",
    "no_multi",
    "allow_busy",
];
