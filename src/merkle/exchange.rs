//! The conversation of two homes about one database: from the sums of partitions down to the keys that differ.
//!
//! ```text
//! Compare partitions ─ equal ─→ Done
//!      │ differ
//! Compare parts of them … Compare leaves ─→ Wait ─→ Compare those leaves again ─ equal ─→ (a write was on its way)
//!                                                        │ differ
//!                                      List their keys ─→ Repair those that differ
//!                                                    └──→ Recount a leaf whose keys do not differ
//! ```
//!
//! # Contract
//! One effect at a time: whoever runs it does what it says and comes back with the event of the same name. Answers of the
//! wrong length or order end the conversation; the next one starts afresh. Depth first, so that little waits in memory.

use super::sum::Sum;
use super::tree::{LEAF_BITS, Run};
use crate::key::StorageKey;
use crate::object::digest::Digest;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The most sums asked for at once.
pub const SUMS_MAX: usize = 4096;

/// The most leaves whose keys are listed at once.
pub const LEAVES_MAX: usize = 512;

/// The most keys in one listing.
pub const LISTED_KEYS_MAX: usize = 2048;

/// From so many leaves on that differ they are looked at again before more are looked for.
const DOUBTED_MAX: usize = 1024;

/// How many bits one step down the tree adds.
const STEP_BITS: u8 = 4;

/// The most keys repaired at once.
const REPAIR_KEYS_MAX: usize = 256;

/// Bytes of objects after which no more keys are repaired at once.
const REPAIR_BYTES_MAX: u64 = 1 << 20;

/// One key of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: StorageKey,
    /// The digest of its object.
    pub digest: Digest,
    /// About how many bytes that has.
    pub bytes: u32,
}

/// The keys of some leaves, in order, from one place on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The keys.
    pub entries: Vec<Entry>,
    /// Whether there are more after the last.
    pub more: bool,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Get the sums of these runs, here and there; at most [`SUMS_MAX`].
    Compare {
        /// The runs' bits.
        bits: u8,
        /// Their indexes, ascending.
        indexes: Vec<u32>,
    },
    /// Let writes that are on their way arrive.
    Wait,
    /// List the keys of these leaves, here and there; at most [`LEAVES_MAX`] leaves and [`LISTED_KEYS_MAX`] keys.
    List {
        /// The leaves, ascending.
        leaves: Vec<u32>,
        /// Only keys after this one.
        after: Option<StorageKey>,
    },
    /// Look at these keys again, here and there, and merge both ways where they still differ.
    Repair(Vec<StorageKey>),
    /// These leaves' sums may not be those of their keys: count them anew.
    Recount(Vec<u32>),
    /// That was all.
    Done,
}

/// What came of an effect.
#[derive(Clone, Debug)]
pub enum Event {
    /// The sums, in the order asked.
    Compared {
        /// Here.
        mine: Vec<Sum>,
        /// There.
        theirs: Vec<Sum>,
    },
    /// The keys.
    Listed {
        /// Here.
        mine: Listing,
        /// There.
        theirs: Listing,
    },
    /// [`Effect::Wait`], [`Effect::Repair`] and [`Effect::Recount`]: it is done.
    Passed,
}

/// What was asked for last.
enum Asked {
    Sums { bits: u8, indexes: Vec<u32> },
    SumsAgain(Vec<u32>),
    Keys,
    Nothing,
}

/// Leaves whose keys are being listed.
struct Group {
    leaves: Vec<u32>,
    after: Option<StorageKey>,
    /// Those in which some key differed.
    explained: BTreeSet<u32>,
}

/// One conversation. See the module.
pub struct Exchange {
    database: u8,
    /// Runs to compare, each chunk of at most [`SUMS_MAX`]; the last is next.
    descents: Vec<(u8, Vec<u32>)>,
    /// Leaves that differed at first sight.
    doubted: Vec<u32>,
    /// Those of them that are looked at again after the wait.
    again: Option<Vec<u32>>,
    /// Leaves that differed at second sight, and about how many keys they hold.
    confirmed: VecDeque<(u32, u64)>,
    group: Option<Group>,
    repairs: VecDeque<Vec<StorageKey>>,
    recounts: Vec<u32>,
    asked: Asked,
}

impl Exchange {
    /// A conversation about the runs `indexes` (ascending) of `bits` bits: the partitions that both are homes of.
    pub fn new(database: u8, bits: u8, indexes: &[u32]) -> Exchange {
        let descents = indexes.chunks(SUMS_MAX).rev().map(|chunk| (bits, chunk.to_vec())).collect();
        Exchange {
            database,
            descents,
            doubted: Vec::new(),
            again: None,
            confirmed: VecDeque::new(),
            group: None,
            repairs: VecDeque::new(),
            recounts: Vec::new(),
            asked: Asked::Nothing,
        }
    }

    /// The first effect.
    pub fn start(&mut self) -> Effect {
        self.next()
    }

    /// Takes in what came of the last effect; gives the next.
    pub fn handle(&mut self, event: Event) -> Effect {
        match (std::mem::replace(&mut self.asked, Asked::Nothing), event) {
            (Asked::Sums { bits, indexes }, Event::Compared { mine, theirs }) => {
                let Some(differing) = differing(&indexes, &mine, &theirs) else { return Effect::Done };
                self.descend(bits, differing.into_iter().map(|(index, _)| index).collect());
            }
            (Asked::SumsAgain(leaves), Event::Compared { mine, theirs }) => {
                let Some(differing) = differing(&leaves, &mine, &theirs) else { return Effect::Done };
                self.confirmed.extend(differing);
            }
            (Asked::Keys, Event::Listed { mine, theirs }) => self.listed(mine, theirs),
            (Asked::Nothing, Event::Passed) => {}
            _ => return Effect::Done,
        }
        self.next()
    }

