//! Who listens to what: the register of subscriptions.
//!
//! Picture the subscription desk of a newspaper: for each paper a list of the households that take it, and for each
//! household a card with all it takes. When a paper comes out the desk reads off its list; when a household moves away
//! its card says which lists to strike it from. Some households take "whatever is called Evening something".
//!
//! # Contract
//! - A client is in a list exactly when the list's name is on its card; lists and cards that are empty are gone.
//! - [`Register::receivers`] names each subscriber of the channel once, then each subscriber of each pattern that matches
//!   it, in an order that depends on nothing but what is in the register.
//! - Shard channels are a world of their own: no pattern matches them, and a channel of the same name is another.
//!
//! A plain struct: no locks, no sockets, no messages. `H` is how to reach a subscriber.

use crate::glob;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// What can be subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A channel by its name.
    Channel,
    /// All channels whose name matches a glob pattern.
    Pattern,
    /// A shard channel by its name.
    Shard,
}

/// Every kind, in the order of the lists.
pub const KINDS: [Kind; 3] = [Kind::Channel, Kind::Pattern, Kind::Shard];

/// How many subscriptions of each [`Kind`] a client has.
pub type Counts = [u32; KINDS.len()];

/// A client's card.
#[derive(Debug)]
struct Card<H> {
    handle: H,
    names: [BTreeSet<Bytes>; KINDS.len()],
}

/// The register. Clients are told apart by a number.
#[derive(Debug)]
pub struct Register<H> {
    lists: [BTreeMap<Bytes, BTreeMap<u64, H>>; KINDS.len()],
    cards: BTreeMap<u64, Card<H>>,
}

impl<H> Default for Register<H> {
    fn default() -> Register<H> {
        Register { lists: Default::default(), cards: BTreeMap::new() }
    }
}

impl<H: Clone> Register<H> {
    /// Enters a subscription; false: the client had it already. The name is copied.
    pub fn subscribe(&mut self, client: u64, handle: &H, kind: Kind, name: &[u8]) -> bool {
        let card = self.cards.entry(client);
        let card = card.or_insert_with(|| Card { handle: handle.clone(), names: Default::default() });
        let names = &mut card.names[kind as usize];
        if names.contains(name) {
            return false;
        }
        let name = Bytes::copy_from_slice(name);
        names.insert(name.clone());
        self.lists[kind as usize].entry(name).or_default().insert(client, card.handle.clone());
        true
    }

    /// Strikes a subscription; false: the client has none such.
    pub fn unsubscribe(&mut self, client: u64, kind: Kind, name: &[u8]) -> bool {
        let Some(card) = self.cards.get_mut(&client) else { return false };
        if !card.names[kind as usize].remove(name) {
            return false;
        }
        if card.names.iter().all(BTreeSet::is_empty) {
            self.cards.remove(&client);
        }
        self.strike(client, kind, name);
        true
    }

    /// Strikes all of a client's subscriptions.
    pub fn leave(&mut self, client: u64) {
        let Some(card) = self.cards.remove(&client) else { return };
        for (kind, names) in KINDS.into_iter().zip(&card.names) {
            names.iter().for_each(|name| self.strike(client, kind, name));
        }
    }

    fn strike(&mut self, client: u64, kind: Kind, name: &[u8]) {
        let lists = &mut self.lists[kind as usize];
        if let Some(list) = lists.get_mut(name) {
            list.remove(&client);
            if list.is_empty() {
                lists.remove(name);
            }
        }
    }

    /// What a client is subscribed to, sorted.
    pub fn names(&self, client: u64, kind: Kind) -> Vec<Bytes> {
        self.cards.get(&client).map(|card| card.names[kind as usize].iter().cloned().collect()).unwrap_or_default()
    }

    /// How much a client is subscribed to.
    pub fn counts(&self, client: u64) -> Counts {
        self.cards.get(&client).map(|card| card.names.each_ref().map(|names| names.len() as u32)).unwrap_or_default()
    }

