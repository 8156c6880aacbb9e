//! How many instructions the hot parts take: the same on a busy machine as on a quiet one, so that a regression shows anywhere.
//!
//! ```text
//! benches/instructions/run            counts, and fails where a count has grown by more than a twentieth
//! benches/instructions/run --accept   counts, and keeps the counts as what is expected
//! ```
//!
//! What is kept is in `expected.txt`. Each part is what the bench of its name times; what it is fed is made beforehand and is
//! not counted.

#![allow(missing_docs, reason = "the macros make items that nobody can document")]

#[path = "../inputs.rs"]
mod inputs;

use bytes::{Bytes, BytesMut};
use dynamis::causality::{Context, Hlc};
use dynamis::key::StorageKey;
use dynamis::message::data::{Requests, read_requests};
use dynamis::object::Object;
use dynamis::object::digest::Digest;
use dynamis::object::record::Record;
use dynamis::peer::frame::{Frame, FrameReader, Kind, encode_into};
use dynamis::policy::Conflict;
use dynamis::quorum::{get, put};
use dynamis::resp::gate::{Gate, Limits};
use gungraun::prelude::*;
use inputs::{PIPELINE, candidates, gets, key, keys, plain, sibling, siblings};
use std::hint::black_box;

/// Later than everything in the inputs.
const LATER: u64 = 1000;
const FRAME_BYTES_MAX: usize = 1 << 20;

fn at_the_gate(stream: String) -> (Gate, BytesMut) {
    let mut gate = Gate::new(Limits::default());
    gate.set_authenticated(true);
    (gate, BytesMut::from(stream.as_str()))
}

#[library_benchmark]
#[bench::sets_16(at_the_gate(inputs::sets()))]
#[bench::gets_16(at_the_gate(gets()))]
fn gate((mut gate, mut buffer): (Gate, BytesMut)) -> usize {
    let mut taken = 0;
    while let Some(request) = gate.next(&mut buffer).expect("sound") {
        black_box(&request.words);
        taken += 1;
    }
    assert_eq!(taken, PIPELINE);
    taken
}

fn newer() -> Object {
    let mut object = plain();
    object.overwrite(sibling(1, LATER));
    object
}

fn beside() -> Object {
    let mut object = plain();
    object.put(&Context::new(), sibling(2, LATER), Conflict::Siblings);
    object
}

#[library_benchmark]
#[bench::the_same((siblings(), siblings()))]
#[bench::newer_arrives((plain(), newer()))]
#[bench::older_arrives((newer(), plain()))]
#[bench::concurrent((newer(), beside()))]
fn merge((held, arriving): (Object, Object)) -> Object {
    black_box(held).merge(black_box(arriving), Conflict::Siblings)
}

fn record(object: Object) -> Record {
    Record { birth: Some(Hlc(1)), object }
}

#[library_benchmark]
#[bench::plain(record(plain()))]
#[bench::siblings(record(siblings()))]
fn record_encode(record: Record) -> Bytes {
    black_box(&record).encode()
}

#[library_benchmark]
#[bench::plain(record(plain()).encode())]
#[bench::siblings(record(siblings()).encode())]
fn record_decode(bytes: Bytes) -> Record {
    Record::decode(black_box(&bytes)).expect("sound")
}

fn bytes_of_an_object() -> Vec<u8> {
    let mut bytes = Vec::new();
    plain().encode(&mut bytes);
    bytes
}

fn writes((keys, object): (Vec<StorageKey>, Vec<u8>)) -> Vec<u8> {
    let mut requests = Requests::default();
    keys.iter().for_each(|key| requests.write(key, &object, false, None, Hlc(1)));
    requests.into_body()
}

fn reads(keys: Vec<StorageKey>) -> Vec<u8> {
    let mut requests = Requests::default();
    keys.iter().for_each(|key| requests.read(key, Digest(7)));
    requests.into_body()
}

#[library_benchmark]
#[bench::keys_16((keys(), bytes_of_an_object()))]
fn pack_writes(input: (Vec<StorageKey>, Vec<u8>)) -> Vec<u8> {
    writes(black_box(input))
}

#[library_benchmark]
#[bench::keys_16(keys())]
fn pack_reads(keys: Vec<StorageKey>) -> Vec<u8> {
    reads(black_box(keys))
}

#[library_benchmark]
#[bench::writes_16(Bytes::from(writes((keys(), bytes_of_an_object()))).slice(2..))]
#[bench::reads_16(Bytes::from(reads(keys())).slice(2..))]
fn unpack(body: Bytes) -> usize {
    read_requests(black_box(&body)).expect("sound").len()
}

#[library_benchmark]
#[bench::writes_16(writes((keys(), bytes_of_an_object())))]
fn frame_encode(payload: Vec<u8>) -> BytesMut {
    framed(black_box(payload))
}

fn framed(payload: Vec<u8>) -> BytesMut {
    let mut buffer = BytesMut::new();
    encode_into(&mut buffer, Kind::Call, 42, &payload);
    buffer
}

#[library_benchmark]
#[bench::writes_16(framed(writes((keys(), bytes_of_an_object()))))]
fn frame_decode(mut buffer: BytesMut) -> Frame {
    FrameReader::new(FRAME_BYTES_MAX).next(black_box(&mut buffer)).expect("sound").expect("whole")
}

#[library_benchmark]
#[bench::all_up(None)]
#[bench::one_home_down(Some(2))]
fn quorum_put(down: Option<u16>) -> put::Put {
    let wanted = put::Wanted { n: 3, w: 2, dw: 0, sloppy: true };
    let (mut put, sends) = put::Put::start(0, candidates(black_box(down)), wanted).expect("enough");
    for send in &sends {
        put.applied(send.to, false);
    }
    put
}

fn held() -> (StorageKey, Object, Digest) {
    let (key, object) = (key(), plain());
    let digest = object.digest(&key);
    (key, object, digest)
}

#[library_benchmark]
#[bench::all_agree((None, held()))]
#[bench::one_home_down((Some(1), held()))]
fn quorum_get((down, (key, object, own)): (Option<u16>, (StorageKey, Object, Digest))) -> get::Get {
    let wanted = get::Wanted { n: 3, r: 2, sloppy: true, conflict: Conflict::Siblings, floor: Hlc(0) };
    let (mut get, asks) = get::Get::start(0, candidates(black_box(down)), wanted).expect("enough");
    let mut local = Some(object);
    for node in &asks {
        get.answered(&key, *node, own, local.take());
    }
    assert!(get.stale(&key).is_empty());
    get
}

library_benchmark_group!(
    name = parts,
    benchmarks = [
        gate,
        merge,
        record_encode,
        record_decode,
        pack_writes,
        pack_reads,
        unpack,
        frame_encode,
        frame_decode,
        quorum_put,
        quorum_get
    ]
);

main!(library_benchmark_groups = parts);