    fn next(&mut self) -> Effect {
        if let Some(keys) = self.repairs.pop_front() {
            return Effect::Repair(keys);
        }
        if self.group.is_none() {
            if !self.recounts.is_empty() {
                return Effect::Recount(std::mem::take(&mut self.recounts));
            }
            self.group = self.next_group();
        }
        if let Some(group) = &self.group {
            self.asked = Asked::Keys;
            return Effect::List { leaves: group.leaves.clone(), after: group.after.clone() };
        }
        if let Some(leaves) = self.again.take() {
            self.asked = Asked::SumsAgain(leaves.clone());
            return Effect::Compare { bits: LEAF_BITS, indexes: leaves };
        }
        let enough = self.doubted.len() >= DOUBTED_MAX || self.descents.is_empty();
        if enough && !self.doubted.is_empty() {
            let rest = self.doubted.split_off(self.doubted.len().min(SUMS_MAX));
            self.again = Some(std::mem::replace(&mut self.doubted, rest));
            return Effect::Wait;
        }
        match self.descents.pop() {
            Some((bits, indexes)) => {
                self.asked = Asked::Sums { bits, indexes: indexes.clone() };
                Effect::Compare { bits, indexes }
            }
            None => Effect::Done,
        }
    }

    /// These runs differ: their parts are next, or, when they are leaves, a second look.
    fn descend(&mut self, bits: u8, differing: Vec<u32>) {
        if bits == LEAF_BITS {
            return self.doubted.extend(differing);
        }
        let step = STEP_BITS.min(LEAF_BITS - bits);
        let parts: Vec<u32> = differing.iter().flat_map(|index| (index << step)..((index + 1) << step)).collect();
        self.descents.extend(parts.chunks(SUMS_MAX).rev().map(|chunk| (bits + step, chunk.to_vec())));
    }

    /// As many leaves as have their keys in one listing; at least one.
    fn next_group(&mut self) -> Option<Group> {
        let (mut leaves, mut keys) = (Vec::new(), 0u64);
        while let Some((leaf, count)) = self.confirmed.front() {
            keys = keys.saturating_add(*count);
            if !leaves.is_empty() && (keys > LISTED_KEYS_MAX as u64 || leaves.len() == LEAVES_MAX) {
                break;
            }
            leaves.push(*leaf);
            self.confirmed.pop_front();
        }
        (!leaves.is_empty()).then(|| Group { leaves, after: None, explained: BTreeSet::new() })
    }

    fn listed(&mut self, mine: Listing, theirs: Listing) {
        let Some(mut group) = self.group.take() else { return };
        let ends = [&mine, &theirs].map(|listing| listing.entries.last().filter(|_| listing.more));
        // A listing that has more covers the keys up to its last one, and no further.
        let end = ends.into_iter().flatten().map(|entry| entry.key.clone()).min();
        let mut keys: BTreeMap<StorageKey, [(Digest, u32); 2]> = BTreeMap::new();
        for (side, listing) in [mine, theirs].into_iter().enumerate() {
            for entry in listing.entries {
                let leaf = Run::leaf_of(entry.key.token());
                let asked = entry.key.database() == self.database && group.leaves.binary_search(&leaf).is_ok();
                if asked && end.as_ref().is_none_or(|end| entry.key <= *end) {
                    keys.entry(entry.key).or_default()[side] = (entry.digest, entry.bytes);
                }
            }
        }
        keys.retain(|_, [mine, theirs]| mine.0 != theirs.0);
        group.explained.extend(keys.keys().map(|key| Run::leaf_of(key.token())));
        self.plan(keys);
        match end.filter(|end| group.after.as_ref().is_none_or(|after| after < end)) {
            Some(end) => self.group = Some(Group { after: Some(end), ..group }),
            None => {
                let unexplained = group.leaves.into_iter().filter(|leaf| !group.explained.contains(leaf));
                self.recounts.extend(unexplained);
            }
        }
    }

    /// Portions of the keys that differ.
    fn plan(&mut self, keys: BTreeMap<StorageKey, [(Digest, u32); 2]>) {
        let (mut portion, mut bytes) = (Vec::new(), 0);
        for (key, [mine, theirs]) in keys {
            bytes += u64::from(mine.1.max(theirs.1));
            portion.push(key);
            if bytes >= REPAIR_BYTES_MAX || portion.len() == REPAIR_KEYS_MAX {
                self.repairs.push_back(std::mem::take(&mut portion));
                bytes = 0;
            }
        }
        if !portion.is_empty() {
            self.repairs.push_back(portion);
        }
    }
}

/// The runs whose sums differ, and the larger of both counts; none when the answers do not fit the question.
fn differing(indexes: &[u32], mine: &[Sum], theirs: &[Sum]) -> Option<Vec<(u32, u64)>> {
    if mine.len() != indexes.len() || theirs.len() != indexes.len() {
        return None;
    }
    let pairs = indexes.iter().zip(mine.iter().zip(theirs));
    Some(pairs.filter(|(_, (a, b))| a != b).map(|(index, (a, b))| (*index, a.count.max(b.count))).collect())
}
