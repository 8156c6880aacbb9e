//! Whole nodes in a simulated world, drawn from seeds: networks fail, machines die, disks forget, clocks jump; and when
//! all is healed, every promise must have been kept. See DESIGN §8.
//!
//!     cargo test --features simulation --test simulation                        every test
//!     SIMULATION_SEED=17 cargo test --features simulation --test simulation -- seeds     one seed
//!
//! | variable | meaning |
//! |---|---|
//! | `SIMULATION_SEED` | only this seed |
//! | `SIMULATION_SEEDS` | so many seeds, from 0 or from `SIMULATION_FROM` on |
//! | `SIMULATION_SECONDS` | goes on with new seeds until this time is over |
//! | `DYNAMIS_MUTATION` | breaks a rule on purpose: a name of `Mutation` |
//! | `SIMULATION_LOG` | a filter such as `debug`: what the nodes say, with their names and the simulated time |

#[path = "simulation/checker.rs"]
mod checker;
#[path = "simulation/clients.rs"]
mod clients;
#[path = "simulation/counting.rs"]
mod counting;
#[path = "simulation/disk.rs"]
mod disk;
#[path = "simulation/faults.rs"]
mod faults;
#[path = "simulation/machine.rs"]
mod machine;
#[path = "simulation/resp.rs"]
mod resp;
#[path = "simulation/run.rs"]
mod run;

use dynamis::world::simulation::Mutation;
use faults::Plan;
use run::Summary;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How many seeds run when nobody says otherwise.
const SEEDS: u64 = 200;

/// How many are tried for each rule that is broken on purpose.
const MUTATED_SEEDS: u64 = 100;

/// How many run at a time.
const THREADS: usize = 2;

/// Each rule that can be broken, and seeds that notice. `compat-tests/soak --mutations` looks for more.
const CAUGHT_BY: &[(Mutation, &[u64])] = &[
    (Mutation::MergeDropsSibling, &[0, 1, 2]),
    (Mutation::PutIsMerge, &[0, 1, 2]),
    (Mutation::ActorSurvivesCrash, &[3, 12, 18, 19, 25]),
    (Mutation::HintGoesUnacknowledged, &[2, 13, 31, 87, 94]),
    (Mutation::HintForgotten, &[2, 13, 31, 94]),
    (Mutation::ExchangeSkipsLeaves, &[0, 1, 2, 5, 6]),
    (Mutation::ReapsByTimer, &[1, 5, 6, 11, 13, 14]),
    (Mutation::OldCopiesTaken, &[20, 67, 75, 99, 201, 347, 423, 497]),
    (Mutation::WordWithoutWaiting, &[31, 109, 139, 143, 206]),
    (Mutation::RoundSkipped, &[37, 82, 84]),
    (Mutation::CountsUnderOldName, &[31, 103, 431, 497]),
    (Mutation::CountsReplaced, &[7, 15, 23]),
];

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text}")))
}

fn mutation() -> Option<Mutation> {
    let name = std::env::var("DYNAMIS_MUTATION").ok().filter(|name| !name.is_empty())?;
    let found = Mutation::ALL.into_iter().find(|mutation| format!("{mutation:?}") == name);
    Some(found.unwrap_or_else(|| panic!("there is no mutation {name}, only {:?}", Mutation::ALL)))
}

/// Runs a seed; a panic of a node counts as a broken promise.
fn hold(seed: u64, mutation: Option<Mutation>) -> Result<Summary, String> {
    let run = || run::run(Plan::draw(seed), mutation);
    let quiet = || catch_unwind(AssertUnwindSafe(run));
    let result = match std::env::var("SIMULATION_LOG") {
        Ok(filter) => tracing::subscriber::with_default(log(&filter), quiet),
        Err(_) => quiet(),
    };
    result.unwrap_or_else(|_| {
        dynamis::world::simulation::leave();
        Err("a panic; see above".to_owned())
    })
}

fn log(filter: &str) -> impl tracing::Subscriber {
    struct Simulated;
    impl tracing_subscriber::fmt::time::FormatTime for Simulated {
        fn format_time(&self, out: &mut tracing_subscriber::fmt::format::Writer<'_>) -> std::fmt::Result {
            write!(out, "{:>6}", turmoil::sim_elapsed().unwrap_or_default().as_millis())
        }
    }
    let filter = tracing_subscriber::EnvFilter::new(filter);
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_timer(Simulated)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .finish()
}

