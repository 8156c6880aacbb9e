//! What a key's object costs: writing over it, writing beside it, merging two replicas' copies, to bytes and back.
//!
//! Two shapes: `plain` is what SET leaves, one value by one actor. `siblings` is a busy shopping cart: three nodes have
//! written it, two values are waiting to be merged, one of them expires.

mod inputs;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use dynamis::causality::{Context, Hlc};
use dynamis::object::record::Record;
use dynamis::object::{Object, Sibling};
use dynamis::policy::Conflict;
use inputs::{key, plain, sibling, siblings};
use std::hint::black_box;

/// Later than everything in the objects below.
const LATER: u64 = 1000;

fn shapes() -> [(&'static str, Object); 2] {
    [("plain", plain()), ("siblings", siblings())]
}

fn writes(c: &mut Criterion) {
    for (name, object) in shapes() {
        let seen = object.context.clone();
        c.bench_function(&format!("object/overwrite/{name}"), |bench| {
            let input = || (object.clone(), sibling(2, LATER));
            bench.iter_batched(input, |(object, new)| overwritten(object, new), BatchSize::SmallInput);
        });
        c.bench_function(&format!("object/put with context/{name}"), |bench| {
            let input = || (object.clone(), sibling(2, LATER));
            bench.iter_batched(input, |(object, new)| put(object, &seen, new), BatchSize::SmallInput);
        });
    }
}

fn overwritten(mut object: Object, new: Sibling) -> Object {
    object.overwrite(new);
    object
}

fn put(mut object: Object, seen: &Context, new: Sibling) -> Object {
    object.put(seen, new, Conflict::Siblings);
    object
}

fn merges(c: &mut Criterion) {
    let newer = overwritten(plain(), sibling(1, LATER));
    let beside = put(plain(), &Context::new(), sibling(2, LATER));
    let cases = [
        ("the same", siblings(), siblings()),
        ("newer arrives", plain(), newer.clone()),
        ("older arrives", newer.clone(), plain()),
        ("concurrent", newer, beside),
    ];
    for (name, held, arriving) in cases {
        c.bench_function(&format!("object/merge/{name}"), |bench| {
            let input = || (held.clone(), arriving.clone());
            let merge = |(held, arriving): (Object, Object)| held.merge(arriving, Conflict::Siblings);
            bench.iter_batched(input, merge, BatchSize::SmallInput);
        });
    }
}

fn bytes(c: &mut Criterion) {
    let key = key();
    for (name, object) in shapes() {
        let record = Record { birth: Some(Hlc(1)), object };
        let encoded = record.encode();
        c.bench_function(&format!("record/encode/{name}"), |bench| bench.iter(|| black_box(&record).encode()));
        c.bench_function(&format!("record/decode/{name}"), |bench| bench.iter(|| Record::decode(black_box(&encoded))));
        c.bench_function(&format!("object/digest/{name}"), |bench| {
            bench.iter(|| black_box(&record.object).digest(&key))
        });
    }
}

criterion_group!(benches, writes, merges, bytes);
criterion_main!(benches);
