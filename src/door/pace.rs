//! How much one connection may have in hand at once.
//!
//! Contract: a batch takes at most [`Pace::requests`] requests and [`BATCH_BYTES_MAX`] bytes of them. When the replies to
//! a batch were large, the next batches are smaller, so that a pipeline of reads of large values holds a few of them at a
//! time and not a thousand. And when large values are known to be about, no batch is larger than would be good were each of
//! its replies of that size, but for the [`REQUESTS_ALWAYS`] that are always taken: so the replies of a batch of reads
//! weigh at most [`REPLY_BYTES_MAX`], or as much as so many of the largest values.

/// The most requests in one batch.
pub const BATCH_REQUESTS_MAX: usize = 1024;

/// The most in a connection's first batch, before anything is known of its replies.
const BATCH_REQUESTS_FIRST: usize = 128;

/// Once a batch's requests have so many bytes, it is full: more would only take longer than a request may.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// What the replies of one batch of reads may weigh, were each of them of the largest value there is.
const REPLY_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// So many requests are taken together whatever they may answer: less would make every pipeline slow for one large value.
const REQUESTS_ALWAYS: usize = 16;

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
    /// The most requests of the next batch; at least 1. `largest_bytes`: what one reply may weigh.
    pub fn requests(&self, largest_bytes: u64) -> usize {
        let fitting = usize::try_from(REPLY_BYTES_MAX / largest_bytes.max(1)).unwrap_or(usize::MAX);
        self.requests.min(fitting.max(REQUESTS_ALWAYS))
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
        assert_eq!(pace.requests(1), BATCH_REQUESTS_FIRST, "a stranger's first reads may all be of large values");
        pace.replied(1024, 1024 << 20);
        assert_eq!(pace.requests(1), 8);
        pace.replied(8, 8 << 30);
        assert_eq!(pace.requests(1), 1);
        (0..20).for_each(|_| pace.replied(1, 5));
        assert_eq!(pace.requests(1), BATCH_REQUESTS_MAX);
    }

    #[test]
    fn where_large_values_are_about_a_batch_fits_the_largest() {
        let mut pace = Pace::default();
        (0..20).for_each(|_| pace.replied(1, 5));
        assert_eq!(pace.requests(64 << 10), BATCH_REQUESTS_MAX);
        assert_eq!(pace.requests(1 << 20), 64);
        assert_eq!(pace.requests(512 << 20), REQUESTS_ALWAYS);
    }
}
