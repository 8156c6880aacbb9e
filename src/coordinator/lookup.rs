//! A read of a round: its machine, what is done with what it gets, and whom that repairs.

use super::slot::{Desk, Ready, Sending, UNPLACED};
use crate::causality::Hlc;
use crate::key::StorageKey;
use crate::message::operation::{Failure, Operation, Outcome};
use crate::object::digest::Digest;
use crate::quorum::{Verdict, get};
use crate::replica::count_up::Reading;
use std::sync::atomic::Ordering;

/// A read coordinated here.
pub struct Lookup {
    /// Its quorum.
    pub machine: get::Get,
    /// The digest of this node's own copy.
    pub own: Digest,
    /// This node's floor before anyone was asked.
    pub floor: Hlc,
    /// What is to be done with what it gets.
    pub purpose: Purpose,
}

/// What a read is for.
#[derive(Debug)]
pub enum Purpose {
    /// To be shown.
    Show,
    /// To be added to.
    Add(Box<Operation>),
}

impl Lookup {
    /// Adds questions to the frames.
    pub fn ask(&self, key: &StorageKey, asks: &[u16], at: u32, sending: &mut Sending) {
        for node in asks {
            let frame = sending.frame(*node);
            frame.requests.read(key, self.own);
            frame.slots.push(at);
            frame.hurry |= self.machine.has_spare();
            frame.reads = true;
        }
    }

    /// How it ended, once the machine has a verdict; then homes that answered with less than all hold together are repaired.
    /// What is to be added to goes on instead. Call it until it has given an outcome, no longer.
    pub fn conclude(&mut self, key: &StorageKey, desk: &Desk<'_>, sending: &mut Sending) -> Option<Outcome> {
        match self.machine.verdict() {
            Verdict::Pending => None,
            Verdict::Lost => {
                desk.coordinator.stats.quorums_missed.fetch_add(1, Ordering::Relaxed);
                let (answered, needed) = (self.machine.answers(), self.machine.needed());
                Some(Outcome::Failed(Failure::ReadShort { answered, needed }))
            }
            Verdict::Won => match std::mem::replace(&mut self.purpose, Purpose::Show) {
                Purpose::Show => {
                    self.repair(key, desk, sending);
                    Some(Outcome::Got(desk.shown(self.machine.take_merged())))
                }
                Purpose::Add(operation) => {
                    let object = self.machine.take_merged();
                    let reading = Reading { object, floor: self.floor_of(), of_home: self.machine.home_answered() };
                    // What it writes repairs whoever holds less.
                    sending.ready.push(Ready { at: UNPLACED, operation: *operation, reading });
                    None
                }
            },
        }
    }

    /// Sends what all hold together to homes that answered with less (§5).
    fn repair(&self, key: &StorageKey, desk: &Desk<'_>, sending: &mut Sending) {
        let stale = self.machine.stale(key);
        if stale.is_empty() {
            return;
        }
        let merged = self.machine.merged();
        let mut bytes = Vec::with_capacity(merged.encoded_bytes());
        merged.encode(&mut bytes);
        let floor = self.floor_of();
        for node in stale {
            if usize::from(node) == desk.view.me {
                sending.own_repairs.push((key.clone(), merged.clone(), floor));
            } else {
                sending.repair(node, key, &bytes, floor);
            }
        }
    }

    /// What its result bears. Homes were asked after the floor was known, so what they said is as good as read at it; a loan
    /// is not.
    fn floor_of(&self) -> Hlc {
        if self.machine.has_loans() { Hlc(0) } else { self.floor.max(Hlc(1)) }
    }
}
