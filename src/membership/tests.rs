//! Several nodes on real sockets in one process, each with a listener, a saved state and a switch for "holds data".

use super::*;
use crate::causality::Hlc;
use crate::gossip::swaps::{PROMISE_EVERY, SWAPS_MAX};
use crate::message::control::Announced;
use crate::peer::handshake::Hello;
use crate::peer::listener::{self, Service, serve};
use crate::peer::settings::{Identity, Limits};
use crate::world::net::TcpListener;
use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Far more than anything here needs; on a busy machine too.
const SOON: Duration = Duration::from_secs(10);

/// What survives a restart, and what a test turns on and off.
#[derive(Default)]
struct Disk {
    saved: Mutex<Option<Vec<u8>>>,
    broken: AtomicBool,
    holds_data: AtomicBool,
    reached: Mutex<Reached>,
    lines: Mutex<FlushLines>,
}

struct House {
    membership: Arc<Membership>,
    door: JoinHandle<()>,
    disk: Arc<Disk>,
    id: NodeId,
    port: u16,
}

struct Desk(Mutex<Option<Arc<Membership>>>);

impl Service for Desk {
    fn call(&self, from: NodeId, body: Bytes, answer: listener::Answer) {
        if let (Some(membership), Ok(message)) = (&*self.0.lock(), Control::decode(&body)) {
            membership.handle(from, message, Box::new(|bytes| answer.send(bytes)));
        }
    }

    fn tell(&self, from: NodeId, body: Bytes) {
        if let (Some(membership), Ok(message)) = (&*self.0.lock(), Control::decode(&body)) {
            membership.handle(from, message, Box::new(drop));
        }
    }

    fn greeted(&self, hello: &Hello) {
        if let Some(membership) = &*self.0.lock() {
            membership.greeted(hello.node_id);
        }
    }
}

/// A door on a free port, not answered yet.
async fn door() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn request(n: u8, start_number: u64, port: u16) -> JoinRequest {
    JoinRequest {
        cluster_name: "town".into(),
        cluster_id: None,
        id: NodeId([n; 20]),
        host: "127.0.0.1".into(),
        port: 1,
        cluster_port: port,
        zone: String::new(),
        weight: 1,
        start_number,
        announced: Announced::default(),
    }
}

fn hands(disk: &Arc<Disk>) -> Hands {
    let (writer, reader, clock, board) = (disk.clone(), disk.clone(), disk.clone(), disk.clone());
    Hands {
        save: Box::new(move |bytes| {
            let disk = writer.clone();
            Box::pin(async move {
                if disk.broken.load(Ordering::Relaxed) {
                    return Err("disk full".to_owned());
                }
                *disk.saved.lock() = Some(bytes);
                Ok(())
            })
        }),
        holds_data: Box::new(move || reader.holds_data.load(Ordering::Relaxed)),
        now_ms: Box::new(|| 1_000_000),
        clock: Arc::new(NodeClock::new(Hlc(0), Hlc(0), 500)),
        reached: Box::new(move |_| clock.reached.lock().clone()),
        draw_lines: Box::new(move |lines| *board.lines.lock() = lines.clone()),
    }
}

fn settings(me: JoinRequest, seeds: &[u16]) -> Settings {
    let identity = Identity {
        cluster_name: me.cluster_name.clone(),
        secret: b"sesame".to_vec(),
        node_id: me.id,
        start_number: me.start_number,
        host: me.host.clone(),
        cluster_port: me.cluster_port,
    };
    Settings {
        random_seed: u64::from(me.id.0[0]),
        me,
        seeds: seeds.iter().map(|port| format!("127.0.0.1:{port}")).collect(),
        partitions: Partitions::new(64).unwrap(),
        policies: [Policy::default(); 16],
        peers: Arc::new(PeerSettings::new(identity, Limits::default(), PeerSettings::random_seed())),
        detector: detector::Settings {
            probe_period: Duration::from_millis(100),
            probe_rtt: Duration::from_millis(40),
            suspicion: Duration::from_millis(200),
        },
    }
}