    /// Calls `each` for every subscriber of a message on a channel, with the pattern if it is one by a pattern.
    pub fn receivers<'a>(&'a self, shard: bool, channel: &[u8], mut each: impl FnMut(&'a H, Option<&'a Bytes>)) {
        let kind = if shard { Kind::Shard } else { Kind::Channel };
        if let Some(list) = self.lists[kind as usize].get(channel) {
            list.values().for_each(|handle| each(handle, None));
        }
        if shard {
            return;
        }
        for (pattern, list) in &self.lists[Kind::Pattern as usize] {
            if glob::matches(pattern, channel, false) {
                list.values().for_each(|handle| each(handle, Some(pattern)));
            }
        }
    }

    /// How many clients subscribe to exactly this name.
    pub fn subscribers(&self, kind: Kind, name: &[u8]) -> usize {
        self.lists[kind as usize].get(name).map_or(0, BTreeMap::len)
    }

    /// The names that somebody subscribes to, sorted: all, or those that match a glob pattern.
    pub fn subscribed(&self, kind: Kind, pattern: Option<&[u8]>) -> impl Iterator<Item = &Bytes> {
        let wanted = move |name: &&Bytes| pattern.is_none_or(|pattern| glob::matches(pattern, name, false));
        self.lists[kind as usize].keys().filter(wanted)
    }

    /// How many names somebody subscribes to.
    pub fn count(&self, kind: Kind) -> usize {
        self.lists[kind as usize].len()
    }

    /// How many clients have a subscription.
    pub fn clients(&self) -> usize {
        self.cards.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn received(register: &Register<u64>, shard: bool, channel: &str) -> Vec<(u64, Option<String>)> {
        let mut all = Vec::new();
        register.receivers(shard, channel.as_bytes(), |client, pattern| {
            all.push((*client, pattern.map(|pattern| String::from_utf8_lossy(pattern).into_owned())));
        });
        all
    }

    #[test]
    fn a_client_receives_by_name_and_by_each_pattern() {
        let mut register = Register::default();
        assert!(register.subscribe(1, &1, Kind::Channel, b"news"));
        assert!(!register.subscribe(1, &1, Kind::Channel, b"news"));
        assert!(register.subscribe(1, &1, Kind::Pattern, b"n*"));
        assert!(register.subscribe(2, &2, Kind::Pattern, b"n*"));
        assert!(register.subscribe(2, &2, Kind::Pattern, b"*s"));
        assert!(register.subscribe(3, &3, Kind::Shard, b"news"));
        let by = |pattern: &str| Some(pattern.to_owned());
        assert_eq!(received(&register, false, "news"), [(1, None), (2, by("*s")), (1, by("n*")), (2, by("n*"))]);
        assert_eq!(received(&register, true, "news"), [(3, None)]);
        assert_eq!(received(&register, true, "n*"), []);
        assert_eq!((register.counts(1), register.counts(2), register.counts(9)), ([1, 1, 0], [0, 2, 0], [0, 0, 0]));
        assert_eq!((register.count(Kind::Pattern), register.clients()), (2, 3));
    }

    #[test]
    fn nothing_is_left_of_who_left() {
        let mut register = Register::default();
        register.subscribe(1, &1, Kind::Channel, b"a");
        register.subscribe(1, &1, Kind::Shard, b"a");
        register.subscribe(2, &2, Kind::Channel, b"a");
        register.leave(1);
        assert_eq!(received(&register, false, "a"), [(2, None)]);
        assert!(register.unsubscribe(2, Kind::Channel, b"a"));
        assert!(!register.unsubscribe(2, Kind::Channel, b"a"));
        assert_eq!(register.clients(), 0);
        assert!(KINDS.iter().all(|kind| register.count(*kind) == 0));
    }

    /// One step of a history: who, what kind, which name, and whether it enters, strikes or leaves altogether.
    fn step() -> impl Strategy<Value = (u64, usize, String, u8)> {
        (0u64..4, 0usize..3, "[ab*?]{1,2}", 0u8..5)
    }

    proptest! {
        #[test]
        fn the_register_agrees_with_a_plain_set(steps in prop::collection::vec(step(), 0..60), channel in "[ab]{1,2}") {
            let mut register = Register::default();
            let mut naive: BTreeSet<(usize, String, u64)> = BTreeSet::new();
            for (client, kind, name, act) in steps {
                match act {
                    0..=2 => prop_assert_eq!(
                        register.subscribe(client, &client, KINDS[kind], name.as_bytes()),
                        naive.insert((kind, name, client))
                    ),
                    3 => prop_assert_eq!(
                        register.unsubscribe(client, KINDS[kind], name.as_bytes()),
                        naive.remove(&(kind, name, client))
                    ),
                    _ => {
                        register.leave(client);
                        naive.retain(|(_, _, held)| *held != client);
                    }
                }
            }
            let mut expected: Vec<(u64, Option<String>)> =
                naive.iter().filter(|(kind, name, _)| *kind == 0 && *name == channel).map(|all| (all.2, None)).collect();
            let matching = |name: &str| glob::matches(name.as_bytes(), channel.as_bytes(), false);
            let by_pattern = naive.iter().filter(|(kind, name, _)| *kind == 1 && matching(name));
            expected.extend(by_pattern.map(|(_, name, client)| (*client, Some(name.clone()))));
            prop_assert_eq!(received(&register, false, &channel), expected);
            for client in 0..4 {
                let held = |kind| naive.iter().filter(|all| all.0 == kind && all.2 == client).count() as u32;
                prop_assert_eq!(register.counts(client), [held(0), held(1), held(2)]);
            }
            let listed: BTreeSet<u64> = naive.iter().map(|all| all.2).collect();
            prop_assert_eq!(register.clients(), listed.len());
        }
    }
}
