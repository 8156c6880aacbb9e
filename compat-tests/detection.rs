//! Failure detection (§4.8.3): soon enough, and calm where a link is cut one way or flaps.

use crate::harness::cluster::Cluster;
use crate::harness::permits::alone;
use crate::harness::wait;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The member whose links suffer.
const LONELY: usize = 2;
/// How long they suffer.
const SUFFERING: Duration = Duration::from_secs(10);

/// What a client at one node saw: refused commands, and the longest time without an answered one.
#[derive(Debug, Default)]
struct Seen {
    errors: Vec<String>,
    commands: usize,
    gap: Duration,
}

/// Writes and reads through a node, one after the other, until it is told to stop.
fn client(cluster: &Cluster, at: usize, stop: &AtomicBool) -> Seen {
    let mut connection = cluster.connect(at);
    let mut seen = Seen::default();
    let mut last = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let number = seen.commands;
        for command in [format!("SET calm:{at}:{} {number}", number % 50), format!("GET calm:{at}:{}", number % 50)] {
            let reply = connection.run(&command);
            seen.commands += 1;
            if reply.is_error() {
                seen.errors.push(format!("{command}: {reply}"));
            } else {
                seen.gap = seen.gap.max(last.elapsed());
                last = Instant::now();
            }
        }
    }
    seen
}

/// Clients at the two others work while `suffer` does what it does to the links; gives what each saw.
fn during(cluster: &Cluster, suffer: impl FnOnce()) -> [Seen; 2] {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let clients = [0, 1].map(|at| {
            let stop = &stop;
            scope.spawn(move || client(cluster, at, stop))
        });
        suffer();
        stop.store(true, Ordering::Relaxed);
        clients.map(|client| client.join().expect("a client ends well"))
    })
}

/// Nobody was refused anything, nobody waited long, and lamps went on and off a few times at most.
fn assert_calm(cluster: &Cluster, seen: &[Seen], falls_max: usize) {
    for seen in seen {
        assert!(seen.errors.is_empty() && seen.commands > 500, "{seen:?}");
        assert!(seen.gap < Duration::from_secs(2), "{seen:?}");
    }
    for at in 0..3 {
        let (downs, lates) = (cluster.info(at, "members_down_total"), cluster.info(at, "members_late_total"));
        assert!(downs + lates <= falls_max, "node {at}: {downs} down, {lates} late");
    }
    (0..3).for_each(|at| cluster.wait_until_reachable(at, &[0, 1, 2]));
}

/// What one node sends another arrives nowhere; everything else is well. Those two cannot use each other, but nobody declares
/// anybody dead again and again, and clients of the two whole nodes notice next to nothing.
#[test]
fn a_link_cut_one_way_makes_nobody_thrash() {
    let _alone = alone();
    let Some(cluster) = Cluster::start_apart(3, &[]) else { return };
    let network = cluster.network.as_ref().expect("it was given one");
    let seen = during(&cluster, || {
        network.cut_one_way(LONELY, 0);
        let begun = Instant::now();
        wait::until("the time is up", 2 * SUFFERING.as_secs(), || begun.elapsed() >= SUFFERING);
        network.heal(&[LONELY], &[0]);
    });
    assert_calm(&cluster, &seen, 6);
}

/// A member's links go and come each 300 ms, for ten seconds: shorter than anybody needs to be declared dead.
#[test]
fn a_flapping_link_makes_nobody_thrash() {
    let _alone = alone();
    let Some(cluster) = Cluster::start_apart(3, &[]) else { return };
    let network = cluster.network.as_ref().expect("it was given one");
    let seen = during(&cluster, || {
        let begun = Instant::now();
        let mut flaps = 0;
        while begun.elapsed() < SUFFERING {
            flaps += 1;
            let due = begun + Duration::from_millis(300 * flaps);
            if flaps % 2 == 1 {
                network.cut(&[LONELY], &[0, 1])
            } else {
                network.heal(&[LONELY], &[0, 1])
            }
            // The pace of the flapping, not a wait for anything.
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        network.heal(&[LONELY], &[0, 1]);
    });
    // Without damping there would be some thirty.
    assert_calm(&cluster, &seen, 10);
}

/// A node that falls silent is away within the time that INFO names, and that time follows the settings.
#[test]
fn a_silent_member_is_away_within_the_time_that_info_names() {
    let _alone = alone();
    let Some(cluster) = Cluster::start_apart(3, &[("probe-period-ms", "200"), ("suspicion-timeout-ms", "500")]) else {
        return;
    };
    let bound = Duration::from_millis(cluster.info(0, "failure_detection_ms_max") as u64);
    assert_eq!(bound, Duration::from_millis(200 * 4 + 500));
    let network = cluster.network.as_ref().expect("it was given one");
    let begun = Instant::now();
    network.cut(&[LONELY], &[0, 1]);
    [0, 1].iter().for_each(|at| cluster.wait_until_reachable(*at, &[0, 1]));
    // Some time for a busy machine to look.
    assert!(begun.elapsed() < bound + Duration::from_secs(1), "{:?}", begun.elapsed());
    network.heal(&[LONELY], &[0, 1]);
    (0..3).for_each(|at| cluster.wait_until_reachable(at, &[0, 1, 2]));
}
