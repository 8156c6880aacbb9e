//! The clerk's promises, on the memory engine without threads.

mod counterexamples;
mod counting;
mod count;
mod flush;
mod keys;
mod settling;
mod tree;

use super::Replica;
use super::clock::{NodeClock, wall_ms};
use super::write::NotStored;
use crate::causality::{Context, Hlc, NodeTag};
use crate::key::{Slots, StorageKey};
use crate::message::data::{Answer, Refusal, Request, answers_body, read_answers};
use crate::message::operation::{Basis, Failure, Put};
use crate::object::Object;
use crate::object::digest::Digest;
use crate::object::record::Record;
use crate::policy::{Conflict, Policy};
use crate::storage::batch::Batch;
use crate::storage::engine::{Engine, Space, Write};
use crate::storage::mark::BatchMark;
use crate::storage::memory::MemoryEngine;
use crate::storage::store::{Store, StoreSettings};
use bytes::Bytes;
use std::sync::{Arc, Mutex};

const ME: NodeTag = NodeTag(7);

pub(super) fn replica_over(engine: Arc<MemoryEngine>, valid_from: Hlc) -> Arc<Replica> {
    let settings = StoreSettings { inline: true, cache_bytes: 0, ..StoreSettings::default() };
    let store = Store::new(engine, settings, None, BatchMark::default()).unwrap();
    let start = Hlc::from_ms(wall_ms());
    let clock = NodeClock::new(start, Hlc(u64::MAX), 500);
    Arc::new(Replica::new(Arc::new(store), ME, clock, valid_from, 3))
}

fn replica() -> Arc<Replica> {
    replica_over(Arc::new(MemoryEngine::new()), Hlc(0))
}

pub(super) fn key() -> StorageKey {
    StorageKey::new(0, b"key").unwrap()
}

pub(super) fn value(text: &'static str, basis: Basis) -> Put {
    Put { value: Some(Bytes::from_static(text.as_bytes())), expiry: None, basis, id: None }
}

pub(super) fn put(replica: &Arc<Replica>, put: &Put) -> Result<Context, NotStored> {
    let mut batch = Batch::new();
    let stored = replica.put(&mut batch, &key(), put, Conflict::Siblings, None, wall_ms());
    replica.submit(batch, false, Box::new(|result| assert!(result.is_ok())));
    stored.map(|stored| stored.context)
}

/// Stores a value of a key that is kept for a home.
pub(super) fn put_for(replica: &Arc<Replica>, key: &StorageKey, home: NodeTag) {
    let mut batch = Batch::new();
    let blind = value("a value of some length", Basis::Local);
    replica.put(&mut batch, key, &blind, Conflict::Siblings, Some(home), wall_ms()).unwrap();
    replica.submit(batch, false, Box::new(|result| assert!(result.is_ok())));
}

fn values(object: &Object) -> Vec<Bytes> {
    object.live(wall_ms()).filter_map(|sibling| sibling.value.clone()).collect()
}

#[test]
fn set_overwrites_what_is_here_and_a_blind_put_stands_beside_it() {
    let replica = replica();
    put(&replica, &value("a", Basis::Local)).unwrap();
    put(&replica, &value("b", Basis::Local)).unwrap();
    assert_eq!(values(&replica.read(&key()).unwrap()), ["b"]);
    put(&replica, &value("c", Basis::Nothing)).unwrap();
    let both = replica.read(&key()).unwrap();
    assert_eq!(values(&both), ["b", "c"]);
    put(&replica, &value("d", Basis::given(both.context))).unwrap();
    assert_eq!(values(&replica.read(&key()).unwrap()), ["d"]);
}

#[test]
fn one_life_writes_a_key_under_one_name_and_an_unclean_stop_ends_it() {
    let engine = Arc::new(MemoryEngine::new());
    let first = replica_over(engine.clone(), Hlc(0));
    put(&first, &value("a", Basis::Local)).unwrap();
    let context = put(&first, &value("b", Basis::Local)).unwrap();
    assert_eq!(context.entries().len(), 1);
    let clean = replica_over(engine.clone(), Hlc(0));
    assert_eq!(put(&clean, &value("c", Basis::Local)).unwrap().entries().len(), 1);
    // facts: the actor is void after an unclean stop, or its next version would cover what the crash forgot.
    let unclean = replica_over(engine, Hlc(u64::MAX));
    assert_eq!(put(&unclean, &value("d", Basis::Local)).unwrap().entries().len(), 2);
}

/// A replica that holds "a", and a write that its engine will refuse.
fn about_to_lose() -> (Arc<MemoryEngine>, Arc<Replica>, Batch) {
    let engine = Arc::new(MemoryEngine::new());
    let replica = replica_over(engine.clone(), Hlc(0));
    put(&replica, &value("a", Basis::Local)).unwrap();
    engine.refuse_writes(true);
    let mut batch = Batch::new();
    replica.put(&mut batch, &key(), &value("lost", Basis::Local), Conflict::Siblings, None, wall_ms()).unwrap();
    (engine, replica, batch)
}

