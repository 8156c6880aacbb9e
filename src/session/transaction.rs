//! What a connection has asked for between MULTI and EXEC, and what it wants left alone until then.
//!
//! A customer dictates a list and only then says "now do it", or tears the list up. Beside it lies a note of things that
//! must not have changed by then ([`WatchList`]).
//!
//! # Contract
//! - A [`Transaction`] exists from MULTI to EXEC, DISCARD, RESET or the end of the connection; nothing queued has any effect
//!   before EXEC.
//! - A command that was refused while queueing spoils it: nothing is queued any more, and EXEC can only fail.
//! - The queue is bounded in bytes by whoever fills it ([`Transaction::bytes`]).
//!
//! It refuses to run anything, and to decide whether a key was touched: that is [`crate::object::mark`]'s.

use crate::gossip::swaps::{Place, Places};
use crate::key::StorageKey;
use crate::object::Object;
use crate::object::mark::Mark;
use crate::resp::request::Request;
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;

/// A request this large lies in memory of its own anyway, in bytes ([`crate::resp::gate::KEPT_ROOM`]).
const OWN_MEMORY_BYTES: usize = crate::resp::gate::KEPT_ROOM;

/// The commands between MULTI and EXEC.
#[derive(Debug, Default)]
pub struct Transaction {
    queue: Vec<Request>,
    bytes: usize,
    /// How many of the queue lie in memory of their own.
    copied: usize,
    spoilt: bool,
}

impl Transaction {
    /// Queues a request; its words may still be slices of a read buffer ([`Transaction::keep`]). In a spoilt one it is
    /// dropped, as in Redis.
    pub fn push(&mut self, request: Request) {
        if !self.spoilt {
            self.bytes += request.words.iter().map(|word| word.len() + size_of::<Bytes>()).sum::<usize>();
            self.queue.push(request);
        }
    }

    /// A command was refused: EXEC will fail. What was queued is let go.
    pub fn spoil(&mut self) {
        *self = Transaction { spoilt: true, ..Transaction::default() };
    }

    /// Whether a command was refused.
    pub fn is_spoilt(&self) -> bool {
        self.spoilt
    }

    /// How many requests are queued.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether nothing is queued.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// About how much memory the queue takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The queued requests, in order.
    pub fn requests(&self) -> &[Request] {
        &self.queue
    }

    /// Takes the queue.
    pub fn into_requests(self) -> Vec<Request> {
        self.queue
    }

    /// Copies what is still part of a read buffer: the queue outlives the batch, and a few queued bytes must not hold
    /// many that were read with them.
    pub fn keep(&mut self) {
        for request in &mut self.queue[self.copied..] {
            let bytes = request.words.iter().map(|word| word.len()).sum();
            if bytes < OWN_MEMORY_BYTES {
                let mut own = BytesMut::with_capacity(bytes);
                request.words.iter().for_each(|word| own.extend_from_slice(word));
                let mut own = own.freeze();
                request.words.iter_mut().for_each(|word| *word = own.split_to(word.len()));
            }
        }
        self.copied = self.queue.len();
    }
}

/// A watched key.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The key, with the database that it was in.
    pub key: StorageKey,
    /// The index under which it was watched.
    pub index: u8,
    /// What the index meant.
    pub place: Place,
    /// R for looking at it again (`DYN.QUORUM`); none: the database's.
    pub r: Option<u8>,
    /// How it was when it was first watched.
    pub mark: Mark,
}

impl Watched {
    /// The keys to look at before EXEC, now that indexes mean `places`; none: something is known to be touched.
    ///
    /// Where databases were swapped under a key, it is untouched only if it had no value, and has none in either database. When
    /// there was more than one swap, or it means the same again, the client may have looked at yet another.
    pub fn follow(mut watched: Vec<Watched>, places: &Places) -> Option<Vec<Watched>> {
        let mut more = Vec::new();
        for Watched { key, index, place, r, .. } in &watched {
            let now = places.of(*index);
            if now == *place {
                continue;
            }
            if now.stored == place.stored || now.named.wrapping_sub(place.named) > 1 {
                return None;
            }
            let there = StorageKey::new(now.stored, key.user_key()).ok()?;
            for key in [key.clone(), there] {
                more.push(Watched { mark: Mark::of_nothing(&key), key, index: *index, place: now, r: *r });
            }
        }
        watched.extend(more);
        Some(watched)
    }

    /// Whether a client would say that it is the same key.
    fn is_same(&self, other: &Watched) -> bool {
        self.index == other.index && self.key.user_key() == other.key.user_key()
    }
}

/// A watched key as EXEC saw it, untouched.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The key, with its database.
    pub key: StorageKey,
    /// How it was when it was first watched.
    pub mark: Mark,
    /// What was there when EXEC looked.
    pub object: Object,
}

/// The keys a connection watches. Shared with the command that looks at them, which runs beside the session.
#[derive(Debug, Default)]
pub struct WatchList(Mutex<Watches>);

#[derive(Debug, Default)]
struct Watches {
    keys: Vec<Watched>,
    failed: bool,
    seen: Vec<Seen>,
}

