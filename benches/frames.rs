//! What sixteen keys cost on the way between two nodes: packed, framed, read, unpacked, and the answers back.
//!
//! Sixteen is a pipeline's worth: what one client's read buffer sends to each peer in one frame.

mod inputs;

use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use dynamis::causality::Hlc;
use dynamis::key::StorageKey;
use dynamis::message::data::{Answer, Requests, read_answers, read_requests};
use dynamis::object::digest::Digest;
use dynamis::peer::frame::{FrameReader, Kind, encode_into};
use inputs::{PIPELINE as KEYS, keys, plain};
use std::hint::black_box;

const FRAME_BYTES_MAX: usize = 1 << 20;

fn writes(keys: &[StorageKey], object: &[u8]) -> Vec<u8> {
    let mut requests = Requests::default();
    keys.iter().for_each(|key| requests.write(key, object, false, None, Hlc(1)));
    requests.into_body()
}

fn reads(keys: &[StorageKey]) -> Vec<u8> {
    let mut requests = Requests::default();
    keys.iter().for_each(|key| requests.read(key, Digest(7)));
    requests.into_body()
}

fn requests(c: &mut Criterion) {
    let keys = keys();
    let mut object_bytes = Vec::new();
    plain().encode(&mut object_bytes);
    let mut group = c.benchmark_group("requests");
    group.throughput(Throughput::Elements(KEYS as u64));
    group.bench_function("pack writes", |bench| bench.iter(|| writes(black_box(&keys), &object_bytes)));
    group.bench_function("pack reads", |bench| bench.iter(|| reads(black_box(&keys))));
    for (name, body) in [("writes", writes(&keys, &object_bytes)), ("reads", reads(&keys))] {
        let body = Bytes::from(body).slice(2..);
        group.bench_function(format!("unpack {name}"), |bench| {
            bench.iter(|| assert_eq!(read_requests(black_box(&body)).map(|all| all.len()), Ok(KEYS)));
        });
    }
    group.finish();
}

fn answers(c: &mut Criterion) {
    let mut group = c.benchmark_group("answers");
    group.throughput(Throughput::Elements(KEYS as u64));
    let cases =
        [("applied", Answer::Applied { durable: false }), ("same", Answer::Same), ("object", Answer::Object(plain()))];
    for (name, answer) in cases {
        let pack = |answer: &Answer| {
            let mut out = Vec::new();
            (0..KEYS).for_each(|_| answer.encode(&mut out));
            out
        };
        let body = Bytes::from(pack(&answer));
        group.bench_function(format!("pack {name}"), |bench| bench.iter(|| pack(black_box(&answer))));
        group.bench_function(format!("unpack {name}"), |bench| {
            bench.iter(|| assert_eq!(read_answers(black_box(&body), KEYS).map(|all| all.len()), Ok(KEYS)));
        });
    }
    group.finish();
}

fn frames(c: &mut Criterion) {
    let mut object_bytes = Vec::new();
    plain().encode(&mut object_bytes);
    let payload = writes(&keys(), &object_bytes);
    let mut group = c.benchmark_group("frame");
    group.throughput(Throughput::Bytes(payload.len() as u64));
    let framed = || {
        let mut buffer = BytesMut::new();
        encode_into(&mut buffer, Kind::Call, 42, &payload);
        buffer
    };
    group.bench_function("encode", |bench| bench.iter(framed));
    let reader = FrameReader::new(FRAME_BYTES_MAX);
    group.bench_function("decode", |bench| {
        let decode = |buffer: &mut BytesMut| reader.next(buffer).expect("sound").expect("whole");
        bench.iter_batched_ref(framed, decode, BatchSize::SmallInput);
    });
    group.finish();
}

criterion_group!(benches, requests, answers, frames);
criterion_main!(benches);
