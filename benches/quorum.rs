//! What counting costs: one GET and one SET from start to verdict, N=3 R=W=2, and what a dead home adds.

mod inputs;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use dynamis::causality::Hlc;
use dynamis::object::Object;
use dynamis::policy::Conflict;
use dynamis::quorum::{Verdict, get, put};
use inputs::{candidates, key, plain};
use std::hint::black_box;

fn puts(c: &mut Criterion) {
    let wanted = put::Wanted { n: 3, w: 2, dw: 0, sloppy: true };
    for (name, down) in [("all up", None), ("one home down", Some(2))] {
        c.bench_function(&format!("quorum/put/{name}"), |bench| {
            bench.iter(|| {
                let (mut put, sends) = put::Put::start(0, candidates(black_box(down)), wanted).expect("enough");
                for send in &sends {
                    put.applied(send.to, false);
                }
                assert_eq!(put.verdict(), Verdict::Won);
                put
            });
        });
    }
}

fn gets(c: &mut Criterion) {
    let wanted = get::Wanted { n: 3, r: 2, sloppy: true, conflict: Conflict::Siblings, floor: Hlc(0) };
    let (key, held) = (key(), plain());
    let own = held.digest(&key);
    for (name, down) in [("all agree", None), ("one home down", Some(1))] {
        c.bench_function(&format!("quorum/get/{name}"), |bench| {
            let read = |object: Object| {
                let (mut get, asks) = get::Get::start(0, candidates(black_box(down)), wanted).expect("enough");
                let mut local = Some(object);
                for node in &asks {
                    get.answered(&key, *node, own, local.take());
                }
                assert_eq!(get.verdict(), Verdict::Won);
                assert!(get.stale(&key).is_empty());
                get
            };
            bench.iter_batched(|| held.clone(), read, BatchSize::SmallInput);
        });
    }
}

criterion_group!(benches, puts, gets);
criterion_main!(benches);
