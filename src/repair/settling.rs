//! Earning words and writing down marks: the hands of [`crate::settling`].
//!
//! # Contract
//! - A mark is written down before anything is forgotten by it, and before it travels with a copy.
//! - A node that lost copies takes over the greatest floor of all members before it takes in copies that may be old; a
//!   newcomer stamps above it before it serves anybody.
//! - Costs a report to each member each second, and about one fsync each second on each, which `appendfsync everysec` makes
//!   anyway.

use crate::causality::{Hlc, NodeId, NodeTag};
use crate::membership::Membership;
use crate::membership::view::View;
use crate::message::control::Control;
use crate::message::data_plane::{DATA, Question};
use crate::message::settling::Report;
use crate::peer::settings::PeerSettings;
use crate::replica::Replica;
use crate::settling::{Facts, Settling, Wanted};
use crate::storage::batch::Batch;
use crate::storage::home::Home;
use crate::world::spawn_blocking;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// The name under which the highest mark is written down (u64, little-endian).
pub const FLOOR_FILE: &str = "floor";

/// How often the machine is let take a step.
const STEP_EVERY: Duration = Duration::from_millis(50);
/// How often a word is earned in quiet times, a report repeated, and a mark written down.
const CYCLE: Duration = Duration::from_secs(1);
/// How long a member may take to fsync. Once a second it does so anyway.
const SYNC_TIMEOUT: Duration = Duration::from_secs(4);
/// After so long without an fsync of its own accord, one is asked for.
const SYNC_PATIENCE: Duration = Duration::from_millis(1500);

/// This node's part in settling. Shared by those who hear reports, compare, and ask how it stands.
pub struct Settler {
    machine: Mutex<Settling>,
    peers: Arc<PeerSettings>,
    replica: Arc<Replica>,
    /// Rung when homes are to be compared with.
    compare: Notify,
}

/// How it stands, for INFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Everything up to here is on the disks of all homes; zero: not known yet.
    pub mark: Hlc,
    /// The member whose word is the least.
    pub holder: NodeTag,
    /// Whether words stand still until every two homes have compared.
    pub in_round: bool,
}

impl Settler {
    /// A node that has said nothing in this life yet.
    pub fn new(me: NodeTag, peers: Arc<PeerSettings>, replica: Arc<Replica>) -> Arc<Settler> {
        Arc::new(Settler { machine: Mutex::new(Settling::new(me)), peers, replica, compare: Notify::new() })
    }

    /// Another member has reported.
    pub fn heard(&self, from: NodeId, report: Report) {
        self.machine.lock().heard(from.tag(), report);
    }

    /// Returns when some homes are to be compared with.
    pub async fn compare_wanted(&self) {
        self.compare.notified().await;
    }

    /// Which homes are to be compared with now, and under which ticket.
    pub fn to_compare(&self) -> Option<(u64, BTreeSet<NodeTag>)> {
        match self.machine.lock().wanted() {
            Wanted::Compare(ticket, nodes) => Some((ticket, nodes)),
            _ => None,
        }
    }

    /// A comparison that began after [`Settler::to_compare`] has come to its end.
    pub fn compared(&self, ticket: u64, node: NodeTag) {
        self.machine.lock().compared(ticket, node);
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        let machine = self.machine.lock();
        let (mark, holder) = machine.mark();
        Standing { mark, holder, in_round: machine.in_round() }
    }

    /// Whether everything `from` had sent by now has been taken in and fsynced here. Not while an older connection of it is
    /// left: what was sent on that may still be read.
    pub async fn make_durable(&self, from: NodeId) -> bool {
        self.peers.seats.count(from) == 1 && fsynced(&self.replica).await
    }

    /// Waits until all members count this one in; then nothing is stamped at or below what they have settled.
    pub async fn counted_in(&self) {
        loop {
            if let Some(floor) = self.machine.lock().floor_of_all() {
                return self.replica.clock.raise(floor);
            }
            sleep(STEP_EVERY).await;
        }
    }
}

/// Returns once everything taken in so far is fsynced; false: it could not be, or some of it was lost and is not made good.
async fn fsynced(replica: &Arc<Replica>) -> bool {
    fsync(replica).await && !replica.is_filling()
}

