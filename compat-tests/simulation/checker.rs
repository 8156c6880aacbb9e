//! What must hold when everything is healed, whatever went wrong before.
//!
//! The replicas note every write event as they name it ([`Minted`]): its dot, the siblings it replaced, the context it
//! was given. With what the clients remember, that is the whole truth about who had seen what; nothing is guessed from
//! contexts that lie in the replicas now, which may be wrong or, where the past is settled, gone.

use crate::clients::{History, Outcome, Written};
use crate::machine::Machine;
use dynamis::causality::{Dot, token};
use dynamis::key::StorageKey;
use dynamis::object::Object;
use dynamis::world::simulation::{Minted, all_minted};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Where the machines disagree, or are not done yet; none: all homes of all keys hold the same.
pub fn unsettled(machines: &[Rc<Machine>], keys: &[StorageKey]) -> Option<String> {
    let mut nodes = Vec::new();
    for (number, machine) in machines.iter().enumerate() {
        let Some(node) = machine.node.borrow().clone() else { return Some(format!("n{number} does not serve yet")) };
        let hints = node.replica().store().stats().hints;
        if hints > 0 {
            let homes = node.replica().hinted_homes();
            let kept: Vec<_> = homes.iter().map(|home| node.replica().kept_for(*home, None, 100, 1 << 20)).collect();
            return Some(format!("n{number} still keeps {hints} copies for others: {homes:?} {kept:?}"));
        }
        if node.replica().is_filling() {
            return Some(format!("n{number} is still filling up"));
        }
        if node.view().nodes.len() != machines.len() {
            return Some(format!("n{number} knows {} members", node.view().nodes.len()));
        }
        nodes.push(node);
    }
    for key in keys {
        let view = nodes[0].view();
        let n = usize::from(view.policies[0].n);
        let homes = view.ring.homes(view.ring.partitions().of(key.token()), n);
        let ids: BTreeSet<_> = homes.iter().map(|home| view.nodes[usize::from(*home)].id).collect();
        let homes = nodes.iter().enumerate().filter(|(_, node)| ids.contains(&node.view().own().id));
        let copies: Vec<_> = homes.map(|(number, node)| (number, node.local(key))).collect();
        let digests: BTreeSet<_> =
            copies.iter().map(|(_, copy)| copy.as_ref().map(|copy| copy.digest(key).0).ok()).collect();
        if copies.len() != n || digests.len() != 1 || digests.contains(&None) {
            return Some(format!("the homes of {} differ: {copies:#?}", shown(key)));
        }
    }
    None
}

/// What every home of a key holds, once they all hold the same.
pub fn copies(machines: &[Rc<Machine>], keys: &[StorageKey]) -> BTreeMap<StorageKey, Object> {
    let nodes: Vec<_> = machines.iter().filter_map(|machine| machine.node.borrow().clone()).collect();
    let held = |key: &StorageKey| {
        let view = nodes[0].view();
        let home = view.ring.homes(view.ring.partitions().of(key.token()), 1)[0];
        let id = view.nodes[usize::from(home)].id;
        let node = nodes.iter().find(|node| node.view().own().id == id).expect("every member runs");
        node.local(key).expect("no record is damaged")
    };
    keys.iter().map(|key| (key.clone(), held(key))).collect()
}

/// Every promise that was broken, in words.
pub fn faults(copies: &BTreeMap<StorageKey, Object>, history: &History) -> Vec<String> {
    let mut faults = Vec::new();
    let minted = all_minted();
    let (writes, shown_with) = (history.writes.borrow(), history.shown.borrow());
    for (key, copy) in copies {
        let name = shown(key);
        let key = Key {
            name: &name,
            copy,
            minted: minted.iter().filter(|event| event.key == key.as_bytes()).collect(),
            writes: writes.iter().filter(|write| write.key == name).collect(),
            shown: &shown_with,
        };
        key.lost(&mut faults);
        key.risen(&mut faults);
        key.made_up(&mut faults);
    }
    for (key, value) in history.seen.borrow().iter() {
        if !writes.iter().any(|write| write.key == *key && write.value.as_ref() == Some(value)) {
            faults.push(format!("{key}: a read showed {value}, which nobody wrote there"));
        }
    }
    faults
}

/// The name of a key as clients say it.
pub fn shown(key: &StorageKey) -> String {
    String::from_utf8_lossy(key.user_key()).into_owned()
}

/// One key and all that is known of it.
struct Key<'a> {
    name: &'a str,
    copy: &'a Object,
    minted: Vec<&'a Minted>,
    writes: Vec<&'a Written>,
    shown: &'a BTreeMap<String, BTreeSet<String>>,
}