#[test]
fn a_store_that_lost_a_batch_ends_all_names() {
    let (engine, replica, batch) = about_to_lose();
    replica.submit(batch, false, Box::new(|result| assert!(result.is_err())));
    engine.refuse_writes(false);
    assert_eq!(values(&replica.read(&key()).unwrap()), ["a"]);
    assert_eq!(put(&replica, &value("b", Basis::Local)).unwrap().entries().len(), 2);
}

#[test]
fn names_end_before_anyone_can_write_on_what_a_lost_batch_left() {
    let (engine, replica, batch) = about_to_lose();
    // The commit thread has taken the write back, and has not told the replica yet: the lost write may be on other nodes,
    // acknowledged, and the old name would cover it there.
    replica.store().submit(batch, false, Box::new(|result| assert!(result.is_err())));
    engine.refuse_writes(false);
    assert_eq!(put(&replica, &value("b", Basis::Local)).unwrap().entries().len(), 2);
    assert_eq!(put(&replica, &value("c", Basis::Local)).unwrap().entries().len(), 2, "one new name is enough");
}

#[test]
fn a_decision_made_on_an_old_reading_writes_nothing() {
    let replica = replica();
    put(&replica, &value("a", Basis::Local)).unwrap();
    let seen = replica.read(&key()).unwrap();
    put(&replica, &value("b", Basis::Local)).unwrap();
    assert_eq!(put(&replica, &value("c", Basis::seen(seen))), Err(NotStored::Raced));
    assert_eq!(values(&replica.read(&key()).unwrap()), ["b"]);
    let seen = replica.read(&key()).unwrap();
    put(&replica, &value("c", Basis::seen(seen))).unwrap();
    assert_eq!(values(&replica.read(&key()).unwrap()), ["c"]);
}

#[test]
fn made_up_contexts_do_not_make_a_key_grow_for_ever() {
    let replica = replica();
    let made_up = |from: u64| -> Context {
        let actor = |n| crate::causality::Actor { node: NodeTag(n), birth: Hlc(1) };
        (from..from + 4_000).map(|n| (actor(n), Hlc(1))).collect()
    };
    put(&replica, &value("a", Basis::given(made_up(0)))).unwrap();
    let refused = put(&replica, &value("b", Basis::given(made_up(10_000))));
    assert_eq!(refused, Err(NotStored::Failed(Failure::ContextFull { limit: 4096 })));
    assert_eq!(values(&replica.read(&key()).unwrap()), ["a"], "nothing was changed");
    for n in 0..95 {
        put(&replica, &Put { id: Some(Box::new(Bytes::from(format!("{n}")))), ..value("c", Basis::Local) }).unwrap();
    }
    let refused =
        put(&replica, &Put { id: Some(Box::new(Bytes::from_static(b"one more"))), ..value("d", Basis::Local) });
    assert_eq!(refused, Err(NotStored::Failed(Failure::ContextFull { limit: 4096 })));
    let context = put(&replica, &value("e", Basis::Local)).unwrap();
    put(&replica, &value("f", Basis::given(context))).unwrap();
}

#[test]
fn siblings_are_bounded_and_a_context_from_the_far_future_is_refused() {
    let replica = replica();
    for text in ["a", "b", "c"] {
        put(&replica, &value(text, Basis::Nothing)).unwrap();
    }
    let refused = put(&replica, &value("d", Basis::Nothing));
    assert_eq!(refused, Err(NotStored::Failed(Failure::SiblingsFull { limit: 3 })));
    let actor = crate::causality::Actor { node: ME, birth: Hlc(1) };
    let future: Context = [(actor, Hlc::from_ms(wall_ms() + 25 * 3_600_000))].into_iter().collect();
    let refused = put(&replica, &value("e", Basis::given(future)));
    assert_eq!(refused, Err(NotStored::Failed(Failure::ContextFromFuture)));
    assert_eq!(replica.read(&key()).unwrap().siblings.len(), 3);
}

#[test]
fn a_request_id_makes_one_sibling_however_often_it_is_tried() {
    let replica = replica();
    let tried = Put { id: Some(Box::new(Bytes::from_static(b"id"))), ..value("a", Basis::Nothing) };
    let first = put(&replica, &tried).unwrap();
    assert_eq!(put(&replica, &tried).unwrap(), first);
    assert_eq!(replica.read(&key()).unwrap().siblings.len(), 1);
}

