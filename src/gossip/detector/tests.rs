//! Detectors joined by a router that can cut one off, on a clock of its own.

use super::*;
use proptest::prelude::*;

const TICK_MS: u64 = 1000;

/// A little world: time, packets under way, timers, and who is cut off.
struct World {
    now_ms: u64,
    nodes: Vec<Detector>,
    queue: BTreeMap<(u64, u64), Event>,
    serial: u64,
    silent: BTreeSet<usize>,
    seen: BTreeMap<(usize, usize), bool>,
    suspected: BTreeSet<(usize, usize)>,
    loss_percent: u64,
    dice: u64,
}

enum Event {
    Packet(usize, Vec<u8>),
    Timer(usize, u64),
    Tick(usize),
}

fn id(n: usize) -> NodeId {
    NodeId([n as u8; 20])
}

impl World {
    fn new(count: usize, seed: u64, loss_percent: u64) -> World {
        World::paced(count, seed, loss_percent, Settings::default())
    }

    fn paced(count: usize, seed: u64, loss_percent: u64, settings: Settings) -> World {
        let mut world = World {
            now_ms: 0,
            nodes: Vec::new(),
            queue: BTreeMap::new(),
            serial: 0,
            silent: BTreeSet::new(),
            seen: BTreeMap::new(),
            suspected: BTreeSet::new(),
            loss_percent,
            dice: seed | 1,
        };
        for n in 0..count {
            world.nodes.push(Detector::new(id(n), 1, seed + n as u64, settings));
        }
        for n in 0..count {
            let effects = world.nodes[n].set_members((0..count).map(id));
            world.carry_out(n, effects);
            world.schedule(TICK_MS, Event::Tick(n));
        }
        world
    }

    fn schedule(&mut self, after_ms: u64, event: Event) {
        self.serial += 1;
        self.queue.insert((self.now_ms + after_ms, self.serial), event);
    }

    fn lost(&mut self) -> bool {
        self.dice = self.dice.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.dice >> 33) % 100 < self.loss_percent
    }

    fn carry_out(&mut self, n: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::SendTo(to, packet) => {
                    let to = usize::from(to.0[0]);
                    if !self.silent.contains(&n) && !self.lost() {
                        self.schedule(1, Event::Packet(to, packet));
                    }
                }
                Effect::Timer(after, token) => self.schedule(after.as_millis() as u64, Event::Timer(n, token)),
                Effect::Up(other) => self.saw(n, other, true),
                Effect::Down(other) => self.saw(n, other, false),
                Effect::Suspected(other) => {
                    assert!(self.suspected.insert((n, usize::from(other.0[0]))), "suspected once");
                }
                Effect::Cleared(other) => {
                    assert!(self.suspected.remove(&(n, usize::from(other.0[0]))), "cleared once it was suspected");
                }
            }
        }
    }

    fn saw(&mut self, n: usize, other: NodeId, up: bool) {
        let other = usize::from(other.0[0]);
        assert_ne!(n, other, "nobody reports on himself");
        assert_ne!(self.seen.insert((n, other), up).unwrap_or(false), up, "up and down alternate, up comes first");
    }

    fn run(&mut self, for_ms: u64) {
        let end = self.now_ms + for_ms;
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= end) {
            let ((at, _), event) = entry.remove_entry();
            self.now_ms = at;
            let (n, effects) = match event {
                Event::Packet(n, _) if self.silent.contains(&n) => continue,
                Event::Packet(n, packet) => (n, self.nodes[n].handle_data(&packet)),
                Event::Timer(n, token) => (n, self.nodes[n].handle_timer(token)),
                Event::Tick(n) => {
                    self.schedule(TICK_MS, Event::Tick(n));
                    (n, self.nodes[n].tick())
                }
            };
            self.carry_out(n, effects);
        }
        self.now_ms = end;
    }

    /// Whether everyone not silent sees exactly those up that are not silent.
    fn agrees(&self) -> bool {
        let heard = |n: &usize| !self.silent.contains(n);
        (0..self.nodes.len()).filter(heard).all(|n| {
            (0..self.nodes.len()).all(|m| n == m || self.seen.get(&(n, m)).copied().unwrap_or(false) == heard(&m))
        })
    }

    /// How long until everyone agrees, in milliseconds.
    fn until_agreed(&mut self, limit_ms: u64) -> u64 {
        let start = self.now_ms;
        while !self.agrees() {
            assert!(self.now_ms - start < limit_ms, "no agreement after {limit_ms} ms: {:?}", self.seen);
            self.run(10);
        }
        self.now_ms - start
    }
}

