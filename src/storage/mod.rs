//! Where a node keeps what it was given: the disk, and the way there.
//!
//! Picture a shop counter with a book-keeper behind it. Whoever serves at the counter writes each change on a slip and
//! pins it to the board, where everybody sees it at once; the book-keeper takes all slips that hang there, enters them
//! into the ledger in one go, and only then tells those who wait that it is in the book. Nobody at the counter ever
//! waits for the ledger to be turned over.
//!
//! The board is the *overlay*, the book-keeper the *commit thread*, the ledger the *engine*. When the ledger lies open and
//! little hangs on the board, an *attendant* at the counter does the book-keeper's work.
//!
//! # The parts
//! - [`engine`]: what an engine must do; [`disk`] keeps it on disk, with fjall's tables, [`memory`] in memory (tests, simulation, caches).
//! - [`store`]: reading, read-merge-write of a key, and group commit; built from [`batch`], `overlay`, `cache`, `queue`, `errand`, `commit`,
//!   `attendant`.
//! - [`reopen`], [`recovery`]: after a disk error the engine is opened again in place, and looked through.
//! - [`home`]: the data directory: lock, identity, lease, marks, other modules' sealed files; built on [`files`], `slots`.
//! - [`open`](mod@open): puts them together and says in what condition the directory was found.
//!
//! # Contract
//! - What was answered [`Committed`](store::Committed) has left user space; with `durable` it has been fsynced.
//! - Per key, what is committed last is what was changed last.
//! - A disk that forgot something it had fsynced is noticed at open (`truncated`), as far as marks can tell.
//! - Below the floor of free space, and after a disk error, edits are refused and reads go on, until there is room again and
//!   the engine could be opened again.
//!
//! # What it refuses to do
//! It decides nothing: no merging, no clocks, no retries, no throwing away of a damaged directory. It never looks into
//! a record; telling a damaged record from a sound one is the business of whoever encodes it.

pub mod error;
pub mod engine;
mod fjall;
pub mod disk;
pub mod memory;
pub mod files;
mod slots;
pub mod mark;
pub mod home;
pub mod batch;
mod cache;
mod largest;
mod others;
mod overlay;
mod queue;
mod errand;
mod commit;
mod attendant;
pub mod reopen;
pub mod recovery;
pub mod stats;
mod core;
pub mod store;
pub mod open;

#[cfg(test)]
mod attendant_tests;
#[cfg(test)]
mod recovery_tests;
#[cfg(test)]
mod store_model_tests;
#[cfg(test)]
mod store_tests;