impl Key<'_> {
    /// Acknowledged values that are neither there nor overwritten by a write that had seen them.
    fn lost(&self, faults: &mut Vec<String>) {
        let accounted = self.accounted();
        for write in self.writes.iter().filter(|write| matches!(write.outcome, Outcome::Acknowledged(_))) {
            let Some(value) = &write.value else { continue };
            let mut events = self.events_of(value).peekable();
            if events.peek().is_none() {
                faults.push(format!("{}: {value} was acknowledged and never named by any replica", self.name));
            } else if !events.any(|event| accounted.contains(&event.dot)) {
                faults.push(format!("{}: LOST {write:?}\n{}", self.name, self.story()));
            }
        }
    }

    /// The events that are there, or were overwritten (by an event that is accounted for, by a delete), or may expire.
    fn accounted(&self) -> BTreeSet<Dot> {
        let mut events = self.minted.clone();
        // Whoever has seen an event is later than it.
        events.sort_by_key(|event| std::cmp::Reverse(event.dot));
        let mut accounted: BTreeSet<Dot> = BTreeSet::new();
        for (at, event) in events.iter().enumerate() {
            let is_there = self.copy.siblings.iter().any(|sibling| sibling.dot == event.dot);
            let overwritten =
                events[..at].iter().any(|later| accounted.contains(&later.dot) && self.replaced(later, event));
            if is_there || overwritten || event.value.is_none() || event.expires {
                accounted.insert(event.dot);
            }
        }
        accounted
    }

    /// Whether a write replaced another knowingly: where it was named, or because its client had been shown the other. That
    /// a context covers it is not enough: the context may say so wrongly. (What was covered and not shown had been replaced
    /// by something else, which accounts for it.)
    fn replaced(&self, later: &Minted, event: &Minted) -> bool {
        let shown = || {
            let shown = later.given.as_ref().and_then(|given| self.shown.get(&token::encode(given)));
            let value = event.value.as_deref().map(String::from_utf8_lossy);
            shown.zip(value).is_some_and(|(shown, value)| shown.contains(&*value))
        };
        later.dot != event.dot && (later.replaced.contains(&event.dot) || shown())
    }

    /// Values that are there although a write that was acknowledged had seen them.
    fn risen(&self, faults: &mut Vec<String>) {
        let live = self.copy.siblings.iter().filter(|sibling| sibling.value.is_some());
        for event in live.filter_map(|sibling| self.minted.iter().find(|event| event.dot == sibling.dot)) {
            let by = self.minted.iter().find(|later| had_seen(later, event) && self.is_acknowledged(later));
            if let Some(by) = by {
                faults.push(format!("{}: RISEN {event:?}\nwhich {by:?} had overwritten\n{}", self.name, self.story()));
            }
        }
    }

    /// Values that nobody wrote, or that were refused.
    fn made_up(&self, faults: &mut Vec<String>) {
        for value in self.copy.siblings.iter().filter_map(|sibling| sibling.value.as_ref()) {
            let value = String::from_utf8_lossy(value);
            let mut writes = self.writes.iter().filter(|write| write.value.as_deref() == Some(&*value)).peekable();
            if writes.peek().is_none() {
                faults.push(format!("{}: holds {value}, which nobody wrote there", self.name));
            } else if writes.all(|write| matches!(write.outcome, Outcome::Refused(_))) {
                faults.push(format!("{}: holds {value}, which was refused\n{}", self.name, self.story()));
            }
        }
    }

    fn events_of<'a>(&'a self, value: &'a str) -> impl Iterator<Item = &'a &'a Minted> {
        self.minted.iter().filter(move |event| event.value.as_deref() == Some(value.as_bytes()))
    }

    /// Whether the write that made this event was acknowledged under exactly this name.
    fn is_acknowledged(&self, event: &Minted) -> bool {
        let acknowledged = |write: &&&Written| matches!(write.outcome, Outcome::Acknowledged(_));
        match &event.value {
            Some(value) => {
                // A request id may have been given several names; which of them was acknowledged is not known.
                let single = self.minted.iter().filter(|other| other.value == event.value).count() == 1;
                let value = String::from_utf8_lossy(value);
                let mut writes = self.writes.iter().filter(acknowledged);
                single && writes.any(|write| write.value.as_deref() == Some(&*value))
            }
            None => self.writes.iter().filter(acknowledged).any(|write| named(write) == Some(event.dot)),
        }
    }

    fn story(&self) -> String {
        let mut story = format!("  now: {:?}\n", self.copy);
        self.minted.iter().for_each(|event| story += &format!("  named: {event:?}\n"));
        self.writes.iter().for_each(|write| story += &format!("  asked: {write:?}\n"));
        story
    }
}

/// Whether a write covers another, as it was named or as its client said.
fn had_seen(later: &Minted, event: &Minted) -> bool {
    let given = || later.given.as_ref().is_some_and(|given| given.covers(&event.dot));
    later.dot != event.dot && (later.replaced.contains(&event.dot) || given())
}

/// The name of an acknowledged `DYN.` write: of all that its context names it is the latest, for a dot is stamped above
/// everything in the object.
fn named(write: &Written) -> Option<Dot> {
    let Outcome::Acknowledged(Some(context)) = &write.outcome else { return None };
    let context = token::decode(context.as_bytes()).expect("a context that a node gave");
    context.entries().iter().map(|(actor, hlc)| Dot { hlc: *hlc, actor: *actor }).max()
}