#[test]
fn three_find_each_other_miss_one_and_see_it_return() {
    for seed in 0..20 {
        let mut world = World::new(3, seed * 100, 0);
        assert!(world.until_agreed(2000) <= 100);
        world.run(5000);
        assert!(world.agrees());
        world.silent.insert(2);
        let detection_ms = world.until_agreed(5000);
        assert!((1000..=3000).contains(&detection_ms), "{detection_ms}");
        world.run(20_000);
        assert!(world.agrees(), "who is silent stays away");
        world.silent.clear();
        assert!(world.until_agreed(5000) <= 2500);
        assert_eq!(world.nodes.iter().map(Detector::refused).sum::<u64>(), 0);
    }
}

#[test]
fn the_bound_that_is_shown_holds_at_any_pace() {
    assert_eq!(Settings::default().probe_rtt, Duration::from_millis(150));
    for (count, period_ms, suspicion_ms) in [(2, 400, 1200), (3, 100, 300), (5, 1000, 500), (9, 200, 2000)] {
        let settings = Settings::paced(Duration::from_millis(period_ms), Duration::from_millis(suspicion_ms));
        for seed in 0..10 {
            let mut world = World::paced(count, seed, 0, settings);
            world.until_agreed(5000);
            world.run(seed * 137 + 2000);
            world.silent.insert(1);
            // Everyone else agrees one round of gossip after the last one has found out.
            let bound_ms = settings.detection_max(count).as_millis() as u64 + 500;
            assert!(world.until_agreed(60_000) <= bound_ms, "{count} members, {settings:?}");
        }
    }
}

#[test]
fn who_falls_silent_is_suspected_by_all_well_before_it_is_away() {
    for seed in 0..20 {
        let mut world = World::new(3, seed * 100, 0);
        world.until_agreed(2000);
        world.run(2000 + seed * 137);
        assert!(world.suspected.is_empty(), "nobody is suspected for nothing");
        world.silent.insert(2);
        let start_ms = world.now_ms;
        while !(world.suspected.contains(&(0, 2)) && world.suspected.contains(&(1, 2))) {
            assert!(world.now_ms - start_ms < 1800, "{:?}", world.suspected);
            world.run(10);
        }
        assert!(world.seen[&(0, 2)] && world.seen[&(1, 2)], "suspected, and still there");
        world.silent.clear();
        world.run(1000);
        assert!(world.suspected.is_empty() && world.agrees(), "it has contradicted");
        world.silent.insert(2);
        world.until_agreed(5000);
        assert!(!world.suspected.contains(&(0, 2)) && !world.suspected.contains(&(1, 2)), "who is away is no suspect");
    }
}

#[test]
fn a_restarted_node_is_seen_at_once() {
    let mut world = World::new(3, 7, 0);
    world.until_agreed(2000);
    world.silent.insert(1);
    world.until_agreed(5000);
    world.silent.clear();
    world.nodes[1] = Detector::new(id(1), 2, 99, Settings::default());
    world.seen.retain(|(n, _), _| *n != 1);
    world.suspected.retain(|(n, _)| *n != 1);
    let effects = world.nodes[1].set_members((0..3).map(id));
    world.carry_out(1, effects);
    assert!(world.until_agreed(2000) <= 300);
    // Restarted before anybody missed it, with timers of its old life still due.
    world.nodes[1] = Detector::new(id(1), 3, 98, Settings::default());
    world.seen.retain(|(n, _), _| *n != 1);
    world.suspected.retain(|(n, _)| *n != 1);
    let effects = world.nodes[1].set_members((0..3).map(id));
    world.carry_out(1, effects);
    assert!(world.until_agreed(2000) <= 1200);
    world.run(5000);
    assert!(world.agrees());
}

#[test]
fn who_leaves_is_away_at_once() {
    let mut world = World::new(3, 3, 0);
    world.until_agreed(2000);
    let effects = world.nodes[0].leave();
    world.carry_out(0, effects);
    world.run(50);
    world.silent.insert(0);
    assert!(world.until_agreed(1000) <= 500);
}

#[test]
fn two_that_lost_each_other_heal() {
    let mut world = World::new(2, 5, 0);
    world.until_agreed(2000);
    world.silent.extend([0, 1]);
    world.run(10_000);
    assert_eq!(world.seen, BTreeMap::from([((0, 1), false), ((1, 0), false)]));
    world.silent.clear();
    assert!(world.until_agreed(5000) <= 2500);
}

#[test]
fn a_tenth_of_all_packets_may_be_lost() {
    let mut world = World::new(5, 11, 10);
    world.until_agreed(5000);
    world.silent.insert(4);
    world.until_agreed(10_000);
    world.silent.clear();
    world.until_agreed(10_000);
}

proptest! {
    #[test]
    fn any_packet_is_survived(packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..100), 1..20)) {
        let mut detector = Detector::new(id(0), 1, 1, Settings::default());
        detector.set_members((0..3).map(id));
        for packet in packets {
            detector.handle_data(&packet);
        }
        detector.handle_data(&vec![1; PACKET_BYTES_MAX + 1]);
        prop_assert!(detector.refused() >= 1);
    }
}
