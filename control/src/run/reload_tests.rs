//! Reloads without kernel and keeper: a reload is a start with the other configuration, or nothing.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::rc::Rc;

use proptest::prelude::*;
use sixlane_tables::{Adjacency, Settings, Tables};
use sixlane_tunnel::Classes;
use sixlane_xsk::uapi::XdpCounters;

use super::control::Control;
use super::tests::{control_in, with_worker};
use crate::alarms::Alarm;
use crate::compile::tests::{WAN4, WAN6, address, kernel, route};
use crate::compile::{Desired, Sets};
use crate::fence::{Fence, FenceError, Fencer};
use crate::kernel::Kernel;
use crate::link::ToKeeper;
use crate::sets::{Program, SetsError};

/// The program's sets and the fence as they would be, and where something fails.
#[derive(Debug, Default)]
struct World {
    sets: RefCell<Sets>,
    fence: RefCell<BTreeSet<Ipv4Addr>>,
    fails: Cell<Fails>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Fails {
    #[default]
    Nothing,
    Program,
    Fence,
}

#[derive(Debug)]
struct Shared(Rc<World>);

impl Program for Shared {
    fn counters(&self, _port: u8) -> Option<XdpCounters> {
        None
    }

    fn narrow(&self, old: &Sets, new: &Sets) -> Result<(), SetsError> {
        let mut sets = self.0.sets.borrow_mut();
        sets.relay4.retain(|entry| !old.relay4.contains(entry) || new.relay4.contains(entry));
        sets.served6.retain(|entry| !old.served6.contains(entry) || new.served6.contains(entry));
        Ok(())
    }

    fn widen(&self, _old: &Sets, new: &Desired) -> Result<(), SetsError> {
        let all = self.0.sets.borrow().union(&new.sets);
        self.0.sets.replace(all);
        Ok(())
    }

    fn unite(&self, _old: &Sets, new: &Desired) -> Result<(), SetsError> {
        // What was done before the failure stays.
        let all = self.0.sets.borrow().union(&new.sets);
        self.0.sets.replace(all);
        match self.0.fails.get() {
            Fails::Program => Err(SetsError::TooMany { count: 2, what: "relay addresses", max: 1 }),
            _ => Ok(()),
        }
    }