#[test]
fn a_damaged_record_is_an_error_until_a_copy_replaces_it() {
    let engine = Arc::new(MemoryEngine::new());
    let replica = replica_over(engine.clone(), Hlc(0));
    put(&replica, &value("a", Basis::Local)).unwrap();
    let whole = replica.read(&key()).unwrap();
    let damaged = Write {
        space: Space::Objects,
        key: Bytes::copy_from_slice(key().as_bytes()),
        value: Some(Bytes::from_static(b"not a record")),
    };
    engine.commit(&[damaged], false).unwrap();
    let noted = || replica.stats.damaged.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!((replica.glance_as_home(&key()), noted()), (None, 0), "whoever goes on reads it again");
    assert_eq!((replica.read(&key()), noted()), (Err(Refusal::Damaged), 1));
    assert_eq!(put(&replica, &value("b", Basis::Local)), Err(NotStored::Failed(Failure::Damaged)));
    let mut batch = Batch::new();
    replica.merge(&mut batch, &key(), whole.clone(), Hlc(0), Conflict::Siblings, None).unwrap();
    replica.submit(batch, false, Box::new(|_| {}));
    assert_eq!(replica.read(&key()).unwrap(), whole);
}

#[test]
fn keys_are_counted_as_they_come_go_and_expire() {
    let engine = Arc::new(MemoryEngine::new());
    let replica = replica_over(engine.clone(), Hlc(0));
    let count = |replica: &Replica| replica.count(Slots::ALL, 0).unwrap();
    put(&replica, &value("a", Basis::Local)).unwrap();
    put(&replica, &value("b", Basis::Nothing)).unwrap();
    assert_eq!((count(&replica), replica.keyspace(0), replica.keyspace(1)), (1, (1, 0), (0, 0)));
    put(&replica, &Put { expiry: Some(wall_ms() - 1), ..value("a", Basis::Local) }).unwrap();
    assert_eq!((count(&replica), replica.keyspace(0)), (0, (1, 1)));
    put(&replica, &Put { value: None, ..value("", Basis::Local) }).unwrap();
    assert_eq!((count(&replica), replica.keyspace(0)), (0, (0, 0)));
    put(&replica, &value("a", Basis::Local)).unwrap();
    let again = replica_over(engine, Hlc(0));
    again.count_all().unwrap();
    assert_eq!(count(&again), 1);
    let restored = super::tests::replica();
    restored.counts_restored(&again.counts_saved()).unwrap();
    assert_eq!(restored.keyspace(0), (1, 0));
    assert!(restored.counts_restored(b"short").is_err());
}

fn serve(replica: &Arc<Replica>, requests: Vec<Request>) -> Vec<Answer> {
    let count = requests.len();
    let heard = Arc::new(Mutex::new(None));
    let told = heard.clone();
    replica.serve(requests, &[Policy::default(); 16], move |answers, old| {
        assert!(old.is_empty());
        *told.lock().unwrap() = Some(answers_body(&answers));
    });
    let reply = heard.lock().unwrap().take().unwrap();
    read_answers(&Bytes::from(reply), count).unwrap()
}

#[test]
fn a_frame_is_served_in_order_and_reads_see_the_writes_before_them() {
    let (source, target) = (replica(), replica());
    put(&source, &value("a", Basis::Local)).unwrap();
    let object = source.read(&key()).unwrap();
    let mut bytes = Vec::new();
    object.encode(&mut bytes);
    let write =
        Request::Write { key: key(), object: Bytes::from(bytes), sync: true, home: Some(NodeTag(9)), floor: Hlc(0) };
    let read = |known: Digest| Request::Read { key: key(), known };
    let answers = serve(&target, vec![read(Digest(1)), write, read(Digest(1)), read(object.digest(&key()))]);
    let empty = Answer::Object(Object::default());
    assert_eq!(answers, [empty, Answer::Applied { durable: true }, Answer::Object(object), Answer::Same]);
    let mut hints = 0;
    let mut count = |_: &[u8], _: &[u8]| {
        hints += 1;
        std::ops::ControlFlow::Continue(())
    };
    target.store().scan(Space::Hints, &[], None, &mut count).unwrap();
    assert_eq!(hints, 1);
}

#[test]
fn a_replica_that_fills_up_answers_no_reads() {
    let replica = replica();
    replica.start_filling();
    let read = Request::Read { key: key(), known: Digest(0) };
    assert_eq!(serve(&replica, vec![read]), [Answer::Refused(Refusal::Filling)]);
    put(&replica, &value("a", Basis::Local)).unwrap();
    assert_eq!((replica.read_as_home(&key()), replica.glance_as_home(&key())), (Err(Refusal::Filling), None));
    let page = replica.page(&[], None).unwrap();
    assert_eq!((page.objects.len(), page.more), (1, false));
    assert!(replica.filled(1));
    assert_eq!(values(&replica.read_as_home(&key()).unwrap()), ["a"]);
}

#[test]
fn a_record_keeps_the_name_under_which_its_node_writes() {
    let replica = replica();
    put(&replica, &value("a", Basis::Local)).unwrap();
    let bytes = replica.store().get(key().as_bytes()).unwrap().unwrap();
    assert!(Record::decode(&bytes).unwrap().birth.is_some());
}
