//! The packet path allocates nothing: a counting allocator watches many turns of the worker.
#![allow(unsafe_code)] // a global allocator is unsafe by its nature
#![allow(clippy::expect_used)] // helpers of a test

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

use sixlane_benches::abx::Side;
use sixlane_benches::rig::{self, Case, HOT, Relay};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is passed on to the system's allocator unchanged; counting touches an atomic only.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps `alloc`'s contract, which is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the pointer came from `alloc` above, that is, from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Turns of a relay after a warm-up, and how often memory was asked for or given back meanwhile.
fn allocations(relay: &mut Relay) -> (u64, u64) {
    (0..100).for_each(|_| _ = relay.work());
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    let packets = (0..10_000).map(|_| relay.work()).sum();
    (packets, ALLOCATIONS.load(Ordering::Relaxed) - before)
}

fn relay(packets: &[Vec<u8>]) -> Relay {
    let tables = rig::tables().expect("tables");
    Relay::new(tables, packets, HOT.frames, false).expect("a relay")
}

/// One test, because the count is that of the whole process.
#[test]
fn the_packet_path_allocates_nothing() {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    drop(Box::new(7u8));
    assert!(ALLOCATIONS.load(Ordering::Relaxed) >= before, "the counter counts");
    for case in Case::ALL {
        let mut relay = relay(&rig::packets(case, &HOT));
        let (packets, count) = allocations(&mut relay);
        assert_eq!(count, 0, "{} packets of {}", packets, case.name());
        assert!(packets > 100_000);
        assert_eq!(relay.counters().dropped_total(), 0);
    }
    type Make = fn(usize) -> Vec<u8>;
    let refused: [(&str, Make); 5] = [
        ("no route", |i| with(rig::packet(Case::Native, i), 38, 0x3f)),
        ("hop limit", |i| with(rig::packet(Case::Encap, i), 21, 1)),
        ("hop limit in the tunnel", |i| with(rig::packet(Case::Decap, i), 41, 1)),
        ("spoofed", |i| {
            with(rig::packet(Case::Decap, i), 47, (i + 1) as u8 ^ rig::packet(Case::Decap, i)[47])
        }),
        ("noise", |i| vec![i as u8; 64]),
    ];
    for (name, make) in refused {
        let mut relay = relay(&(0..50).map(make).collect::<Vec<_>>());
        let (taken, count) = allocations(&mut relay);
        assert_eq!(count, 0, "{taken} packets that are refused: {name}");
        let counters = relay.counters();
        assert!(counters.dropped_total() > 100_000, "{name}: {counters:?}");
        assert!(counters.generated > 0 || ["spoofed", "noise"].contains(&name), "{name}: {counters:?}");
        assert_eq!(counters.identity(), Ok(()));
    }
}

fn with(mut packet: Vec<u8>, at: usize, byte: u8) -> Vec<u8> {
    packet[at] = byte;
    packet
}
