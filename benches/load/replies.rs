//! Counting replies without looking inside them.
//!
//! A turnstile: it counts who passes and notices who complains. Replies may be cut anywhere; what is incomplete waits
//! for the next read. Nested replies are refused, for no command of this tool gets one.

/// What was counted. Fields only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Complete replies, errors and misses included.
    pub replies: u64,
    /// Error replies.
    pub errors: u64,
    /// The first error reply's text.
    pub first_error: Option<String>,
    /// GETs that found nothing.
    pub misses: u64,
    /// WAITs that counted fewer replicas than were asked for.
    pub unreplicated: u64,
}

/// Counts the replies of one connection.
#[derive(Debug)]
pub struct Counter {
    /// Bytes that are still to come of a value whose length is known, its line end included.
    skip: usize,
    /// Replicas each WAIT must have counted.
    replicas: u64,
}

impl Counter {
    /// Expects each integer reply, which only WAIT gives, to be at least `replicas`.
    pub fn new(replicas: u64) -> Counter {
        Counter { skip: 0, replicas }
    }

    /// Counts what is complete and returns how many bytes were used; the rest is to be given again with what follows it.
    pub fn take(&mut self, bytes: &[u8], tally: &mut Tally) -> Result<usize, String> {
        let mut used = 0;
        loop {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len() - used);
                used += skipped;
                self.skip -= skipped;
                if self.skip > 0 {
                    return Ok(used);
                }
                tally.replies += 1;
            }
            let Some(end) = memchr::memchr(b'\n', &bytes[used..]) else { return Ok(used) };
            self.line(bytes[used..used + end].trim_ascii_end(), tally)?;
            used += end + 1;
        }
    }

    fn line(&mut self, line: &[u8], tally: &mut Tally) -> Result<(), String> {
        let rest = line.get(1..).unwrap_or_default();
        let number = std::str::from_utf8(rest).ok().and_then(|text| text.parse::<i64>().ok());
        match (line.first(), number) {
            (Some(b'$'), Some(length @ 0..)) => {
                self.skip = usize::try_from(length).map_err(|error| error.to_string())? + 2;
                return Ok(());
            }
            (Some(b'$'), Some(_)) => tally.misses += 1,
            (Some(b':'), Some(count)) => {
                tally.unreplicated += u64::from(u64::try_from(count).is_ok_and(|count| count < self.replicas));
            }
            (Some(b'+'), _) => {}
            (Some(b'-'), _) => {
                tally.errors += 1;
                tally.first_error.get_or_insert_with(|| String::from_utf8_lossy(rest).into_owned());
            }
            _ => return Err(format!("a reply that is none of ours: {}", String::from_utf8_lossy(line))),
        }
        tally.replies += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STREAM: &[u8] = b"+OK\r\n$5\r\nab\r\nc\r\n:1\r\n$-1\r\n-NOQUORUM 1 of 2\r\n:2\r\n$0\r\n\r\n";

    fn feed(pieces: &[&[u8]]) -> Tally {
        let (mut counter, mut tally, mut held) = (Counter::new(2), Tally::default(), Vec::new());
        for piece in pieces {
            held.extend_from_slice(piece);
            let used = counter.take(&held, &mut tally).unwrap();
            held.drain(..used);
        }
        assert!(held.is_empty());
        tally
    }

    #[test]
    fn each_kind_of_reply_counts() {
        let first_error = Some("NOQUORUM 1 of 2".to_owned());
        assert_eq!(feed(&[STREAM]), Tally { replies: 7, errors: 1, first_error, misses: 1, unreplicated: 1 });
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        let take = |bytes| Counter::new(0).take(bytes, &mut Tally::default());
        assert!(take(b"*1\r\n").is_err() && take(b"$x\r\n").is_err() && take(b"\r\n").is_err());
    }

    proptest! {
        #[test]
        fn where_the_stream_is_cut_changes_nothing(a in 0..STREAM.len(), b in 0..STREAM.len()) {
            let (a, b) = (a.min(b), a.max(b));
            prop_assert_eq!(feed(&[&STREAM[..a], &STREAM[a..b], &STREAM[b..]]), feed(&[STREAM]));
        }
    }
}