/// What several seeds amounted to.
#[derive(Default)]
struct Tally {
    held: usize,
    acknowledged: usize,
    unsure: usize,
    reaped: u64,
    healed_ms: u64,
    failed: BTreeSet<u64>,
}

/// Runs seeds from one on, while `goes_on`; some at a time. `tell` hears of each that breaks a promise, at once.
fn hold_all(
    from: u64,
    mutation: Option<Mutation>,
    goes_on: impl Fn(u64) -> bool + Sync,
    tell: impl Fn(u64, &str) + Sync,
) -> Tally {
    let (next, tally) = (AtomicU64::new(from), Mutex::new(Tally::default()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if !goes_on(seed) {
                return;
            }
            let result = hold(seed, mutation);
            let mut tally = tally.lock().unwrap();
            match result {
                Ok(summary) => {
                    tally.held += 1;
                    tally.acknowledged += summary.acknowledged;
                    tally.unsure += summary.unsure;
                    tally.reaped += summary.reaped;
                    tally.healed_ms = tally.healed_ms.max(summary.healed_ms);
                }
                Err(why) => {
                    tell(seed, &why);
                    tally.failed.insert(seed);
                }
            }
        }
    };
    std::thread::scope(|scope| (0..THREADS).for_each(|_| drop(scope.spawn(work))));
    tally.into_inner().unwrap()
}

/// DESIGN §8: whatever fails, nothing acknowledged is lost, nothing deleted comes back, and all copies become the same; and what
/// was added to a counter is in it, once.
#[test]
fn seeds_keep_every_promise() {
    let mutation = mutation();
    let (from, count) = match variable("SIMULATION_SEED") {
        Some(seed) => (seed, 1),
        None => (variable("SIMULATION_FROM").unwrap_or(0), variable("SIMULATION_SEEDS").unwrap_or(SEEDS)),
    };
    if count == 1 {
        println!("{:#?}", Plan::draw(from));
    }
    let until = variable("SIMULATION_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let goes_on = |seed: u64| until.map_or(seed < from + count, |until| Instant::now() < until);
    let tell = |seed: u64, why: &str| eprintln!("seed {seed}: {why}\n{}", command(seed));
    let tally = hold_all(from, mutation, goes_on, tell);
    let Tally { held, acknowledged, unsure, reaped, healed_ms, failed } = tally;
    println!("{held} seeds held: {acknowledged} writes acknowledged, {unsure} unsure");
    println!("{reaped} tombstones were reaped, all was healed within {healed_ms} ms");
    let commands: Vec<String> = failed.iter().map(|seed| command(*seed)).collect();
    assert!(failed.is_empty(), "seeds that broke a promise: {failed:?}\n{}", commands.join("\n"));
}

/// What `compat-tests/soak --mutations` shows.
#[test]
#[ignore = "it takes minutes and shows what every_broken_rule_is_noticed proves: compat-tests/soak --mutations"]
fn which_seeds_notice_each_broken_rule() {
    let from = variable("SIMULATION_FROM").unwrap_or(0);
    let count = variable("SIMULATION_SEEDS").unwrap_or(MUTATED_SEEDS);
    for mutation in Mutation::ALL {
        let noticed = hold_all(from, Some(mutation), |seed| seed < from + count, |_, _| {}).failed;
        println!("{mutation:?}: noticed by {} of {count} seeds: {:?}", noticed.len(), noticed);
    }
}

fn command(seed: u64) -> String {
    let mutation = mutation().map_or(String::new(), |mutation| format!("DYNAMIS_MUTATION={mutation:?} "));
    format!("{mutation}SIMULATION_SEED={seed} cargo test --features simulation --test simulation -- seeds --nocapture")
}

/// A rule broken on purpose is noticed, by these seeds among others; else nothing that holds would say anything.
#[test]
fn every_broken_rule_is_noticed() {
    for (mutation, seeds) in CAUGHT_BY {
        let caught = seeds.iter().any(|seed| hold(*seed, Some(*mutation)).is_err());
        assert!(caught, "{mutation:?} went unnoticed by the seeds {seeds:?}");
    }
}

/// One seed, one history: else a failing seed could not be looked into.
#[test]
fn one_seed_gives_one_history() {
    for seed in [1, 2, 7] {
        assert_eq!(hold(seed, None), hold(seed, None), "seed {seed} went two ways");
    }
}