async fn fsync(replica: &Arc<Replica>) -> bool {
    let Some(committed) = commit_nothing(replica, false).await else { return false };
    if committed.durable || timeout(SYNC_PATIENCE, replica.store().durable(committed.number)).await.is_ok() {
        return true;
    }
    commit_nothing(replica, true).await.is_some_and(|committed| committed.durable)
}

async fn commit_nothing(replica: &Arc<Replica>, sync: bool) -> Option<crate::storage::store::Committed> {
    let (told, hear) = oneshot::channel();
    replica.submit(Batch::new(), sync, Box::new(move |result| drop(told.send(result))));
    hear.await.ok()?.ok()
}

/// Settles for ever. `lost`: copies were lost before this life.
pub async fn run(settler: Arc<Settler>, membership: Arc<Membership>, home: Arc<Home>, lost: bool) {
    membership.formed().await;
    let mut driver = Driver {
        settler,
        membership,
        home,
        floors_unknown: lost,
        syncs: JoinSet::new(),
        syncing: BTreeSet::new(),
        told: None,
        earned: Instant::now(),
        written: Instant::now(),
    };
    loop {
        sleep(STEP_EVERY).await;
        driver.step();
        driver.write_down().await;
    }
}

struct Driver {
    settler: Arc<Settler>,
    membership: Arc<Membership>,
    home: Arc<Home>,
    floors_unknown: bool,
    syncs: JoinSet<(u64, NodeTag, bool)>,
    syncing: BTreeSet<(u64, NodeTag)>,
    /// The last report, and when it was sent.
    told: Option<(Report, Instant)>,
    /// When the word was earned last.
    earned: Instant,
    /// When a mark was written down last.
    written: Instant,
}

impl Driver {
    fn step(&mut self) {
        let view = self.membership.view();
        let replica = self.settler.replica.clone();
        while let Some(ended) = self.syncs.try_join_next() {
            let Ok((ticket, node, done)) = ended else { continue };
            self.syncing.remove(&(ticket, node));
            if done {
                self.settler.machine.lock().synced(ticket, node);
            }
        }
        let facts = self.facts(&view);
        let settler = self.settler.clone();
        let mut machine = settler.machine.lock();
        let word = machine.report(Hlc(0)).word;
        #[cfg(feature = "simulation")]
        let facts = rehearsed::facts(facts, &mut machine);
        machine.step(facts);
        #[cfg(feature = "simulation")]
        rehearsed::skip(&mut machine);
        if machine.wanted() == Wanted::Draw {
            // Time itself need be settled only where something waits for it to pass.
            let waits = replica.past.is_any() && !machine.in_round();
            let upto = if waits { replica.clock.advance(view.nodes.len()) } else { replica.clock.last() };
            replica.under_way.change();
            machine.drawn(upto);
        }
        match machine.wanted() {
            Wanted::Sync(ticket, nodes) => self.sync(&view, ticket, nodes),
            Wanted::Compare(..) => settler.compare.notify_one(),
            Wanted::Draw | Wanted::Nothing => {}
        }
        let report = machine.report(replica.floor());
        // Before anybody hears of it, and forgets something by it.
        replica.raise_floor_max(machine.mark_max());
        drop(machine);
        if report.word > word {
            self.earned = Instant::now();
        }
        self.tell(&view, report);
    }

    fn facts(&self, view: &View) -> Facts {
        let replica = &self.settler.replica;
        let others = || view.nodes.iter().filter_map(|node| Some((node, node.link.as_ref()?)));
        let closed = others().all(|(node, link)| {
            !self.settler.peers.seats.has_older(node.id, node.life)
                && link.hello().is_none_or(|hello| hello.start_number >= node.life)
        });
        // In this order: who missed something is noted before the ticket comes back.
        let drained = replica.under_way.drained();
        Facts {
            tag: view.settling_tag,
            others: others().map(|(node, _)| node.tag).collect(),
            closed,
            drained,
            missed: replica.under_way.take_missed(),
            keeps_copies: replica.keeps_copies(),
            due: self.earned.elapsed() >= CYCLE,
        }
    }

