//! One run: a plan is carried out, everything is healed, and the promises are held against what is left.

use crate::checker;
use crate::clients::{self, History};
use crate::counting;
use crate::faults::{CLIENTS, End, Fault, Plan};
use crate::machine::{Machine, name};
use dynamis::key::StorageKey;
use dynamis::world::simulation::{self, Mutation};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use std::time::{Duration, SystemTime};
use turmoil::Sim;

/// Simulated time advances in steps of this length.
const TICK: Duration = Duration::from_millis(1);

/// How long all homes may take to hold the same once everything is healed.
const HEALED_MS_MAX: u64 = 60_000;

/// How long nothing may change any more after that.
const QUIET_MS: u64 = 3_000;

/// The name of the machine that the clients run on.
const CLIENTS_NAME: &str = "clients";

/// What a run amounted to.
#[derive(Debug, PartialEq)]
pub struct Summary {
    /// A hash of everything the clients saw and everything that was left.
    pub digest: u64,
    /// Writes that were acknowledged.
    pub acknowledged: usize,
    /// Writes that may have been made.
    pub unsure: usize,
    /// Reads that were answered.
    pub reads: u64,
    /// Tombstones that nodes running at the end have deleted.
    pub reaped: u64,
    /// Simulated milliseconds from the last fault until all homes held the same.
    pub healed_ms: u64,
}

/// Carries out the run of a seed. An error tells which promise was broken.
pub fn run(plan: Plan, mutation: Option<Mutation>) -> Result<Summary, String> {
    simulation::mutate(mutation);
    simulation::double_one_in(plan.doubled);
    let result = Run::new(plan).and_then(Run::carry_out);
    simulation::leave();
    result
}

struct Run {
    plan: Rc<Plan>,
    sim: Sim<'static>,
    machines: Vec<Rc<Machine>>,
    history: Rc<History>,
    random: StdRng,
    now_ms: u64,
    has_clients: bool,
    /// The fault of the network that goes on; there is one at a time.
    network: Option<Fault>,
}