    fn rewrite(&self, desired: &Desired) -> Result<(), SetsError> {
        self.0.sets.replace(desired.sets.clone());
        Ok(())
    }
}

impl Fencer for Shared {
    fn install(&self, relays: &BTreeSet<Ipv4Addr>) -> Result<(), FenceError> {
        if self.0.fails.get() == Fails::Fence {
            return Err(FenceError::Refused("no room".into()));
        }
        self.0.fence.replace(relays.clone());
        Ok(())
    }
}

/// A configuration of what a reload may change.
fn text() -> impl Strategy<Value = String> {
    let mechanism = (0..3_usize, 1..4_u8, 0..3_u32, any::<bool>()).prop_map(|(address, ttl, mtu, allow)| {
        let address = ["9.254.253.252", "9.254.253.251", "9.254.253.250"][address];
        let allow = if allow { "allow = [\"192.1.0.0/16\"]\n" } else { "" };
        format!(
            "[sixtofour]\nrole = \"relay\"\naddress = \"{address}\"\nttl = {ttl}\nmtu = {}\n{allow}",
            1280 + mtu
        )
    });
    let rest = (any::<bool>(), any::<bool>(), 1..3_u32, any::<bool>());
    (rest, proptest::option::weighted(0.8, mechanism)).prop_map(|((lab, relays, rate, router), mechanism)| {
        format!(
            "version = 1\n{}[[port]]\nname = \"wan4\"\n[[port]]\nname = \"wan6\"\n{}[profile]\nbogons = \
                 \"{}\"\n[icmp]\nerrors_per_second = {rate}\n{}",
            if relays { "known_relays = [\"11.0.0.0/8\"]\naliases = [\"12.0.0.1\"]\n" } else { "" },
            if router { "[router]\nipv6_address = \"2001:600::fe\"\n" } else { "" },
            if lab { "lab" } else { "internet" },
            mechanism.unwrap_or_default(),
        )
    })
}

fn three_addresses() -> Kernel {
    let mut kernel = kernel();
    kernel.addresses.extend(["9.254.253.251/24", "9.254.253.250/24"].map(|text| address(WAN4, text)));
    kernel
}

fn control(text: &str) -> (Control, Rc<World>) {
    let mut control = control_in(text, three_addresses());
    let world = Rc::new(World::default());
    control.parts.program = Box::new(Shared(Rc::clone(&world)));
    control.parts.program.rewrite(&control.parts.desired).unwrap();
    control.parts.alarms.clear(Alarm::FenceMissing);
    let (fence, done) = Fence::raise(Box::new(Shared(Rc::clone(&world))), &control.parts.desired.sets.relay4);
    done.unwrap();
    control.parts.fence = fence;
    (control, world)
}

/// What a worker finds in the tables: settings, routes, and classes of addresses that have some.
type Found = (Settings, Vec<(String, Adjacency)>, Vec<u16>);

fn found(control: &Control) -> Found {
    let writer = control.parts.publisher.writer();
    let tables = Tables::attach(writer.segments()[0].share().unwrap()).unwrap();
    let view = tables.enter().unwrap();
    let settings = Settings { generation: 0, ..*view.settings() };
    let routes = writer.routes4().map(|(net, id)| (net.to_string(), id));
    let routes = routes.chain(writer.routes6().map(|(net, id)| (net.to_string(), id)));
    let routes = routes.map(|(net, id)| (net, *view.adjacency(id).expect("an adjacency"))).collect();
    let probes =
        ["9.254.253.252", "9.254.253.255", "10.0.0.1", "11.0.0.1", "12.0.0.1", "192.0.2.1", "192.1.2.3"];
    let class = |text: &str| view.class4(text.parse::<Ipv4Addr>().unwrap().into()).bits();
    (settings, routes, probes.map(class).to_vec())
}

fn memory(control: &mut Control) -> sixlane_tables::Memory {
    control.parts.publisher.collect(crate::publish::Readers::Nobody);
    control.parts.publisher.writer().memory()
}

proptest! {
    #[test]
    fn a_reload_is_a_start_with_the_other_configuration(texts in proptest::collection::vec(text(), 2..5)) {
        let (mut control, world) = control(&texts[0]);
        for next in &texts[1..] {
            control.reload(next).unwrap();
            let (mut fresh, _) = self::control(next);
            prop_assert_eq!(&control.parts.desired, &fresh.parts.desired);
            prop_assert_eq!(found(&control), found(&fresh));
            prop_assert_eq!(memory(&mut control), memory(&mut fresh), "nothing of the old one is left");
            prop_assert!(world.fence.borrow().is_superset(&fresh.parts.desired.sets.relay4));
        }
        let last = control.parts.desired.sets.clone();
        // Nobody reads the tables: what is not needed any more goes.
        control.parts.workers = crate::workers::Workers::new(0, 1, crate::figures::Dead::default());
        control.leave_old();
        prop_assert_eq!(&*world.sets.borrow(), &last);
        control.narrow_fence(u64::MAX);
        prop_assert_eq!(&*world.fence.borrow(), &last.relay4);
    }

    #[test]
    fn a_reload_that_fails_changes_nothing(
        first in text(), second in text(), how in prop_oneof![Just(Fails::Program), Just(Fails::Fence)],
    ) {
        let (mut control, world) = control(&first);
        let before = (found(&control), memory(&mut control), control.parts.desired.clone());
        let (number, sets) = (control.parts.publisher.writer().number(), world.sets.borrow().clone());
        world.fails.set(how);
        if let Ok(()) = control.reload(&second) {
            // The fence holds the new relay already: nothing had to be asked of it.
            prop_assert!(how == Fails::Fence);
            return Ok(());
        }
        prop_assert_eq!((found(&control), memory(&mut control), control.parts.desired.clone()), before);
        prop_assert_eq!(control.parts.publisher.writer().number(), number);
        prop_assert_eq!(&*world.sets.borrow(), &sets);
        prop_assert_eq!(&control.parts.config, &crate::config::parse("test.toml", &first).unwrap());
        world.fails.set(Fails::Nothing);
        control.reload(&second).unwrap();
        prop_assert_eq!(found(&control), found(&self::control(&second).0));
    }
}

fn with(address: &str) -> String {
    crate::compile::tests::TEXT.replace("9.254.253.252", address)
}

#[test]
fn old_and_new_are_taken_until_every_worker_has_left_the_old() {
    let (mut control, world) = control(&with("9.254.253.252"));
    let worker = with_worker(&mut control, 1);
    worker.epoch().go_online(control.parts.publisher.writer().mark());
    let taken = |world: &World| world.sets.borrow().relay4.len();
    control.reload(&with("9.254.253.251")).unwrap();
    control.turn();
    assert_eq!(taken(&world), 2, "the worker may still use the old generation");
    control.reload(&with("9.254.253.250")).unwrap();
    control.turn();
    assert_eq!(taken(&world), 3);
    worker.epoch().quiesce(control.parts.publisher.writer().mark());
    control.turn();
    assert_eq!(*world.sets.borrow(), control.parts.desired.sets);
    assert_eq!(world.fence.borrow().len(), 3, "the fence waits for a quiet second");
    control.narrow_fence(u64::MAX);
    assert_eq!(*world.fence.borrow(), control.parts.desired.sets.relay4);
}

/// A reload costs what it changes: pages of the FIB that no changed route touches are shared.
#[test]
fn the_number_of_routes_does_not_matter() {
    let mut kernel = three_addresses();
    let net = |n: u32| format!("2a{:02x}:{:x}::/32", n >> 12, n & 0xfff);
    kernel.routes.extend((0..20_000).map(|n| route(&net(n), WAN6, Some("fe80::9"))));
    let mut control = control_in(&with("9.254.253.252"), kernel);
    let routes = control.parts.publisher.writer().memory().routes6;
    assert!(routes > 20_000);
    let worker = with_worker(&mut control, 1);
    worker.epoch().go_online(control.parts.publisher.writer().mark());
    // The worker stands still, so everything that is made adds up.
    let cost = |control: &mut Control, text: &str| {
        let before = control.parts.publisher.writer().memory().used;
        let began = std::time::Instant::now();
        control.reload(text).unwrap();
        println!("{:?} with {routes} routes", began.elapsed());
        control.parts.publisher.writer().memory().used - before
    };
    // Settings, classes and the root record.
    let address = cost(&mut control, &with("9.254.253.251"));
    assert!(address < 32 << 10, "{address} bytes");
    // And the root page, because of the route 2002::/16 to another adjacency.
    let mtu = cost(&mut control, &format!("{}mtu = 1400\n", with("9.254.253.251")));
    assert!(mtu < (32 + 256) << 10, "{mtu} bytes");
    assert_eq!(control.parts.publisher.writer().memory().routes6, routes);
}

#[test]
fn full_tables_refuse_with_the_old_generation_in_force() {
    let (mut control, world) = control(&with("9.254.253.252"));
    let worker = with_worker(&mut control, 1);
    // A worker that stands still holds everything that was ever replaced.
    worker.epoch().go_online(control.parts.publisher.writer().mark());
    let mut round = 0_u32;
    let refused = loop {
        round += 1;
        let text = format!("known_relays = [\"11.0.0.0/8\"]\n{}", with("9.254.253.252"));
        // Another MTU is another root page of the FIB.
        if let Err(refused) = control.reload(&format!("{text}mtu = {}\n", 1280 + round % 2)) {
            break refused;
        }
        assert!(round < 10_000, "memory is bounded");
    };
    assert!(refused.sentence.contains("arena is full") && refused.report.is_none(), "{}", refused.sentence);
    let before = (found(&control), control.parts.publisher.writer().number());
    control.reload(&format!("{}mtu = 1400\n", with("9.254.253.252"))).unwrap_err();
    assert_eq!((found(&control), control.parts.publisher.writer().number()), before);
    assert_eq!(*world.sets.borrow(), control.parts.desired.sets);
    let grown = control.take_messages();
    assert!(
        grown.iter().any(|message| matches!(message, ToKeeper::TablesSegment { .. })),
        "more is asked for"
    );
    worker.epoch().quiesce(control.parts.publisher.writer().mark());
    control.reload(&format!("{}mtu = 1400\n", with("9.254.253.252"))).unwrap();
}

#[test]
fn outcomes_reach_the_keeper_the_operator_and_whoever_asked() {
    let (mut control, _world) = control(&with("9.254.253.252"));
    let (outcome, mut answer) = tokio::sync::oneshot::channel();
    control.reload_ordered(outcome);
    let messages = control.take_messages();
    let Some(ToKeeper::ReloadWanted { order: order @ 1.. }) = messages.front() else {
        panic!("{messages:?}")
    };
    let file = |text: &str| {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        std::os::fd::OwnedFd::from(file)
    };
    let standing = |control: &Control| {
        control
            .parts
            .alarms
            .standing()
            .find(|(name, _)| *name == "reload_refused")
            .map(|(_, text)| text.to_owned())
    };
    // A signal's text is not what was ordered.
    control.reload_text(0, 1, file(&with("9.254.253.252").replace("role", "rolle")));
    assert!(answer.try_recv().is_err());
    assert!(
        standing(&control).is_some_and(|text| text.starts_with("test.toml:12: ") && text.contains("rolle"))
    );
    assert!(matches!(control.take_messages().front(), Some(ToKeeper::NotAccepted { number: 1, .. })));
    control.reload_text(*order, 2, file(&with("9.254.253.251")));
    assert_eq!(answer.try_recv().unwrap().unwrap()["generation"], control.parts.publisher.writer().number());
    assert_eq!(standing(&control), None);
    assert!(matches!(control.take_messages().front(), Some(ToKeeper::Accepted { number: 2 })));
    let (outcome, mut answer) = tokio::sync::oneshot::channel();
    control.reload_ordered(outcome);
    control.reload_in_vain();
    assert!(answer.try_recv().unwrap().unwrap_err().sentence.contains("sixlane run"));
    let shown = control.configuration();
    assert_eq!((&shown["reloads"], &shown["reloads_refused"]), (&1.into(), &1.into()));
}