    /// Has members fsync that are not doing so already.
    fn sync(&mut self, view: &View, ticket: u64, nodes: BTreeSet<NodeTag>) {
        for tag in nodes {
            let Some(node) = view.index_of_tag(tag).map(|at| &view.nodes[at]) else { continue };
            if !node.is_reachable() || !self.syncing.insert((ticket, tag)) {
                continue;
            }
            let (link, replica) = (node.link.clone(), self.settler.replica.clone());
            self.syncs.spawn(async move {
                let done = match link {
                    Some(link) => link.ask(vec![DATA, Question::Durable as u8], SYNC_TIMEOUT).await.is_ok(),
                    None => fsynced(&replica).await,
                };
                (ticket, tag, done)
            });
        }
    }

    /// Reports when there is news, and each second.
    fn tell(&mut self, view: &View, report: Report) {
        let fresh = self.told.is_some_and(|(told, at)| told == report && at.elapsed() < CYCLE);
        if fresh {
            return;
        }
        self.told = Some((report, Instant::now()));
        let body = Control::Report(report).encode();
        view.nodes.iter().filter_map(|node| node.link.as_ref()).for_each(|link| link.tell(body.clone()));
    }

    /// Writes a higher mark down when somebody needs it: something may be forgotten here, or others go by it already.
    async fn write_down(&mut self) {
        let replica = &self.settler.replica;
        let (mark, of_all) = {
            let machine = self.settler.machine.lock();
            (machine.mark().0, machine.floor_of_all())
        };
        if self.floors_unknown {
            let Some(floor) = of_all else { return };
            if self.write(floor.max(replica.floor())).await {
                self.floors_unknown = false;
                self.settler.replica.floors_known();
            }
            return;
        }
        let wanted = mark > replica.floor() && self.written.elapsed() >= CYCLE && !replica.is_filling();
        if wanted && (replica.past.is_any() || of_all.is_some_and(|floor| floor > replica.floor())) {
            self.written = Instant::now();
            self.write(mark).await;
        }
    }

    async fn write(&self, floor: Hlc) -> bool {
        let home = self.home.clone();
        let written = spawn_blocking(move || home.write_sealed(FLOOR_FILE, &floor.0.to_le_bytes())).await;
        match written {
            Ok(Ok(())) => {
                self.settler.replica.raise_floor(floor);
                true
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "what is settled could not be written down; nothing is forgotten meanwhile");
                false
            }
            Err(_) => false,
        }
    }
}

/// How far a mark lies behind the last stamp, in milliseconds; none while there is no mark.
pub fn lag_ms(mark: Hlc, last: Hlc) -> Option<u64> {
    (mark > Hlc(0)).then(|| last.ms().saturating_sub(mark.ms()))
}

/// Where a simulation breaks settling on purpose. Not part of a server.
#[cfg(feature = "simulation")]
mod rehearsed {
    use crate::causality::Hlc;
    use crate::message::settling::{Report, Stage};
    use crate::settling::{Facts, Settling, Wanted};
    use crate::world::simulation::{Mutation, is_broken};
    use std::collections::BTreeSet;

    fn waits_for_nothing(machine: &Settling) -> bool {
        is_broken(Mutation::WordWithoutWaiting) && !machine.in_round()
    }

    fn skips_round(machine: &Settling) -> bool {
        is_broken(Mutation::RoundSkipped) && machine.in_round()
    }

    /// What the machine is told instead of what is.
    pub(super) fn facts(facts: Facts, machine: &mut Settling) -> Facts {
        if waits_for_nothing(machine) {
            return Facts { drained: true, missed: BTreeSet::new(), keeps_copies: false, ..facts };
        }
        if skips_round(machine) {
            let report = Report { tag: facts.tag, stage: Stage::Compared, word: Hlc(0), floor: Hlc(0) };
            facts.others.iter().for_each(|other| machine.heard(*other, report));
            return Facts { closed: true, drained: true, keeps_copies: false, ..facts };
        }
        facts
    }

    /// Takes for done what the machine waits for.
    pub(super) fn skip(machine: &mut Settling) {
        match machine.wanted() {
            Wanted::Compare(ticket, nodes) if waits_for_nothing(machine) || skips_round(machine) => {
                nodes.into_iter().for_each(|node| machine.compared(ticket, node));
            }
            Wanted::Sync(ticket, nodes) if waits_for_nothing(machine) => {
                nodes.into_iter().for_each(|node| machine.synced(ticket, node));
            }
            _ => {}
        }
    }
}