impl WatchList {
    /// Watches keys. One that is watched already stays as it was first seen.
    pub fn add(&self, watched: impl IntoIterator<Item = Watched>) {
        let mut watches = self.0.lock();
        for new in watched {
            if !watches.keys.iter().any(|old| old.is_same(&new)) {
                watches.keys.push(new);
            }
        }
    }

    /// A WATCH failed: the transaction that was to depend on it must not run, even if the client did not look.
    pub fn fail(&self) {
        self.0.lock().failed = true;
    }

    /// Whether a WATCH failed.
    pub fn has_failed(&self) -> bool {
        self.0.lock().failed
    }

    /// How many keys are watched.
    pub fn len(&self) -> usize {
        self.0.lock().keys.len()
    }

    /// Whether no key is watched.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// About how much memory the notes take, in bytes.
    pub fn bytes(&self) -> usize {
        self.0.lock().keys.iter().map(|watched| watched.mark.bytes() + watched.key.as_bytes().len()).sum()
    }

    /// Forgets all keys and gives them back.
    pub fn take(&self) -> Vec<Watched> {
        std::mem::take(&mut *self.0.lock()).keys
    }

    /// EXEC looked at the keys again and found them untouched.
    pub fn untouched(&self, seen: Vec<Seen>) {
        self.0.lock().seen = seen;
    }

    /// Takes what EXEC saw.
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.0.lock().seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causality::{Hlc, NodeTag};
    use crate::gossip::swaps::Swaps;
    use crate::object::Object;

    fn request(words: &[&str]) -> Request {
        Request { words: words.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect() }
    }

    #[test]
    fn what_is_kept_does_not_hold_the_read_buffer() {
        let buffer = Bytes::from("SETkv".to_owned() + &"x".repeat(1000));
        let mut transaction = Transaction::default();
        transaction.push(Request { words: [0..3, 3..4, 4..5].map(|range| buffer.slice(range)).into_iter().collect() });
        transaction.keep();
        transaction.keep();
        assert!(buffer.is_unique(), "the queue still holds the buffer");
        assert_eq!(transaction.into_requests(), [request(&["SET", "k", "v"])]);
    }

    #[test]
    fn a_spoilt_one_keeps_nothing() {
        let mut transaction = Transaction::default();
        transaction.push(request(&["SET", "k", "v"]));
        assert!(transaction.bytes() >= 5);
        transaction.spoil();
        transaction.push(request(&["SET", "k", "v"]));
        assert_eq!((transaction.len(), transaction.bytes(), transaction.is_spoilt()), (0, 0, true));
    }

    #[test]
    fn a_swap_of_its_database_sets_a_key_to_where_there_must_be_nothing() {
        let mut swaps = Swaps::default();
        let before = swaps.places();
        let key = StorageKey::new(2, b"k").unwrap();
        let mark = Mark::of(&key, &Object::default(), 1, Hlc(0));
        let watched =
            || vec![Watched { key: key.clone(), index: 2, place: before.of(2), r: Some(1), mark: mark.clone() }];
        let mut followed = |pair| {
            swaps.swap(pair, 1, NodeTag(1), [].into_iter()).unwrap();
            let keys = Watched::follow(watched(), &swaps.places())?;
            Some(keys.into_iter().map(|watched| (watched.key.database(), watched.mark == mark)).collect::<Vec<_>>())
        };
        assert_eq!(followed((0, 1)), Some(vec![(2, true)]), "others were swapped");
        assert_eq!(followed((5, 2)), Some(vec![(2, true), (2, false), (5, false)]));
        assert_eq!(followed((5, 6)), Some(vec![(2, true), (2, false), (5, false)]));
        assert_eq!(followed((2, 7)), None, "swapped twice");
        let mut back = Swaps::default();
        (0..2).for_each(|_| back.swap((2, 3), 1, NodeTag(1), [].into_iter()).unwrap());
        assert!(Watched::follow(watched(), &back.places()).is_none(), "there and back");
    }

    #[test]
    fn a_key_stays_as_it_was_first_watched() {
        let key = StorageKey::new(0, b"k").unwrap();
        let elsewhere = StorageKey::new(3, b"k").unwrap();
        let watched = |index, key: &StorageKey, floor| Watched {
            key: key.clone(),
            index,
            place: Place::default(),
            r: None,
            mark: Mark::of(key, &Object::default(), 1, Hlc(floor)),
        };
        let list = WatchList::default();
        list.add([watched(0, &key, 1), watched(0, &key, 2)]);
        list.add([watched(0, &elsewhere, 3), watched(1, &key, 4)]);
        let marks = list.take().into_iter().map(|watched| (watched.index, watched.mark)).collect::<Vec<_>>();
        let first = watched(0, &key, 1).mark;
        assert_eq!(marks, [(0, first), (1, watched(1, &key, 4).mark)], "also when the databases were swapped");
        assert!(list.is_empty());
        list.fail();
        assert!(list.has_failed());
        list.take();
        assert!(!list.has_failed());
    }
}
