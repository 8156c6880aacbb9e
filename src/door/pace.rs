//! How much one connection may have in hand at once.
//!
//! Contract: a batch takes at most [`Pace::requests`] requests and [`BATCH_BYTES_MAX`] bytes of them. When the replies to
//! a batch were large, the next batches are smaller, so that a pipeline of reads of large values holds a few of them at a
//! time and not a thousand.

/// The most requests in one batch.
pub const BATCH_REQUESTS_MAX: usize = 1024;

/// The most in a connection's first batch, before anything is known of its replies.
const BATCH_REQUESTS_FIRST: usize = 128;

/// Once a batch's requests have so many bytes, it is full: more would only take longer than a request may.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// Replies of one batch beyond so many bytes make the next batch smaller.
const REPLY_BYTES_USUAL: usize = 8 * 1024 * 1024;

/// How many requests the next batch may take.
#[derive(Debug)]
pub struct Pace {
    requests: usize,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { requests: BATCH_REQUESTS_FIRST }
    }
}

impl Pace {
    /// The most requests of the next batch; at least 1.
    pub fn requests(&self) -> usize {
        self.requests
    }

    /// A batch of so many requests had replies of so many bytes.
    pub fn replied(&mut self, requests: usize, bytes: usize) {
        self.requests = if bytes > REPLY_BYTES_USUAL {
            let fitting = (requests as u128 * REPLY_BYTES_USUAL as u128 / bytes as u128) as usize;
            fitting.clamp(1, BATCH_REQUESTS_MAX)
        } else {
            (self.requests * 2).min(BATCH_REQUESTS_MAX)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_replies_make_small_batches_and_small_ones_large_again() {
        let mut pace = Pace::default();
        assert_eq!(pace.requests(), BATCH_REQUESTS_FIRST, "a stranger's first reads may all be of large values");
        pace.replied(1024, 1024 << 20);
        assert_eq!(pace.requests(), 8);
        pace.replied(8, 8 << 30);
        assert_eq!(pace.requests(), 1);
        (0..20).for_each(|_| pace.replied(1, 5));
        assert_eq!(pace.requests(), BATCH_REQUESTS_MAX);
    }
}
