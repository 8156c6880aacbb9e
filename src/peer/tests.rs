//! Two ends on real sockets.

use super::frame::{FrameReader, Kind, encode_into};
use super::greet::{AskError, DialError, accept, ask_address, dial, greet};
use super::handshake::{Discord, Hello, Refusal};
use super::link::{CallError, Link, OnChange};
use super::listener::{Answer, Service, serve};
use super::settings::{Identity, Limits, PeerSettings, PeerStats};
use crate::causality::NodeId;
use crate::world::net::{TcpListener, TcpStream};
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Far more than anything here needs; on a busy machine too.
const SOON: Duration = Duration::from_secs(10);

fn identity(node: u8) -> Identity {
    Identity {
        cluster_name: "town".into(),
        secret: b"sesame".to_vec(),
        node_id: NodeId([node; 20]),
        start_number: 1,
        host: "127.0.0.1".into(),
        cluster_port: 0,
    }
}

fn settings(identity: Identity) -> Arc<PeerSettings> {
    limited(identity, Limits::default())
}

fn limited(identity: Identity, limits: Limits) -> Arc<PeerSettings> {
    Arc::new(PeerSettings::new(identity, limits, PeerSettings::random_seed()))
}

/// Answers each call with its body; keeps calls that begin with `?`, drops those that begin with `!`.
#[derive(Default)]
struct Echo {
    kept: Mutex<Vec<Answer>>,
    told: Mutex<Vec<(NodeId, Bytes)>>,
    greeted: Mutex<Vec<Hello>>,
}

impl Service for Echo {
    fn call(&self, _from: NodeId, body: Bytes, answer: Answer) {
        match body.first() {
            Some(b'?') => self.kept.lock().push(answer),
            Some(b'!') => drop(answer),
            _ => answer.send(body.to_vec()),
        }
    }

    fn tell(&self, from: NodeId, body: Bytes) {
        self.told.lock().push((from, body));
    }

    fn greeted(&self, hello: &Hello) {
        self.greeted.lock().push(hello.clone());
    }
}

/// A node that listens; dropped, it dies with all its connections.
struct House {
    address: String,
    settings: Arc<PeerSettings>,
    echo: Arc<Echo>,
    task: JoinHandle<()>,
}

impl House {
    async fn open(address: &str, settings: Arc<PeerSettings>) -> House {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let echo = Arc::new(Echo::default());
        let task = tokio::spawn(serve(listener, settings.clone(), echo.clone()));
        House { address, settings, echo, task }
    }

    async fn close(self) -> String {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
        self.address
    }
}

type Changes = mpsc::UnboundedReceiver<(NodeId, bool)>;

fn link_to(address: &str, settings: &Arc<PeerSettings>, peer: u8) -> (Arc<Link>, Changes) {
    let (sender, changes) = mpsc::unbounded_channel();
    let on_change: OnChange = Arc::new(move |node, up| sender.send((node, up)).unwrap_or_default());
    (Link::start(settings.clone(), address.to_string(), NodeId([peer; 20]), on_change), changes)
}

async fn change(changes: &mut Changes) -> (NodeId, bool) {
    timeout(SOON, changes.recv()).await.expect("a change in time").expect("a live link")
}

/// A house of node 2, and node 1's link to it, up.
async fn pair(ours: Arc<PeerSettings>) -> (House, Arc<Link>, Changes) {
    let house = House::open("127.0.0.1:0", settings(identity(2))).await;
    let (link, mut changes) = link_to(&house.address, &ours, 2);
    assert_eq!(change(&mut changes).await, (NodeId([2; 20]), true));
    (house, link, changes)
}

