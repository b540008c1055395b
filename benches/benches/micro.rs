//! Micro-benchmarks of the parts: for comparing two versions by hand, not a gate.
#![allow(missing_docs)] // criterion's macros make public functions

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sixlane_benches::rig::{self, Case};
use sixlane_tables::NextHopId;
use sixlane_tunnel::sixinfour::{OuterTemplate, check_native, decap, encap_checks};
use sixlane_wire::checksum::Sum;
use sixlane_wire::ipv6::Address;

fn checksum(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("checksum");
    for len in [20usize, 84, 1280] {
        let bytes = vec![0x5a; len];
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_with_input(BenchmarkId::from_parameter(len), &bytes, |bencher, bytes| {
            bencher.iter(|| Sum::default().bytes(black_box(bytes)).field());
        });
    }
    group.finish();
}

fn checks(criterion: &mut Criterion) {
    let Ok(tables) = rig::tables() else { return };
    let Ok(view) = tables.enter() else { return };
    let relay = &view.settings().sixtofour;
    let (native, tunnelled) = (rig::packet(Case::Encap, 7), rig::packet(Case::Decap, 7));
    let (native, tunnelled) = (native.get(14..).unwrap_or_default(), tunnelled.get(14..).unwrap_or_default());
    let mut group = criterion.benchmark_group("checks");
    group.throughput(Throughput::Elements(1));
    group.bench_function("native", |bencher| {
        bencher.iter(|| check_native(black_box(native), Address::default(), &view));
    });
    group.bench_function("decap", |bencher| bencher.iter(|| decap(black_box(tunnelled), relay, &view)));
    if let Ok(header) = check_native(native, Address::default(), &view) {
        group.bench_function("encap", |bencher| bencher.iter(|| encap_checks(black_box(&header), &view)));
    }
    let template = OuterTemplate::new(relay);
    group.bench_function("outer-header", |bencher| {
        bencher.iter(|| template.outer_header(black_box(0x5001_0203), black_box(66), black_box(9), 0));
    });
    group.finish();
}

fn lookup(criterion: &mut Criterion) {
    let Ok(tables) = rig::tables() else { return };
    let Ok(view) = tables.enter() else { return };
    let destination = |case, index| {
        let packet = rig::packet(case, index);
        let bytes: [u8; 16] = packet.get(38..54).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default();
        u128::from_be_bytes(bytes)
    };
    let keys: Vec<u128> = (0..64).map(|index| destination(Case::Native, index * 311)).collect();
    let (hi, lo): (Vec<u64>, Vec<u64>) = keys.iter().map(|key| ((key >> 64) as u64, *key as u64)).unzip();
    let sites: Vec<u32> = (0..64).map(|index| (destination(Case::Encap, index * 311) >> 80) as u32).collect();
    let mut out = [NextHopId::NONE; 64];
    let mut group = criterion.benchmark_group("lookup");
    group.throughput(Throughput::Elements(64));
    group.bench_function("v6-batch", |bencher| {
        bencher.iter(|| view.lookup6_batch(black_box(&hi), black_box(&lo), black_box(&mut out)));
    });
    group.bench_function("v4-batch", |bencher| {
        bencher.iter(|| view.lookup4_batch(black_box(&sites), black_box(&mut out)));
    });
    group.finish();
}

criterion_group!(benches, checksum, checks, lookup);
criterion_main!(benches);