impl Run {
    fn new(plan: Plan) -> Result<Run, String> {
        let epoch = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let mut sim = turmoil::Builder::new()
            .rng_seed(plan.seed)
            .epoch(epoch)
            .tick_duration(TICK)
            .tcp_capacity(1 << 14)
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(8))
            .simulation_duration(Duration::from_secs(3_600))
            .enable_random_order()
            .build();
        let machines: Vec<Rc<Machine>> = (0..plan.nodes).map(|node| Machine::new(node, &plan)).collect();
        for (node, machine) in machines.iter().enumerate() {
            let machine = machine.clone();
            sim.host(name(node), move || machine.clone().live());
        }
        let random = StdRng::seed_from_u64(plan.seed ^ 0x5eed_0002);
        let history = Rc::new(History::default());
        let mut run =
            Run { plan: Rc::new(plan), sim, machines, history, random, now_ms: 0, has_clients: false, network: None };
        run.until(30_000, "the nodes do not form a cluster", |run| {
            let formed = |machine: &Rc<Machine>| {
                machine.node.borrow().as_ref().is_some_and(|node| {
                    let view = node.view();
                    view.nodes.len() == run.plan.nodes && view.nodes.iter().all(|node| node.is_reachable())
                })
            };
            run.machines.iter().all(formed).then_some(()).ok_or_else(String::new)
        })?;
        Ok(run)
    }

    fn carry_out(mut self) -> Result<Summary, String> {
        let (plan, history) = (self.plan.clone(), self.history.clone());
        self.sim.client(CLIENTS_NAME, clients::run(plan.clone(), history.clone()));
        self.has_clients = true;
        let start_ms = self.now_ms;
        let mut events: Vec<(u64, usize, bool)> = Vec::new();
        for (at, planned) in plan.faults.iter().enumerate() {
            events.push((planned.at_ms, at, true));
            events.push((planned.until_ms, at, false));
        }
        events.sort_unstable();
        for (at_ms, at, begins) in events {
            while self.now_ms - start_ms < at_ms.min(plan.load_ms) {
                self.step()?;
            }
            let fault = plan.faults[at].fault.clone();
            if begins { self.begin(&fault) } else { self.end(&fault) }
        }
        while self.now_ms - start_ms < plan.load_ms {
            self.step()?;
        }
        self.history.stop();
        self.heal();
        self.until(10_000, "the clients do not end", |run| {
            run.history.is_over().then_some(()).ok_or_else(String::new)
        })?;
        let (keys, counters) = (self.keys(), self.counters());
        let all: Vec<StorageKey> = keys.iter().chain(&counters).cloned().collect();
        let healed_at_ms = self.now_ms;
        self.until(HEALED_MS_MAX, "not all homes came to hold the same", |run| {
            checker::unsettled(&run.machines, &all).map_or(Ok(()), Err)
        })?;
        let healed_ms = self.now_ms - healed_at_ms;
        self.check(&keys, &counters)?;
        let quiet_until_ms = self.now_ms + QUIET_MS;
        while self.now_ms < quiet_until_ms {
            self.step()?;
        }
        // A frame that comes twice may have left a hint once more.
        self.until(HEALED_MS_MAX, "homes that held the same came to differ again, and did not agree", |run| {
            checker::unsettled(&run.machines, &all).map_or(Ok(()), Err)
        })?;
        self.check(&keys, &counters)?;
        Ok(self.summary(&all, healed_ms))
    }

    fn keys(&self) -> Vec<StorageKey> {
        let names = (0..self.plan.keys).flat_map(|key| [format!("k{key}"), format!("ttl-k{key}")]);
        names.map(|name| StorageKey::new(0, name.as_bytes()).expect("a short name")).collect()
    }

    fn counters(&self) -> Vec<StorageKey> {
        let names = counting::names().filter(|_| self.plan.counting > 0);
        names.map(|name| StorageKey::new(0, name.as_bytes()).expect("a short name")).collect()
    }

    fn step(&mut self) -> Result<(), String> {
        self.now_ms += TICK.as_millis() as u64;
        self.sim.step().map(drop).map_err(|error| format!("a node did not start, or a client failed: {error}"))
    }

    /// Goes on until something holds.
    fn until(
        &mut self,
        ms_max: u64,
        otherwise: &str,
        holds: impl Fn(&Run) -> Result<(), String>,
    ) -> Result<(), String> {
        let limit_ms = self.now_ms + ms_max;
        loop {
            for _ in 0..50 {
                self.step()?;
            }
            match holds(self) {
                Ok(()) => return Ok(()),
                Err(why) if self.now_ms > limit_ms => return Err(format!("{otherwise} within {ms_max} ms: {why}")),
                Err(_) => {}
            }
        }
    }

    fn begin(&mut self, fault: &Fault) {
        if !matches!(fault, Fault::Down(..) | Fault::Jump(..)) {
            self.network = Some(fault.clone());
        }
        match fault {
            Fault::Cut(a, b) => self.sim.partition(machine(*a), machine(*b)),
            Fault::CutOneWay(a, b) => self.sim.partition_oneway(machine(*a), machine(*b)),
            Fault::Split(group) => self.across(group, |sim, a, b| sim.partition(a, b)),
            Fault::Hold(a, b) => self.sim.hold(machine(*a), machine(*b)),
            Fault::Slow(a, b, ms) => {
                self.sim.set_link_latency(machine(*a), machine(*b), Duration::from_millis(*ms));
            }
            Fault::Down(node, End::Stopped) => self.machines[*node].stop(),
            Fault::Down(node, end) => self.kill(*node, *end),
            Fault::Jump(node, ms) => self.machines[*node].host.set_skew_ms(*ms),
        }
    }

    fn end(&mut self, fault: &Fault) {
        if !matches!(fault, Fault::Down(..) | Fault::Jump(..)) {
            self.network = None;
        }
        match fault {
            Fault::Cut(a, b) => {
                self.sim.repair(machine(*a), machine(*b));
                self.break_links(|from, to| from.min(to) == *a.min(b) && from.max(to) == *a.max(b));
            }
            Fault::CutOneWay(a, b) => {
                self.sim.repair_oneway(machine(*a), machine(*b));
                self.break_links(|from, to| from.min(to) == *a.min(b) && from.max(to) == *a.max(b));
            }
            Fault::Split(group) => {
                self.across(group, |sim, a, b| sim.repair(a, b));
                self.break_links(|from, to| group.contains(&from) != group.contains(&to));
            }
            Fault::Hold(a, b) => self.sim.release(machine(*a), machine(*b)),
            Fault::Slow(a, b, _) => self.sim.set_link_latency(machine(*a), machine(*b), Duration::from_millis(2)),
            Fault::Down(node, _) => self.start(*node),
            Fault::Jump(..) => {}
        }
    }

    fn across(&self, group: &[usize], act: impl Fn(&Sim<'static>, String, String)) {
        for a in group {
            for b in (0..self.plan.nodes).filter(|node| !group.contains(node)) {
                act(&self.sim, machine(*a), machine(b));
            }
        }
    }

    /// A cut loses what simulated connections do not send again, so they are dead for ever. A kernel sends it again, or
    /// gives the connection up in the end; here it does so when the cut ends.
    fn break_links(&self, crosses: impl Fn(usize, usize) -> bool) {
        for (from, machine) in self.machines.iter().enumerate() {
            let Some(node) = machine.node.borrow().clone() else { continue };
            for to in &node.view().nodes {
                let number = (0..self.plan.nodes).find(|number| name(*number) == to.host);
                if let Some(link) = to.link.as_ref().filter(|_| number.is_some_and(|number| crosses(from, number))) {
                    link.break_off();
                }
            }
        }
    }

    fn kill(&mut self, node: usize, end: End) {
        self.darkened(node, |run| {
            let (machine, sim) = (&run.machines[node], &mut run.sim);
            machine.kill(|| sim.crash(name(node)));
        });
        let machine = &self.machines[node];
        match end {
            End::Stopped => {}
            End::Crashed(share) => {
                let unsynced = (machine.disk.unsynced() as f64 * share) as usize;
                let lost = if unsynced == 0 { 0 } else { self.random.random_range(0..=unsynced) };
                machine.disk.lose_unsynced(lost);
            }
            End::Wiped => machine.disk.wipe(),
            End::Truncated(commits) => machine.disk.truncate(commits),
        }
    }

    /// Starts a machine's software, killing what still stops.
    fn start(&mut self, node: usize) {
        if self.machines[node].is_up() {
            return;
        }
        self.darkened(node, |run| {
            let (machine, sim) = (&run.machines[node], &mut run.sim);
            machine.kill(|| sim.crash(name(node)));
            sim.bounce(name(node));
        });
    }

    /// Ends a machine's tasks as a power cut does: without a last word on any connection. (In which order tokio drops the
    /// tasks of a runtime is not the seed's to say; so nothing may come of it.)
    fn darkened(&mut self, node: usize, act: impl FnOnce(&mut Run)) {
        let others = (0..self.plan.nodes).filter(|other| *other != node).map(machine);
        let others: Vec<String> = others.chain(self.has_clients.then(|| machine(CLIENTS))).collect();
        others.iter().for_each(|other| self.sim.partition(name(node), other.as_str()));
        act(self);
        others.iter().for_each(|other| self.sim.repair(name(node), other.as_str()));
        if let Some(fault) = self.network.clone() {
            self.begin(&fault);
        }
    }

    fn heal(&mut self) {
        if let Some(fault) = self.network.clone() {
            self.end(&fault);
        }
        for a in 0..self.plan.nodes {
            for b in a + 1..self.plan.nodes {
                self.sim.release(name(a), name(b));
                self.sim.repair(name(a), name(b));
                self.sim.set_link_latency(name(a), name(b), Duration::from_millis(2));
            }
            self.sim.repair(name(a), CLIENTS_NAME);
            self.machines[a].host.set_skew_ms(0);
            if !self.sim.is_host_running(name(a)) {
                self.start(a);
            }
        }
    }

    fn check(&self, keys: &[StorageKey], counters: &[StorageKey]) -> Result<(), String> {
        let mut faults = checker::faults(&checker::copies(&self.machines, keys), &self.history);
        let counted = checker::copies(&self.machines, counters);
        faults.extend(counting::faults(&counted, &self.history.additions.borrow()));
        if faults.is_empty() { Ok(()) } else { Err(faults.join("\n\n")) }
    }

    fn reaped(&self) -> u64 {
        let nodes = self.machines.iter().filter_map(|machine| machine.node.borrow().clone());
        nodes.map(|node| node.replica().stats.tombstones_reaped.load(std::sync::atomic::Ordering::Relaxed)).sum()
    }

    fn summary(&self, keys: &[StorageKey], healed_ms: u64) -> Summary {
        let mut hash = DefaultHasher::new();
        for (key, copy) in checker::copies(&self.machines, keys) {
            copy.digest(&key).0.hash(&mut hash);
        }
        let writes = self.history.writes.borrow();
        writes.iter().for_each(|write| format!("{write:?}").hash(&mut hash));
        self.history.seen.borrow().hash(&mut hash);
        let additions = self.history.additions.borrow();
        additions.iter().for_each(|addition| format!("{addition:?}").hash(&mut hash));
        let all = || writes.iter().map(|write| &write.outcome).chain(additions.iter().map(|added| &added.outcome));
        let ended = |wanted: fn(&clients::Outcome) -> bool| all().filter(|outcome| wanted(outcome)).count();
        Summary {
            digest: hash.finish(),
            acknowledged: ended(|outcome| matches!(outcome, clients::Outcome::Acknowledged(_))),
            unsure: ended(|outcome| matches!(outcome, clients::Outcome::Unsure(_))),
            reads: self.history.reads.get(),
            reaped: self.reaped(),
            healed_ms,
        }
    }
}

fn machine(number: usize) -> String {
    if number == CLIENTS { CLIENTS_NAME.to_owned() } else { name(number) }
}
