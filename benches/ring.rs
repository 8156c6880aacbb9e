//! What a changed member list costs: every node computes the whole ring anew. And what each request pays to use it.

use criterion::{Criterion, criterion_group, criterion_main};
use dynamis::causality::NodeId;
use dynamis::key::{Partitions, Token};
use dynamis::ring::{Ring, RingMember};
use std::hint::black_box;

/// Nodes that joined one after the other, spread over three zones, every fourth twice as large.
fn members(count: u8) -> Vec<RingMember> {
    let member = |n: u8| RingMember {
        id: NodeId([n; 20]),
        zone: format!("zone-{}", n % 3),
        weight: if n.is_multiple_of(4) { 2 } else { 1 },
        joined: u64::from(n),
        left: None,
    };
    (1..=count).map(member).collect()
}

fn computing(c: &mut Criterion) {
    let partitions = Partitions::new(256).expect("a power of two");
    let mut group = c.benchmark_group("ring/compute");
    group.sample_size(10);
    for count in [3, 9, 27] {
        let members = members(count);
        let name = format!("{count} members");
        group.bench_function(name, |bench| bench.iter(|| Ring::new(black_box(&members), partitions)));
    }
    group.finish();
}

fn looking_up(c: &mut Criterion) {
    let ring = Ring::new(&members(9), Partitions::new(256).expect("a power of two"));
    c.bench_function("ring/homes of a key", |bench| {
        bench.iter(|| {
            let partition = ring.partitions().of(Token::of(black_box(b"key:000000000042")));
            ring.homes(partition, 3).len()
        });
    });
}

criterion_group!(benches, computing, looking_up);
criterion_main!(benches);