async fn try_open(
    (n, start_number): (u8, u64),
    (listener, port): (TcpListener, u16),
    seeds: &[u16],
    disk: Arc<Disk>,
) -> Result<House, StartError> {
    let desk = Arc::new(Desk(Mutex::new(None)));
    let settings = settings(request(n, start_number, port), seeds);
    let door = tokio::spawn(serve(listener, settings.peers.clone(), desk.clone()));
    let saved = disk.saved.lock().clone();
    let id = settings.me.id;
    let membership = Membership::start(settings, hands(&disk), saved).await?;
    *desk.0.lock() = Some(membership.clone());
    Ok(House { membership, door, disk, id, port })
}

async fn open(n: u8, door: (TcpListener, u16), seeds: &[u16]) -> House {
    try_open((n, 1), door, seeds, Arc::default()).await.unwrap()
}

impl House {
    /// Stops without a goodbye: the listener is gone, and so are the links.
    async fn close(&self) {
        self.door.abort();
        self.membership.stop().await;
    }

    fn reachable(&self) -> usize {
        self.membership.stats().members_up
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let waited = timeout(SOON, async {
        while !condition() {
            sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}");
}

/// Three nodes that have found each other.
async fn town() -> [House; 3] {
    let doors = [door().await, door().await, door().await];
    let seeds: Vec<u16> = doors.iter().map(|door| door.1).collect();
    let [one, two, three] = doors;
    let houses = [open(1, one, &seeds).await, open(2, two, &seeds).await, open(3, three, &seeds).await];
    until("three find each other", || houses.iter().all(|house| house.reachable() == 3)).await;
    houses
}

fn same_view(houses: &[House]) -> bool {
    let views: Vec<_> = houses.iter().map(|house| house.membership.view()).collect();
    views.windows(2).all(|pair| {
        let (a, b) = (&pair[0], &pair[1]);
        (a.cluster_id, a.epoch, &a.configured, &a.ring) == (b.cluster_id, b.epoch, &b.configured, &b.ring)
    })
}

#[tokio::test]
async fn without_seeds_a_node_is_a_cluster_of_one() {
    let house = open(1, door().await, &[]).await;
    house.membership.formed().await;
    let view = house.membership.view();
    assert!(house.membership.is_formed() && view.cluster_id != 0 && view.epoch == 1);
    assert_eq!((view.nodes.len(), view.own().id, house.reachable()), (1, house.id, 1));
    assert_eq!((view.policies[0].n, view.configured[0].n), (1, 3));
}

#[tokio::test]
async fn three_nodes_form_one_cluster_and_agree_on_everything() {
    let houses = town().await;
    until("one view", || same_view(&houses)).await;
    let view = houses[1].membership.view();
    assert_eq!(view.me, 1);
    assert_eq!(view.policies[0].n, 3);
    let ids: Vec<NodeId> = view.nodes.iter().map(|node| node.id).collect();
    assert_eq!(ids, view.ring.members());
    assert_eq!(view.index_of(&houses[2].id), Some(2));
    assert_eq!(view.index_of_tag(houses[2].id.tag()), Some(2));
}

#[tokio::test]
async fn a_policy_is_saved_on_every_member_when_it_is_set() {
    let houses = town().await;
    let policy = Policy { r: 1, w: 3, ..Policy::default() };
    houses[1].membership.set_policy(7, policy).await.unwrap();
    for house in &houses {
        assert_eq!(house.membership.view().policies[7], policy);
        let saved = house.disk.saved.lock().clone().unwrap();
        assert_eq!(crate::gossip::state::ClusterState::decode(&saved).unwrap().policy(7), policy);
    }
    houses[2].disk.broken.store(true, Ordering::Relaxed);
    let sentence = houses[1].membership.set_policy(7, Policy::default()).await.unwrap_err();
    assert!(sentence.contains("not all members") && sentence.contains("disk full"), "{sentence}");
    assert_eq!(houses[2].membership.view().policies[7], policy, "what cannot be saved is not shown");
    houses[2].disk.broken.store(false, Ordering::Relaxed);
    until("it spreads by itself", || same_view(&houses)).await;
    assert!(houses[0].membership.set_policy(16, policy).await.is_err());
    let impossible = Policy { w: 9, ..policy };
    assert!(houses[0].membership.set_policy(0, impossible).await.unwrap_err().contains("must not exceed"));
}

#[tokio::test]
async fn what_a_member_announces_anew_all_show_and_no_one_elses_address_is_taken() {
    let houses = town().await;
    let shown = |at: usize| {
        let view = houses[at].membership.view();
        let node = &view.nodes[1];
        Whereabouts { host: node.host.clone(), cluster_port: node.cluster_port, announced: node.announced.clone() }
    };
    let first = shown(1);
    let announced = Announced { port: 8002, hostname: "two.example".to_owned() };
    let told = Whereabouts { announced, ..first.clone() };
    houses[1].membership.announce(told.clone()).await.unwrap();
    assert_eq!(shown(1), told, "it is shown here at once");
    until("all show it", || (0..3).all(|at| shown(at) == told) && same_view(&houses)).await;
    assert!((0..3).all(|at| houses[at].reachable() == 3), "nobody had to dial anew");
    let squatter = Whereabouts { cluster_port: houses[0].port, ..told.clone() };
    let refused = houses[1].membership.announce(squatter).await.unwrap_err();
    assert!(refused.contains("nothing changed"), "{refused}");
    houses[1].disk.broken.store(true, Ordering::Relaxed);
    let refused = houses[1].membership.announce(first.clone()).await.unwrap_err();
    assert!(refused.contains("disk full"), "{refused}");
    houses[1].disk.broken.store(false, Ordering::Relaxed);
    assert!((0..3).all(|at| shown(at) == told));
    houses[1].membership.announce(first.clone()).await.unwrap();
    until("all show what was said last", || (0..3).all(|at| shown(at) == first) && same_view(&houses)).await;
}

#[tokio::test]
async fn a_member_that_announced_where_nobody_is_can_say_something_better() {
    let houses = town().await;
    let right =
        Whereabouts { host: "127.0.0.1".to_owned(), cluster_port: houses[1].port, announced: Announced::default() };
    let (nobody, port) = door().await;
    drop(nobody);
    houses[1].membership.announce(Whereabouts { cluster_port: port, ..right.clone() }).await.unwrap();
    until("the others miss it", || [0, 2].iter().all(|at| houses[*at].reachable() == 2)).await;
    houses[1].membership.announce(right).await.unwrap();
    until("all are there again", || houses.iter().all(|house| house.reachable() == 3) && same_view(&houses)).await;
}

/// What a house has of what another one minted, beside its own clock.
fn reach(house: &House, own: u64, seen: &[(u8, &House, u64)]) {
    let seen = seen.iter().map(|(database, by, hlc)| (*database, by.id.tag(), Hlc(*hlc))).collect();
    *house.disk.reached.lock() = Reached { own: Hlc(own), seen };
}

#[tokio::test]
async fn a_flush_strikes_out_what_anyone_reachable_wrote_or_has_of_others() {
    let mut houses = town().await;
    houses[2].close().await;
    until("two miss the third", || houses[..2].iter().all(|house| house.reachable() == 2)).await;
    reach(&houses[0], 50, &[(1, &houses[2], 7), (2, &houses[2], 90)]);
    reach(&houses[1], 40, &[(1, &houses[2], 9), (1, &houses[0], 8)]);
    houses[0].membership.flush(0b10).await.unwrap();
    for house in &houses[..2] {
        let lines = house.disk.lines.lock().clone();
        let line = &lines[&1];
        assert_eq!((lines.len(), line.len()), (1, 3), "one database, three nodes");
        assert_eq!([0, 1, 2].map(|at| line.of(houses[at].id.tag())), [Hlc(50), Hlc(40), Hlc(9)]);
        let saved = crate::gossip::state::ClusterState::decode(&house.disk.saved.lock().clone().unwrap());
        assert_eq!(saved.unwrap().flushes, lines, "it is saved");
    }
    reach(&houses[0], 51, &[]);
    houses[1].membership.flush(u16::MAX).await.unwrap();
    let lines = houses[0].disk.lines.lock().clone();
    assert_eq!(
        (lines.len(), lines[&1].of(houses[0].id.tag()), lines[&1].of(houses[2].id.tag())),
        (16, Hlc(51), Hlc(9))
    );
    let disk = houses[2].disk.clone();
    houses[2] = try_open((3, 2), door().await, &[], disk).await.unwrap();
    houses[2].membership.caught_up(SOON).await;
    assert_eq!(*houses[2].disk.lines.lock(), lines, "whoever was away learns it before anything else");
}

#[tokio::test]
async fn a_flush_that_not_all_could_save_says_so_and_spreads() {
    let houses = town().await;
    houses.iter().for_each(|house| reach(house, 5, &[]));
    houses[0].disk.broken.store(true, Ordering::Relaxed);
    let here = houses[0].membership.flush(1).await.unwrap_err();
    assert!(matches!(&here, NotDone::NothingChanged(why) if why.contains("disk full")), "{here}");
    assert!(houses.iter().all(|house| house.disk.lines.lock().is_empty()));
    let there = houses[1].membership.flush(1).await.unwrap_err();
    assert!(matches!(&there, NotDone::NotEverywhere(why) if why.contains("disk full")), "{there}");
    assert!(houses[0].disk.lines.lock().is_empty(), "what cannot be saved does not hold");
    assert_eq!(houses[2].disk.lines.lock()[&0].len(), 3);
    houses[0].disk.broken.store(false, Ordering::Relaxed);
    until("it spreads by itself", || houses[0].disk.lines.lock().contains_key(&0)).await;
}

#[tokio::test]
async fn swaps_are_in_effect_everywhere_once_they_are_answered_and_come_to_who_was_away() {
    let mut houses = town().await;
    let stored = |house: &House| [0, 1, 2].map(|index| house.membership.databases().stored(index));
    houses[0].membership.swap_databases(0, 1).await.unwrap();
    houses.iter().for_each(|house| assert_eq!(stored(house), [1, 0, 2]));
    houses[2].close().await;
    until("two miss the third", || houses[..2].iter().all(|house| house.reachable() == 2)).await;
    houses[1].membership.swap_databases(1, 2).await.unwrap();
    houses[..2].iter().for_each(|house| assert_eq!(stored(house), [1, 2, 0]));
    let disk = houses[2].disk.clone();
    houses[2] = try_open((3, 2), door().await, &[], disk).await.unwrap();
    houses[2].membership.caught_up(SOON).await;
    assert_eq!(stored(&houses[2]), [1, 2, 0], "whoever was away learns it before anything else");
    assert_eq!(houses[2].membership.view().places.databases(), houses[2].membership.databases());
}

#[tokio::test]
async fn a_swap_that_not_all_could_save_says_so_and_spreads() {
    let houses = town().await;
    let stored = |house: &House| house.membership.databases().stored(0);
    houses[0].disk.broken.store(true, Ordering::Relaxed);
    let here = houses[0].membership.swap_databases(0, 1).await.unwrap_err();
    assert!(matches!(&here, NotDone::NothingChanged(why) if why.contains("disk full")), "{here}");
    houses.iter().for_each(|house| assert_eq!(stored(house), 0));
    let there = houses[1].membership.swap_databases(0, 1).await.unwrap_err();
    assert!(matches!(&there, NotDone::NotEverywhere(why) if why.contains("disk full")), "{there}");
    assert_eq!([0, 1, 2].map(|at| stored(&houses[at])), [0, 1, 1], "what cannot be saved does not hold");
    houses[0].disk.broken.store(false, Ordering::Relaxed);
    until("it spreads by itself", || stored(&houses[0]) == 1).await;
}

/// Many swaps at all members in turn are soon folded; then one member is silent, and in the end named.
#[tokio::test]
async fn swaps_are_forgotten_by_those_who_all_know_them_and_kept_for_who_is_away() {
    let mut houses = town().await;
    let kept = |house: &House| house.disk.saved.lock().as_ref().map_or(0, Vec::len);
    let mut after = Vec::new();
    for turn in 0..4 * PROMISE_EVERY {
        houses[turn % 3].membership.swap_databases(3, 4).await.unwrap();
        after.push(kept(&houses[0]));
    }
    let half_a_row = after[0] + (after[1] - after[0]) * 2 * PROMISE_EVERY;
    until("the row is short", || houses.iter().all(|house| kept(house) < half_a_row)).await;
    houses.iter().for_each(|house| assert_eq!(house.membership.databases().stored(3), 3));
    houses[2].close().await;
    until("two miss the third", || houses[..2].iter().all(|house| house.reachable() == 2)).await;
    let refused = async |house: &House| {
        for _ in 0..=SWAPS_MAX {
            if let Err(why) = house.membership.swap_databases(3, 4).await {
                return why;
            }
        }
        panic!("the row has no end");
    };
    let why = refused(&houses[1]).await;
    let before = houses[0].membership.databases();
    assert!(matches!(&why, NotDone::NothingChanged(why) if why.contains(&houses[2].id.to_string())), "{why}");
    let disk = houses[2].disk.clone();
    houses[2] = try_open((3, 2), door().await, &[], disk).await.unwrap();
    houses[2].membership.caught_up(SOON).await;
    assert_eq!(houses[2].membership.databases(), before);
    wait_until_swapped(&houses[0]).await;
    until("all have it", || houses.iter().all(|house| house.membership.databases() != before)).await;
}

/// Swaps once that is possible again: the member that returned may not have been heard yet.
async fn wait_until_swapped(house: &House) {
    let swapped = async {
        while house.membership.swap_databases(3, 4).await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, swapped).await.unwrap();
}

#[tokio::test]
async fn a_member_that_stops_is_away_and_returns_with_what_it_saved() {
    let mut houses = town().await;
    houses[2].close().await;
    until("two miss the third", || houses[..2].iter().all(|house| house.reachable() == 2)).await;
    assert_eq!(houses[0].membership.view().nodes.len(), 3, "away is not gone");
    let policy = Policy { n: 5, ..Policy::default() };
    houses[0].membership.set_policy(1, policy).await.unwrap();
    // It moves to another address, has no seeds, and data: nobody is asked for permission.
    for house in &houses {
        house.disk.holds_data.store(true, Ordering::Relaxed);
    }
    let disk = houses[2].disk.clone();
    houses[2] = try_open((3, 2), door().await, &[], disk).await.unwrap();
    assert!(houses[2].membership.is_formed(), "it needs nobody");
    until("all see all", || houses.iter().all(|house| house.reachable() == 3) && same_view(&houses)).await;
    assert_eq!(houses[0].membership.view().nodes[2].cluster_port, houses[2].port);
    assert_eq!(houses[2].membership.view().configured[1], policy);
}

#[tokio::test]
async fn a_member_that_was_late_three_times_is_avoided_until_it_answers_a_ping() {
    let houses = town().await;
    let health = houses[0].membership.view().nodes[1].health.clone();
    (0..3).for_each(|_| health.late());
    assert!(!houses[0].membership.view().nodes[1].is_reachable());
    until("a ping is answered", || houses[0].reachable() == 3).await;
}

#[tokio::test]
async fn strangers_are_kept_out_once_any_member_holds_data() {
    let houses = town().await;
    houses[2].disk.holds_data.store(true, Ordering::Relaxed);
    let before = houses[0].membership.view().epoch;
    let (listener, port) = door().await;
    let late = open(4, (listener, port), &[houses[0].port]).await;
    let (answer, outcome) = oneshot::channel();
    let question = Control::Join(request(4, 1, port));
    houses[0].membership.handle(late.id, question, Box::new(|bytes| answer.send(bytes).unwrap()));
    let refused = Control::JoinAnswer(Err(Refusal::HoldsData));
    assert_eq!(Control::decode(&outcome.await.unwrap()), Ok(refused));
    assert!(!late.membership.is_formed());
    assert_eq!(houses[0].membership.view().epoch, before);
    // In the name of another node nothing is granted at all.
    let (answer, outcome) = oneshot::channel();
    let question = Control::Join(request(4, 1, port));
    houses[0].membership.handle(houses[1].id, question, Box::new(|bytes| answer.send(bytes).unwrap()));
    let answer = Control::decode(&outcome.await.unwrap());
    assert!(matches!(answer, Ok(Control::JoinAnswer(Err(Refusal::Malformed(_))))), "{answer:?}");
}

#[tokio::test]
async fn nobody_but_the_first_seed_founds_a_cluster() {
    let (first, second) = (door().await, door().await);
    let seeds = [first.1, second.1];
    let two = open(2, second, &seeds).await;
    sleep(Duration::from_millis(500)).await;
    assert!(!two.membership.is_formed());
    let one = open(1, first, &seeds).await;
    let houses = [one, two];
    until("both are in one cluster", || houses.iter().all(|house| house.reachable() == 2) && same_view(&houses)).await;
}

#[tokio::test]
async fn two_clusters_do_not_merge() {
    let one = open(1, door().await, &[]).await;
    one.membership.formed().await;
    let two = open(2, door().await, &[]).await;
    two.membership.formed().await;
    two.close().await;
    let two = try_open((2, 2), door().await, &[one.port], two.disk.clone()).await.unwrap();
    sleep(Duration::from_millis(300)).await;
    assert_ne!(one.membership.view().cluster_id, two.membership.view().cluster_id);
    assert_eq!((one.reachable(), two.membership.view().nodes.len()), (1, 1));
    let (answer, outcome) = oneshot::channel();
    let theirs = two.disk.saved.lock().clone().unwrap();
    one.membership.handle(two.id, Control::SetState(theirs), Box::new(|bytes| answer.send(bytes).unwrap()));
    let answer = Control::decode(&outcome.await.unwrap());
    assert!(matches!(answer, Ok(Control::Refused(Refusal::OtherCluster { .. }))), "{answer:?}");
}

#[tokio::test]
async fn a_directory_that_does_not_fit_is_refused_at_the_start() {
    let house = open(1, door().await, &[]).await;
    house.membership.formed().await;
    house.close().await;
    let start = |n, start_number, saved: Option<Vec<u8>>| async move {
        let disk = Arc::new(Disk { saved: Mutex::new(saved), ..Disk::default() });
        try_open((n, start_number), door().await, &[], disk).await.err()
    };
    let saved = house.disk.saved.lock().clone();
    assert!(matches!(start(2, 2, saved.clone()).await, Some(StartError::NotAMember(_))));
    let old = start(1, 0, saved.clone()).await;
    assert!(matches!(old, Some(StartError::Refused(Refusal::OlderLife { .. }))), "{old:?}");
    assert!(matches!(start(1, 2, Some(vec![9])).await, Some(StartError::Saved(StateError::Format(Some(9))))));
    assert!(start(1, 2, saved).await.is_none());
}