async fn until(what: impl Fn() -> bool) {
    timeout(SOON, async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await
    .expect("in time");
}

#[tokio::test]
async fn a_call_is_answered_and_a_tell_arrives() {
    let (house, link, _changes) = pair(settings(identity(1))).await;
    assert_eq!(link.ask(b"hello".to_vec(), SOON).await, Ok(Bytes::from_static(b"hello")));
    link.tell(b"news".to_vec());
    until(|| !house.echo.told.lock().is_empty()).await;
    assert_eq!(*house.echo.told.lock(), vec![(NodeId([1; 20]), Bytes::from_static(b"news"))]);
    assert_eq!(house.echo.greeted.lock()[0].node_id, NodeId([1; 20]));
    assert_eq!(link.hello().unwrap().node_id, NodeId([2; 20]));
}

#[tokio::test]
async fn many_calls_share_one_link_small_and_large() {
    let (_house, link, _changes) = pair(settings(identity(1))).await;
    let calls = (0u32..500).map(|n| {
        let link = link.clone();
        tokio::spawn(async move {
            let length = if n % 100 == 0 { 300_000 } else { n as usize % 100 };
            let mut body = n.to_be_bytes().to_vec();
            body.resize(4 + length, 7);
            (link.ask(body.clone(), SOON).await, body)
        })
    });
    for call in calls.collect::<Vec<_>>() {
        let (answer, body) = call.await.unwrap();
        assert_eq!(answer.unwrap(), body);
    }
    assert_eq!(link.queued_bytes(), 0);
}

#[tokio::test]
async fn strangers_learn_why_they_are_refused() {
    let house = House::open("127.0.0.1:0", settings(identity(2))).await;
    let other_secret = settings(Identity { secret: b"simsim".to_vec(), ..identity(1) });
    let refused = greet(&other_secret, &house.address).await;
    assert!(matches!(refused, Err(DialError::Discord(Discord::Ours(Refusal::Secret)))), "{refused:?}");
    let other_town = settings(Identity { cluster_name: "city".into(), ..identity(1) });
    let refused = greet(&other_town, &house.address).await;
    assert!(matches!(&refused, Err(DialError::Discord(Discord::Theirs(Refusal::Cluster(name)))) if name == "town"));
    let oneself = greet(&settings(identity(2)), &house.address).await;
    assert!(matches!(oneself, Err(DialError::Discord(Discord::Theirs(Refusal::SameNode)))), "{oneself:?}");
    assert!(house.echo.greeted.lock().is_empty());
    until(|| PeerStats::read(&house.settings.stats.greetings_refused) == 3).await;
}

#[tokio::test]
async fn a_link_refuses_another_node_at_its_address() {
    let house = House::open("127.0.0.1:0", settings(identity(2))).await;
    let ours = settings(identity(1));
    let other = dial(&ours, &house.address, Some(NodeId([3; 20]))).await.err();
    assert!(matches!(other, Some(DialError::OtherNode { found: NodeId([2, ..]), .. })), "{other:?}");
    let (link, mut changes) = link_to(&house.address, &ours, 3);
    assert!(timeout(Duration::from_millis(200), changes.recv()).await.is_err());
    assert_eq!(link.ask(vec![1], SOON).await, Err(CallError::NotSent));
}

#[tokio::test]
async fn when_the_peer_dies_calls_are_lost_at_once_and_the_link_comes_back_by_itself() {
    let ours = settings(identity(1));
    let (house, link, mut changes) = pair(ours.clone()).await;
    let asked = tokio::spawn({
        let link = link.clone();
        async move { link.ask(b"?".to_vec(), Duration::from_secs(60)).await }
    });
    until(|| !house.echo.kept.lock().is_empty()).await;
    let address = house.close().await;
    assert_eq!(timeout(SOON, asked).await.expect("at once").unwrap(), Err(CallError::Lost));
    assert_eq!(change(&mut changes).await, (NodeId([2; 20]), false));
    assert!(!link.is_up());
    assert_eq!(link.ask(vec![1], SOON).await, Err(CallError::NotSent));

    let _again = House::open(&address, settings(identity(2))).await;
    link.nudge();
    assert_eq!(change(&mut changes).await, (NodeId([2; 20]), true));
    assert_eq!(link.ask(vec![1], SOON).await, Ok(Bytes::from_static(&[1])));
    assert_eq!(PeerStats::read(&ours.stats.reconnects), 1);
}

#[tokio::test]
async fn a_call_without_an_answer_is_late_and_a_late_answer_is_only_counted() {
    let ours = settings(identity(1));
    let (house, link, _changes) = pair(ours.clone()).await;
    let timeout = Duration::from_millis(30);
    assert_eq!(link.ask(b"!".to_vec(), timeout).await, Err(CallError::Late));
    assert_eq!(link.ask(b"?".to_vec(), timeout).await, Err(CallError::Late));
    let answer = house.echo.kept.lock().pop().unwrap();
    answer.send(b"too late".to_vec());
    assert_eq!(link.ask(b"next".to_vec(), SOON).await, Ok(Bytes::from_static(b"next")));
    assert_eq!(PeerStats::read(&ours.stats.answers_late), 1);
    assert_eq!(PeerStats::read(&ours.stats.calls_late), 2);
}

#[tokio::test]
async fn a_link_over_which_nothing_comes_back_is_dialed_again() {
    let limits = Limits { silence: Duration::from_millis(50), ..Limits::default() };
    let (_house, link, mut changes) = pair(limited(identity(1), limits)).await;
    assert_eq!(link.ask(b"!".to_vec(), Duration::from_millis(80)).await, Err(CallError::Late));
    assert_eq!(change(&mut changes).await, (NodeId([2; 20]), false));
    assert_eq!(change(&mut changes).await, (NodeId([2; 20]), true));
}

#[tokio::test]
async fn stopping_fails_what_is_pending_and_what_comes_after() {
    let (house, link, mut changes) = pair(settings(identity(1))).await;
    let (sender, mut outcomes) = mpsc::unbounded_channel();
    link.call(b"?".to_vec(), SOON, Box::new(move |outcome| sender.send(outcome).unwrap_or_default()));
    until(|| !house.echo.kept.lock().is_empty()).await;
    link.stop();
    assert_eq!(outcomes.recv().await, Some(Err(CallError::Lost)));
    assert_eq!(outcomes.recv().await, None, "done ran once");
    assert_eq!(link.ask(vec![1], SOON).await, Err(CallError::NotSent));
    assert_eq!(change(&mut changes).await, (NodeId([2; 20]), false));
    link.nudge();
    assert!(timeout(Duration::from_millis(100), changes.recv()).await.is_err(), "it stays down");
}

/// A listener that shakes hands with one dialer, and the socket it then has.
async fn bare_peer(node: u8) -> (String, JoinHandle<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let settings = settings(identity(node));
    let accepted = async move { accept(&settings, listener.accept().await.unwrap().0).await.unwrap().stream };
    (address, tokio::spawn(accepted))
}

#[tokio::test]
async fn a_peer_that_never_reads_is_felt_and_bounded() {
    let (address, accepted) = bare_peer(2).await;
    let limits = Limits { queue_bytes: 1 << 20, queue_bytes_max: 4 << 20, ..Limits::default() };
    let ours = limited(identity(1), limits);
    let (link, mut changes) = link_to(&address, &ours, 2);
    assert_eq!(change(&mut changes).await, (NodeId([2; 20]), true));
    let stream = accepted.await.unwrap();
    // The kernel takes some megabytes; then the queue fills.
    let filled = async {
        loop {
            link.writable().await;
            link.tell(vec![0; 100_000]);
            tokio::task::yield_now().await;
        }
    };
    assert!(timeout(Duration::from_millis(300), filled).await.is_err());
    assert!(link.queued_bytes() > 1 << 20 && link.queued_bytes() < (1 << 20) + 200_000, "{}", link.queued_bytes());
    // Who does not wait is refused, not queued without end.
    for _ in 0..200 {
        link.tell(vec![0; 100_000]);
    }
    assert!(link.queued_bytes() <= (4 << 20) + 200_000, "{}", link.queued_bytes());
    assert!(PeerStats::read(&ours.stats.sends_refused) > 100);
    let unsent = tokio::spawn({
        let link = link.clone();
        async move { link.ask(vec![1], SOON).await }
    });
    assert_eq!(unsent.await.unwrap(), Err(CallError::NotSent));
    drop(stream);
    timeout(SOON, link.writable()).await.expect("a broken link lets nobody wait");
}

#[tokio::test]
async fn what_never_reached_the_socket_is_not_called_lost() {
    let (address, accepted) = bare_peer(2).await;
    let (link, mut changes) = link_to(&address, &settings(identity(1)), 2);
    change(&mut changes).await;
    let stream = accepted.await.unwrap();
    let (sender, mut outcomes) = mpsc::unbounded_channel();
    for n in 0..2 {
        let sender = sender.clone();
        // More than the kernel takes, so that the first fills the tube and the second waits behind it.
        let done = move |outcome: Result<Bytes, CallError>| sender.send((n, outcome.unwrap_err())).unwrap_or_default();
        link.call(vec![0; 30 << 20], Duration::from_secs(60), Box::new(done));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(stream);
    assert_eq!(timeout(SOON, outcomes.recv()).await.unwrap(), Some((0, CallError::Lost)));
    assert_eq!(timeout(SOON, outcomes.recv()).await.unwrap(), Some((1, CallError::NotSent)));
}

#[tokio::test]
async fn an_asker_that_never_reads_stops_being_read() {
    let limits = Limits { load_bytes_max: 1 << 20, ..Limits::default() };
    let house = House::open("127.0.0.1:0", limited(identity(2), limits)).await;
    let mut line = dial(&settings(identity(1)), &house.address, None).await.unwrap();
    let mut call = BytesMut::new();
    encode_into(&mut call, Kind::Call, 1, &[0; 100_000]);
    let fill = async { while line.stream.write_all(&call).await.is_ok() {} };
    assert!(timeout(Duration::from_millis(500), fill).await.is_err(), "the pressure reaches the asker");
    let taken = PeerStats::read(&house.settings.stats.frames_in);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(PeerStats::read(&house.settings.stats.frames_in), taken);
    assert_eq!(PeerStats::read(&house.settings.stats.answers_dropped), 0);
    // Once the asker reads, it goes on.
    let (mut read, _write) = line.stream.into_split();
    let mut sink = vec![0; 1 << 16];
    let drain = async {
        while PeerStats::read(&house.settings.stats.frames_in) < taken + 10 {
            assert!(read.read(&mut sink).await.unwrap() > 0);
        }
    };
    timeout(SOON, drain).await.expect("reading resumes");
}

#[tokio::test]
async fn a_corrupt_frame_closes_the_link_on_either_side() {
    let house = House::open("127.0.0.1:0", settings(identity(2))).await;
    let mut bytes = BytesMut::new();
    encode_into(&mut bytes, Kind::Tell, 0, b"news");
    *bytes.last_mut().unwrap() ^= 1;

    let mut line = dial(&settings(identity(1)), &house.address, None).await.unwrap();
    line.stream.write_all(&bytes).await.unwrap();
    assert_eq!(timeout(SOON, line.stream.read(&mut [0; 8])).await.unwrap().unwrap_or(0), 0);
    assert_eq!(PeerStats::read(&house.settings.stats.frames_corrupt), 1);
    assert!(house.echo.told.lock().is_empty());

    let (address, accepted) = bare_peer(3).await;
    let ours = settings(identity(1));
    let (_link, mut changes) = link_to(&address, &ours, 3);
    assert_eq!(change(&mut changes).await, (NodeId([3; 20]), true));
    accepted.await.unwrap().write_all(&bytes).await.unwrap();
    assert_eq!(change(&mut changes).await, (NodeId([3; 20]), false));
    assert_eq!(PeerStats::read(&ours.stats.frames_corrupt), 1);
}

#[tokio::test]
async fn before_the_handshake_nothing_large_is_taken_and_nothing_is_served() {
    let house = House::open("127.0.0.1:0", settings(identity(2))).await;
    for (kind, length) in [(Kind::Greeting, 5000), (Kind::Tell, 4)] {
        let mut bytes = BytesMut::new();
        encode_into(&mut bytes, kind, 0, &vec![0; length]);
        let mut stream = TcpStream::connect(&house.address).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        assert_eq!(timeout(SOON, stream.read(&mut [0; 8])).await.unwrap().unwrap_or(0), 0);
    }
    assert!(house.echo.told.lock().is_empty());
}

#[tokio::test]
async fn a_new_life_closes_the_connections_of_the_old_one() {
    let house = House::open("127.0.0.1:0", settings(identity(2))).await;
    let mut old = dial(&settings(identity(1)), &house.address, None).await.unwrap();
    let reborn = settings(Identity { start_number: 2, ..identity(1) });
    let mut new = dial(&reborn, &house.address, None).await.unwrap();
    assert_eq!(timeout(SOON, old.stream.read(&mut [0; 8])).await.expect("closed").unwrap_or(0), 0);
    let mut call = BytesMut::new();
    encode_into(&mut call, Kind::Call, 9, b"alive");
    new.stream.write_all(&call).await.unwrap();
    let mut buffer = BytesMut::new();
    let answer = loop {
        assert!(new.stream.read_buf(&mut buffer).await.unwrap() > 0);
        if let Some(frame) = FrameReader::new(1000).next(&mut buffer).unwrap() {
            break frame;
        }
    };
    assert_eq!((answer.kind, answer.id, &answer.payload[..]), (Kind::Answer, 9, &b"alive"[..]));
}

#[tokio::test]
async fn an_address_can_be_asked_without_knowing_who_is_there() {
    let house = House::open("127.0.0.1:0", settings(identity(2))).await;
    let ours = settings(identity(1));
    let (hello, answer) = ask_address(&ours, &house.address, b"who".to_vec(), SOON).await.unwrap();
    assert_eq!((hello.node_id, &answer[..]), (NodeId([2; 20]), &b"who"[..]));
    let late = ask_address(&ours, &house.address, b"!".to_vec(), Duration::from_millis(30)).await;
    assert!(matches!(late, Err(AskError::Late)), "{late:?}");
    let address = house.close().await;
    let gone = ask_address(&ours, &address, b"who".to_vec(), SOON).await;
    assert!(matches!(gone, Err(AskError::Dial(DialError::Io(_)))), "{gone:?}");
}
