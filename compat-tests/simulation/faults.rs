//! What goes wrong, and when: drawn from the seed before the run begins.
//!
//! The promise under test is W acknowledgements surviving what W−1 machines can do to them. So the plan never has two
//! machines forget within the second that their logs may lag (unless every commit is synced), and at most one loses what
//! it had synced, before any other forgot anything; everything else may happen at any time and together.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// The number that stands for the machine the clients run on.
pub const CLIENTS: usize = usize::MAX;

/// A log may lag behind by a second, and the sync takes its time: so far apart may two machines forget.
const BETWEEN_LOSSES_MS: u64 = 2_000;

/// One seed in so many has clients that count.
const COUNTING_EACH: u64 = 8;

/// How a machine's software ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    /// As an operator stops it.
    Stopped,
    /// Killed; of the commits not synced this share is lost.
    Crashed(f64),
    /// Killed, and its disk is empty.
    Wiped,
    /// Killed, and its disk silently loses so many commits, synced ones too.
    Truncated(usize),
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Nothing passes between two machines; what was on its way is lost.
    Cut(usize, usize),
    /// Nothing passes from one to the other.
    CutOneWay(usize, usize),
    /// Nothing passes between these and the others.
    Split(Vec<usize>),
    /// What passes between two is held up until the end of the fault.
    Hold(usize, usize),
    /// Everything between two takes so many milliseconds.
    Slow(usize, usize, u64),
    /// A machine's software ends, and is started again at the end of the fault.
    Down(usize, End),
    /// A machine's clock is wrong by so many milliseconds, for good (another jump may follow).
    Jump(usize, i64),
}

/// A fault with its time.
#[derive(Clone, Debug)]
pub struct Planned {
    /// When it begins, in milliseconds from the start of the clients.
    pub at_ms: u64,
    /// When it ends.
    pub until_ms: u64,
    /// What it is.
    pub fault: Fault,
}

/// A run before it begins.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed it was drawn from.
    pub seed: u64,
    /// How many machines run nodes.
    pub nodes: usize,
    /// `appendfsync`.
    pub appendfsync: &'static str,
    /// Whether fallbacks count.
    pub sloppy: bool,
    /// How many clients write.
    pub clients: usize,
    /// On how many keys.
    pub keys: usize,
    /// How long they do.
    pub load_ms: u64,
    /// How many more add to counters.
    pub counting: usize,
    /// How many of a hundred of their writes are `DYN.SET` without a context, beside what they do anyway.
    pub blind: u32,
    /// How many of a hundred of their requests are `SET`s and `DEL`s, half each, beside what they do anyway.
    pub deletes: u32,
    /// `exchange-interval-ms`.
    pub exchange_ms: u64,
    /// One frame in so many is sent twice; zero: none.
    pub doubled: u64,
    /// What goes wrong meanwhile, in order.
    pub faults: Vec<Planned>,
}

impl Plan {
    /// The plan of a seed.
    pub fn draw(seed: u64) -> Plan {
        let mut random = StdRng::seed_from_u64(seed ^ 0x5eed_0001);
        let random = &mut random;
        let mut plan = Plan {
            seed,
            nodes: pick(random, &[3, 4, 5, 5]),
            appendfsync: pick(random, &["everysec", "everysec", "always", "everysec"]),
            sloppy: random.random_bool(0.8),
            clients: random.random_range(2..=5),
            keys: random.random_range(3..=16),
            // Some runs count; the others are as they would be without.
            counting: if seed % COUNTING_EACH == COUNTING_EACH - 1 { 3 } else { 0 },
            blind: 0,
            deletes: 0,
            exchange_ms: pick(random, &[500, 500, 2_500]),
            load_ms: random.random_range(6_000..=12_000),
            doubled: pick(random, &[0, 5, 20]),
            faults: Vec::new(),
        };
        match random.random_range(0..10) {
            // Two machines of five lose the three others again and again: what both take in is kept for homes only.
            0 | 1 => {
                plan.nodes = 5;
                plan.flap(random);
                plan.end(random, 2_500);
            }
            // Machines forget and are back before anybody has told them, while clients write without reading.
            2 | 3 => {
                (plan.keys, plan.blind, plan.exchange_ms) = (random.random_range(4..=20), 90, 2_500);
                (plan.nodes, plan.appendfsync) = (pick(random, &[3, 3, 4]), "everysec");
                plan.end(random, 250);
            }
            // What one machine missed or forgot has been deleted and settled long before anybody compares.
            4 | 5 => {
                (plan.keys, plan.deletes, plan.exchange_ms) = (random.random_range(10..=40), 90, 15_000);
                (plan.nodes, plan.appendfsync) = (pick(random, &[3, 3, 4]), "everysec");
                plan.miss(random);
            }
            _ => {
                plan.cut(random);
                plan.end(random, 5_000);
            }
        }
        plan.jump(random);
        plan.faults.sort_by_key(|planned| planned.at_ms);
        plan
    }

