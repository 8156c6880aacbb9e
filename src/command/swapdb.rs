//! SWAPDB: two databases change places, on every node.
//!
//! # Contract
//! - `OK` means that every node that can be reached has saved it and goes by it. Values, expiries, siblings, the policy and
//!   what was flushed stay together: it is the index that means another database from then on.
//! - Nothing is moved, so it costs the same whatever the databases hold. Connections that have selected either index
//!   find the other database under it, from their next command on.
//! - Two at once, at nodes that cannot reach each other even, are both in effect, in one order, the same on all nodes
//!   ([`crate::gossip::swaps`]). A node that is cut off goes by what it knows: what clients write there meanwhile goes to the
//!   database that their index meant before.
//! - An error that begins with NOQUORUM means that it is done here and will be everywhere; any other, that nothing changed.

use super::arguments::parse_integer;
use super::step::Step;
use super::{Asked, done, failure};
use crate::key::DATABASES;
use crate::resp::reply::Reply;
use bytes::Bytes;

/// `SWAPDB index index`
pub fn swapdb(asked: &mut Asked, words: &[Bytes]) -> Step {
    let (first, second) = match read(&words[1], &words[2]) {
        Ok(pair) => pair,
        Err(reply) => return done(reply),
    };
    if first == second {
        return done(Reply::Ok);
    }
    let swapped = asked.server.coordinator.swap_databases(first, second);
    Step::Wait(Box::pin(async move { failure::of_all_nodes(swapped.await, "swap", "swapped") }))
}

/// Both are numbers before either is in range, as in Redis.
fn read(first: &[u8], second: &[u8]) -> Result<(u8, u8), Reply> {
    let number = |word: &[u8], which| {
        let number = parse_integer(word).and_then(|number| i32::try_from(number).ok());
        number.ok_or_else(|| Reply::error(format!("ERR invalid {which} DB index")))
    };
    let (first, second) = (number(first, "first")?, number(second, "second")?);
    let index = |number: i32| u8::try_from(number).ok().filter(|index| *index < DATABASES);
    index(first).zip(index(second)).ok_or_else(|| Reply::error("ERR DB index is out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_indexes_are_read_before_either_is_judged() {
        assert_eq!(read(b"0", b"15"), Ok((0, 15)));
        for (first, second, why) in [
            ("x", "y", "ERR invalid first DB index"),
            ("99999999999", "0", "ERR invalid first DB index"),
            ("16", "x", "ERR invalid second DB index"),
            ("0", "1.0", "ERR invalid second DB index"),
            ("16", "16", "ERR DB index is out of range"),
            ("-1", "0", "ERR DB index is out of range"),
        ] {
            assert_eq!(read(first.as_bytes(), second.as_bytes()), Err(Reply::error(why)), "{first} {second}");
        }
    }
}
