//! What a request costs at the door, beside redis-protocol doing the same: requests in, replies out.
//!
//! The batches are those of a client that pipelines sixteen commands. The gate stays hand-written, and so do the
//! replies, for as long as these numbers say that it is worth it.

mod inputs;

use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use dynamis::resp::encode::Protocol;
use dynamis::resp::gate::{Gate, Limits};
use dynamis::resp::reply::Reply;
use inputs::PIPELINE;
use redis_protocol::resp2::decode::decode_bytes_mut;
use redis_protocol::resp2::encode::extend_encode;
use redis_protocol::resp2::types::BytesFrame;
use std::hint::black_box;

fn requests(c: &mut Criterion) {
    for (name, stream) in [("set", inputs::sets()), ("get", inputs::gets())] {
        let mut group = c.benchmark_group(format!("request/{name}"));
        group.throughput(Throughput::Elements(PIPELINE as u64));
        let fresh = || BytesMut::from(stream.as_str());
        group.bench_function("gate", |bench| {
            let mut gate = Gate::new(Limits::default());
            gate.set_authenticated(true);
            bench.iter_batched_ref(fresh, |buffer| through_gate(&mut gate, buffer), BatchSize::SmallInput);
        });
        group.bench_function("redis-protocol", |bench| {
            bench.iter_batched_ref(fresh, through_redis_protocol, BatchSize::SmallInput);
        });
        group.finish();
    }
}

fn through_gate(gate: &mut Gate, buffer: &mut BytesMut) {
    let mut taken = 0;
    while let Some(request) = gate.next(buffer).expect("sound") {
        black_box(&request.words);
        taken += 1;
    }
    assert_eq!(taken, PIPELINE);
}

fn through_redis_protocol(buffer: &mut BytesMut) {
    let mut taken = 0;
    while let Some((frame, _, _)) = decode_bytes_mut(buffer).expect("sound") {
        black_box(&frame);
        taken += 1;
    }
    assert_eq!(taken, PIPELINE);
}

fn replies(c: &mut Criterion) {
    let value = Bytes::from("v".repeat(100));
    let cases = [
        ("ok", Reply::Ok, BytesFrame::SimpleString("OK".into())),
        ("bulk", Reply::Bulk(value.clone()), BytesFrame::BulkString(value.clone())),
        ("integer", Reply::Integer(1234), BytesFrame::Integer(1234)),
        (
            "array of bulks",
            Reply::Array(vec![Reply::Bulk(value.clone()); PIPELINE]),
            BytesFrame::Array(vec![BytesFrame::BulkString(value); PIPELINE]),
        ),
    ];
    for (name, reply, frame) in cases {
        let mut group = c.benchmark_group(format!("reply/{name}"));
        group.throughput(Throughput::Elements(PIPELINE as u64));
        let mut out = BytesMut::with_capacity(64 * 1024);
        group.bench_function("encode", |bench| {
            bench.iter(|| {
                out.clear();
                for _ in 0..PIPELINE {
                    black_box(&reply).encode(Protocol::Resp2, &mut out);
                }
                out.len()
            });
        });
        group.bench_function("redis-protocol", |bench| {
            bench.iter(|| {
                out.clear();
                for _ in 0..PIPELINE {
                    extend_encode(&mut out, black_box(&frame), false).expect("room");
                }
                out.len()
            });
        });
        group.finish();
    }
}

criterion_group!(benches, requests, replies);
criterion_main!(benches);