    /// Faults of the network, one after the other.
    fn cut(&mut self, random: &mut StdRng) {
        let mut at_ms = random.random_range(500..3_000);
        while at_ms < self.load_ms {
            let until_ms = at_ms + random.random_range(200..4_000);
            let (a, b) = self.pair(random);
            let fault = match random.random_range(0..10) {
                0 | 1 => Fault::Cut(a, b),
                2 | 3 => Fault::CutOneWay(a, b),
                4 | 5 => Fault::Split(self.group(random)),
                6 | 7 => Fault::Hold(a, b),
                8 => Fault::Slow(a, b, random.random_range(20..400)),
                _ => Fault::Cut(a, CLIENTS),
            };
            self.faults.push(Planned { at_ms, until_ms, fault });
            at_ms = until_ms + random.random_range(0..2_500);
        }
    }

    /// The same two machines alone for seconds, and among the others for a moment.
    fn flap(&mut self, random: &mut StdRng) {
        let (a, b) = self.pair(random);
        let mut at_ms = random.random_range(500..2_000);
        while at_ms < self.load_ms {
            let until_ms = at_ms + random.random_range(1_500..4_500);
            self.faults.push(Planned { at_ms, until_ms, fault: Fault::Split(vec![a, b]) });
            at_ms = until_ms + random.random_range(20..700);
        }
    }

    /// One machine after the other is alone for a while, or forgets the last second; between that all is quiet.
    fn miss(&mut self, random: &mut StdRng) {
        let mut at_ms = random.random_range(1_500..3_000);
        while at_ms < self.load_ms {
            let node = random.random_range(0..self.nodes);
            let (fault, ms) = match random.random_range(0..4) {
                0 => (Fault::Split(vec![node]), random.random_range(1_000..3_000)),
                1 => (Fault::Hold(node, (node + 1) % self.nodes), random.random_range(1_000..3_000)),
                _ => (Fault::Down(node, End::Crashed(1.0)), random.random_range(20..300)),
            };
            self.faults.push(Planned { at_ms, until_ms: at_ms + ms, fault });
            at_ms += ms + random.random_range(3_000..6_000);
        }
    }

    /// Ends of nodes, which are away for at most so long.
    fn end(&mut self, random: &mut StdRng, away_ms_max: u64) {
        let mut at_ms = random.random_range(500..4_000);
        let mut up_at_ms = vec![0; self.nodes];
        let mut whole = random.random_bool(0.5);
        while at_ms < self.load_ms {
            let node = random.random_range(0..self.nodes);
            let end = match random.random_range(0..10) {
                0..3 => End::Stopped,
                3..6 if whole && at_ms > 2_000 => {
                    if random.random_bool(0.5) {
                        End::Wiped
                    } else {
                        End::Truncated(random.random_range(1..150))
                    }
                }
                _ => End::Crashed(pick(random, &[0.0, 0.5, 1.0, 1.0])),
            };
            let until_ms = at_ms + random.random_range(20..away_ms_max);
            // Whoever lost its disk now would take with it what another has forgotten.
            whole &= end == End::Stopped || (self.appendfsync == "always" && matches!(end, End::Crashed(_)));
            if up_at_ms[node] <= at_ms {
                self.faults.push(Planned { at_ms, until_ms, fault: Fault::Down(node, end) });
                up_at_ms[node] = until_ms + 500;
            }
            let rest = if end == End::Stopped || self.appendfsync == "always" { 100 } else { BETWEEN_LOSSES_MS };
            at_ms += rest + random.random_range(0..3_000);
        }
    }

    fn jump(&mut self, random: &mut StdRng) {
        for _ in 0..random.random_range(0..4) {
            let at_ms = random.random_range(0..self.load_ms);
            let furthest_ms = pick(random, &[200, 2_000, 60_000, 3_600_000]);
            let skew_ms = random.random_range(-furthest_ms..=furthest_ms);
            let node = random.random_range(0..self.nodes);
            self.faults.push(Planned { at_ms, until_ms: self.load_ms, fault: Fault::Jump(node, skew_ms) });
        }
    }

    fn pair(&self, random: &mut StdRng) -> (usize, usize) {
        let a = random.random_range(0..self.nodes);
        (a, (a + random.random_range(1..self.nodes)) % self.nodes)
    }

    fn group(&self, random: &mut StdRng) -> Vec<usize> {
        let members = random.random_range(1..1u32 << (self.nodes - 1));
        (0..self.nodes).filter(|node| members >> node & 1 == 1).collect()
    }
}

fn pick<T: Copy>(random: &mut StdRng, choices: &[T]) -> T {
    choices[random.random_range(0..choices.len())]
}
