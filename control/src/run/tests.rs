//! Control without kernel and keeper: what it says to whom, and the frozen keys of its answers.

use std::collections::{BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;

use serde_json::Value;
use sixlane_tables::punt::NeighbourWanted;
use sixlane_tables::{Limits, TableWriter, Tables, WorkerLayout, WorkerSegment};
use sixlane_xsk::uapi::XdpCounters;

use super::RunOptions;
use super::control::{Control, Parts};
use super::reload::Loaded;
use crate::admin::{Query, Request};
use crate::alarms::{Alarm, Alarms};
use crate::clock::now_ns;
use crate::compile::tests::{TEXT, WAN6, address, checked, compiled, kernel, plan};
use crate::compile::{Desired, Sets};
use crate::door::Door;
use crate::fence::{Fence, FenceError, Fencer};
use crate::figures::Dead;
use crate::kernel::Kernel;
use crate::link::{FromKeeper, ToKeeper};
use crate::neighbours::Neighbours;
use crate::netlink::message::Message;
use crate::netlink::socket::Requests;
use crate::publish::{Publisher, Readers};
use crate::sets::{Program, SetsError};
use crate::workers::Workers;

/// A program that counted seven frames on each port.
#[derive(Debug)]
struct SevenSeen;

impl Program for SevenSeen {
    fn counters(&self, _port: u8) -> Option<XdpCounters> {
        Some(XdpCounters { seen: 7, passed: 7, ..XdpCounters::default() })
    }

    fn narrow(&self, _old: &Sets, _new: &Sets) -> Result<(), SetsError> {
        Ok(())
    }

    fn widen(&self, _old: &Sets, _new: &Desired) -> Result<(), SetsError> {
        Ok(())
    }

    fn unite(&self, _old: &Sets, _new: &Desired) -> Result<(), SetsError> {
        Ok(())
    }

    fn rewrite(&self, _desired: &Desired) -> Result<(), SetsError> {
        Ok(())
    }
}

/// A machine without `nft`.
#[derive(Debug)]
struct NoNft;

impl Fencer for NoNft {
    fn install(&self, _relays: &BTreeSet<Ipv4Addr>) -> Result<(), FenceError> {
        Err(FenceError::Missing)
    }
}

/// A program whose sets are full until they are written anew.
#[derive(Debug)]
struct FullOnce;

impl Program for FullOnce {
    fn counters(&self, _port: u8) -> Option<XdpCounters> {
        None
    }

    fn narrow(&self, _old: &Sets, _new: &Sets) -> Result<(), SetsError> {
        Err(SetsError::TooMany { count: 2, what: "IPv6 addresses", max: 1 })
    }

    fn widen(&self, _old: &Sets, _new: &Desired) -> Result<(), SetsError> {
        Ok(())
    }

    fn unite(&self, _old: &Sets, _new: &Desired) -> Result<(), SetsError> {
        Ok(())
    }

    fn rewrite(&self, _desired: &Desired) -> Result<(), SetsError> {
        Ok(())
    }
}

fn control(config: &str) -> Control {
    control_in(config, kernel())
}

pub(super) fn control_in(config: &str, kernel: Kernel) -> Control {
    let desired = compiled(config, &kernel).unwrap();
    let mut neighbours = Neighbours::new(1024, 100);
    neighbours.set_topology(1, &desired.gateways, &desired.on_link);
    let limits = Limits { adjacencies: 1024, ..Limits::default() };
    let mut publisher = Publisher::new(TableWriter::create(&limits, &desired.settings).unwrap());
    publisher.bring_to(&desired, &neighbours, Readers::Nobody).unwrap();
    let mut alarms = Alarms::default();
    alarms.raise(Alarm::FenceMissing, "no nft".into());
    Control::new(Parts {
        options: RunOptions { runtime_dir: ".".into(), version: "test".into() },
        config: checked(config),
        loaded: Loaded::now(config, tempfile::tempfile().unwrap().into()),
        fence: Fence::raise(Box::new(NoNft), &desired.sets.relay4).0,
        path: "test.toml".into(),
        plan: plan(),
        kernel,
        tables: vec![254],
        hash_key: [1, 2],
        program: Box::new(SevenSeen),
        desired,
        alarms,
        neighbours,
        publisher,
        workers: Workers::new(1, 1, Dead::default()),
        requests: Requests::open().unwrap(),
        door: Some(Door::new(std::os::unix::net::UnixDatagram::unbound().unwrap().into(), 99)),
        messages: VecDeque::new(),
    })
}

fn worker() -> WorkerSegment {
    let layout =
        WorkerLayout { worker: 0, adjacencies: 64, frames: 8, ports: 2, punt_slots: 8, packet_slots: 4 };
    WorkerSegment::create(layout).unwrap()
}

pub(super) fn with_worker(control: &mut Control, incarnation: u32) -> WorkerSegment {
    let worker = worker();
    let fd = worker.segment().share().unwrap();
    control.told(FromKeeper::WorkerSegment { worker: 0, incarnation, fd });
    control.told(FromKeeper::DataplaneReady { incarnation });
    worker
}

/// All keys of an answer, nested ones with dots; a list counts by its first element.
fn keys(value: &Value, prefix: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                found.insert(path.clone());
                keys(value, &path, found);
            }
        }
        Value::Array(list) => list.iter().take(1).for_each(|value| keys(value, prefix, found)),
        _ => {}
    }
}

fn answer(control: &Control, query: Query) -> Value {
    Value::Object(control.answer(query).body)
}

fn key_list(value: &Value) -> String {
    let mut found = BTreeSet::new();
    keys(value, "", &mut found);
    found.into_iter().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_keys_of_all_answers_are_frozen() {
    let mut control = control(TEXT);
    let worker = with_worker(&mut control, 1);
    worker.epoch().beat(now_ns());
    worker.ledger()[2].store(1, Ordering::Relaxed);
    worker.ledger()[5].store(4, Ordering::Relaxed);
    for (query, expected) in [
        (
            Query::Status,
            "alarms alarms.name alarms.text bogons config configuration configuration.bytes \
             configuration.loaded_at configuration.reloads configuration.reloads_refused configuration.sha256 \
             control_deaths dataplane dataplane_deaths door door.from_kernel \
             door.from_kernel_dropped door.from_kernel_ignored door.interface door.routes \
             door.to_kernel door.to_kernel_failed door.to_kernel_refused generation memory \
             memory.adjacencies memory.capacity_bytes memory.segments memory.used_bytes memory.waiting \
             neighbours neighbours_refused pid ports ports.driver ports.ifindex ports.index ports.mac \
             ports.mode ports.mtu ports.name ports.queues router_ipv6 routes4 routes6 sixtofour \
             sixtofour.address sixtofour.mtu sixtofour.role sources sources.fpm sources.kernel \
             sources.kernel.routes4 sources.kernel.routes6 uptime_seconds version workers \
             workers.heartbeat_age_ms workers.incarnation workers.state workers.turns workers.worker",
        ),
        (Query::Drops, "drops drops.clause drops.packets drops.reason drops.text total"),
        (
            Query::Routes { limit: 3 },
            "routes routes.action routes.mac routes.next_hop routes.port routes.prefix routes4 routes6 \
             truncated",
        ),
        (
            Query::Neighbours,
            "neighbours neighbours.address neighbours.gateway neighbours.mac neighbours.packets \
             neighbours.port neighbours.state refused",
        ),
        (
            Query::Ports,
            "ports ports.device ports.driver ports.ifindex ports.index ports.interface ports.mac ports.mode \
             ports.mtu ports.name ports.no_zero_copy ports.offloads ports.queues ports.sockets ports.sockets.fill_ring_empty \
             ports.sockets.rx_dropped ports.sockets.rx_invalid ports.sockets.rx_ring_full \
             ports.sockets.tx_invalid ports.state ports.vlan ports.xdp ports.xdp.no_socket \
             ports.xdp.not_our_mac ports.xdp.passed ports.xdp.redirected ports.xdp.seen",
        ),
        (
            Query::Workers,
            "workers workers.core workers.heartbeat_age_ms workers.idle workers.incarnation workers.parked \
             workers.queues workers.queues.device workers.queues.queue workers.received workers.state \
             workers.transmitted workers.turns workers.worker",
        ),
        (Query::Tables, "ports segments set"),
        (Query::Alarms, "alarms alarms.name alarms.text"),
        (
            Query::Memory,
            "frames_bytes processes processes.pid processes.process processes.resident_bytes \
             processes.shared_bytes tables tables.adjacencies tables.capacity_bytes tables.routes4 \
             tables.routes6 tables.segments tables.used_bytes tables.waiting",
        ),
    ] {
        assert_eq!(key_list(&answer(&control, query)), expected, "{query:?}");
    }
    let counters = answer(&control, Query::Counters);
    for key in ["received", "transmitted", "dropped", "unaccounted", "punted"] {
        assert!(counters["total"][key].is_number(), "{key}");
        assert!(counters["workers"][0][key].is_number(), "{key}");
    }
    let frames = r#"{"batch":0,"fill":1,"free":6,"held":0,"tx":1}"#;
    assert_eq!(counters["workers"][0]["frames"].to_string(), frames);
    assert_eq!(counters["ports"][1]["name"], "wan6");
    assert_eq!(
        key_list(&counters["ports"]),
        "index name rx_bytes rx_packets sockets sockets.fill_ring_empty sockets.rx_dropped sockets.rx_invalid \
         sockets.rx_ring_full sockets.tx_invalid tx_bytes tx_packets xdp xdp.no_socket xdp.not_our_mac xdp.passed \
         xdp.redirected xdp.seen"
    );
}

/// docs/json.md names every key of every answer in the section of that answer.
#[test]
fn every_key_is_documented() {
    let mut control = control(TEXT);
    let worker = with_worker(&mut control, 1);
    worker.epoch().beat(now_ns());
    let document = include_str!("../../../docs/json.md");
    for query in [
        Query::Status,
        Query::Counters,
        Query::Drops,
        Query::Routes { limit: 3 },
        Query::Neighbours,
        Query::Memory,
        Query::Alarms,
        Query::Ports,
        Query::Workers,
        Query::Tables,
    ] {
        let name = query.name();
        let heading = format!("\n## `{name}`\n");
        let section = document.split(&heading).nth(1).unwrap_or_else(|| panic!("no section on {name}"));
        let section = section.split("\n## ").next().unwrap();
        let mut found = BTreeSet::new();
        keys(&answer(&control, query), "", &mut found);
        for path in found {
            let key = path.rsplit('.').next().unwrap();
            let words = section.split('`').skip(1).step_by(2);
            let named =
                words.clone().any(|word| word.trim_end_matches("[]").rsplit(['.', ']']).next() == Some(key));
            assert!(named, "docs/json.md does not name {path} of {name}");
        }
    }
}

#[test]
fn the_tables_that_are_handed_out_are_the_ones_in_force() {
    let control = control(TEXT);
    let mut reply = control.answer(Query::Tables);
    let tables = Tables::attach(reply.descriptors.remove(0)).unwrap();
    assert_eq!(tables.enter().unwrap().settings().port_count, 2);
    assert_eq!(reply.body["set"], tables.generation().to_string());
}

#[test]
fn a_dead_data_plane_leaves_its_figures_with_the_keeper() {
    let mut control = control(TEXT);
    let worker = with_worker(&mut control, 1);
    assert_eq!(answer(&control, Query::Status)["dataplane"], "ready");
    control.told(FromKeeper::Attached);
    worker.counters().received.add(12);
    control.told(FromKeeper::DataplaneDown { incarnation: 1 });
    assert_eq!(answer(&control, Query::Status)["dataplane"], "down");
    let messages = control.take_messages();
    let Some(ToKeeper::Totals { incarnation: 1, fd }) = messages.into_iter().next() else {
        panic!("the keeper gets the sum")
    };
    assert_eq!(Dead::open(fd).unwrap().figures.get("received"), 12);
    let second = with_worker(&mut control, 2);
    second.counters().received.add(1);
    assert_eq!(answer(&control, Query::Counters)["total"]["received"], 13);
    assert_eq!(answer(&control, Query::Status)["dataplane"], "forwarding", "attached stays attached");
}

#[test]
fn a_stuck_worker_is_an_alarm_and_then_a_restart_once() {
    let mut control = control(TEXT);
    let worker = with_worker(&mut control, 1);
    worker.epoch().go_online(1);
    worker.epoch().beat(now_ns().saturating_sub(200_000_000));
    control.turn();
    let alarms = answer(&control, Query::Status)["alarms"].to_string();
    assert!(alarms.contains("worker_stuck") && alarms.contains("replaced after 1 s"), "{alarms}");
    assert!(control.take_messages().is_empty());
    worker.epoch().beat(now_ns().saturating_sub(3_000_000_000));
    control.turn();
    assert!(control.take_messages().is_empty(), "control has not watched the silence itself");
    for _ in 0..100 {
        control.turn();
    }
    let messages = control.take_messages();
    assert!(matches!(messages.front(), Some(ToKeeper::RestartDataplane { .. })));
    assert_eq!(messages.len(), 1, "once for each start of the data plane");
    worker.epoch().beat(now_ns());
    control.turn();
    assert!(!answer(&control, Query::Status)["alarms"].to_string().contains("worker_stuck"));
}

#[test]
fn a_process_that_dies_again_and_again_is_an_alarm_until_it_is_quiet() {
    use crate::link::{Child, ChildDeaths};
    let mut control = control(TEXT);
    let alarmed = |control: &Control| answer(control, Query::Status)["alarms"].to_string();
    let died = |recent| ChildDeaths { child: Child::DataPlane, total: 9, recent, last: "signal 11".into() };
    let begin = now_ns();
    control.told(FromKeeper::Deaths(died(2)));
    assert!(!alarmed(&control).contains("child_restarting"));
    control.child_died(&died(3), begin);
    let alarms = alarmed(&control);
    assert!(alarms.contains("child_restarting") && alarms.contains("3 times"), "{alarms}");
    assert!(alarms.contains("signal 11"), "{alarms}");
    control.deaths_over(begin + 30_000_000_000);
    assert!(alarmed(&control).contains("child_restarting"));
    control.deaths_over(begin + 61_000_000_000);
    assert!(!alarmed(&control).contains("child_restarting"));
    let control_died = ChildDeaths { child: Child::Control, total: 4, recent: 1, last: String::new() };
    control.told(FromKeeper::Deaths(control_died));
    assert_eq!(answer(&control, Query::Status)["control_deaths"], 4);
}

/// FAIL-23: garbage that workers find is said, and over when it is found no more. Fresh tables take the place of
/// the damaged ones, and ever more seldom when that does not help.
#[test]
fn damaged_tables_are_built_anew_and_are_an_alarm_until_nothing_is_found_any_more() {
    let mut control = control(TEXT);
    let worker = with_worker(&mut control, 1);
    let begin = now_ns();
    let alarmed = |control: &Control| control.parts.alarms.stands(Alarm::TableCorrupt);
    let find = || worker.counters().drop_reason(sixlane_tunnel::Reason::TableCorrupt).add(3);
    let built = |control: &mut Control| {
        let messages = control.take_messages();
        let set = control.parts.publisher.writer().generation();
        let ours =
            |message: &ToKeeper| matches!(message, ToKeeper::TablesSegment { set: of, .. } if *of == set);
        messages.iter().any(ours) && matches!(messages.back(), Some(ToKeeper::Ready))
    };
    control.watch_tables(begin);
    control.watch_tables(begin + 1);
    assert!(!alarmed(&control) && !built(&mut control));
    let (routes, set) =
        (control.parts.publisher.route_count(), control.parts.publisher.writer().generation());
    find();
    control.watch_tables(begin + 2);
    assert!(alarmed(&control) && built(&mut control));
    assert!(control.parts.publisher.writer().generation() > set);
    assert_eq!(control.parts.publisher.route_count(), routes);
    // Who wants a neighbour is heard by the lines of the fresh tables.
    let mut punt = worker.open_punt();
    let line = control.parts.publisher.writer().partner(0).unwrap().reader();
    let wanted = NeighbourWanted { port: 1, ifindex: WAN6, next_hop: [0x20; 16] };
    punt.push(worker.punt_ring(), line, &wanted.encode()).unwrap();
    let Parts { workers, publisher, .. } = &mut control.parts;
    assert_eq!(workers.punted(|worker| publisher.writer().partner(worker)), [(0, wanted)]);
    find();
    control.watch_tables(begin + 1_000_000_000);
    assert!(!built(&mut control), "not without a pause");
    control.watch_tables(begin + 60_000_000_000);
    assert!(alarmed(&control), "it has not been quiet for a minute");
    find();
    control.watch_tables(begin + 60_000_000_003);
    assert!(built(&mut control));
    find();
    control.watch_tables(begin + 160_000_000_000);
    assert!(!built(&mut control), "the pause has doubled");
    control.watch_tables(begin + 220_000_000_004);
    assert!(!alarmed(&control));
}

/// A keeper that has taken over hears all that it must hold; the wish for a restart may be wished again.
#[test]
fn a_new_keeper_hears_everything_again() {
    let mut control = control(TEXT);
    control.keeper_gone();
    let alarms = answer(&control, Query::Status)["alarms"].to_string();
    assert!(alarms.contains("keeper_gone") && alarms.contains("sixlane run test.toml"), "{alarms}");
    control.restart_asked = 7;
    control.told(FromKeeper::Adopted);
    assert!(!answer(&control, Query::Status)["alarms"].to_string().contains("keeper_gone"));
    assert_eq!(control.restart_asked, 0);
    let messages: Vec<ToKeeper> = control.take_messages().into();
    let segments = control.parts.publisher.writer().segments().len();
    // The sums over the dead, which configuration is in force, the tables, and that all is said.
    assert_eq!(messages.len(), segments + 3);
    assert!(matches!(messages.first(), Some(ToKeeper::Totals { incarnation: 0, .. })));
    assert!(matches!(messages.get(2), Some(ToKeeper::TablesSegment { index: 0, .. })));
    assert!(matches!(messages.last(), Some(ToKeeper::Ready)));
}

#[test]
fn stuck_seconds_of_zero_never_ask_for_a_restart() {
    let mut control =
        control(&TEXT.replace(
            "[[port]]\nname = \"wan4\"",
            "[dataplane]\nstuck_seconds = 0\n[[port]]\nname = \"wan4\"",
        ));
    let worker = with_worker(&mut control, 1);
    worker.epoch().go_online(1);
    worker.epoch().beat(now_ns().saturating_sub(60_000_000_000));
    for _ in 0..1000 {
        control.turn();
    }
    assert!(control.take_messages().is_empty());
}

/// What a change could not write is not in the next difference: everything is written anew.
#[test]
fn sets_that_lack_something_are_written_anew() {
    let mut control = control(TEXT);
    control.parts.program = Box::new(FullOnce);
    let own = address(WAN6, "2001:900::1/64");
    control.parts.kernel.take(Message::Address(own), &[254], &mut control.follow.pending);
    control.settle();
    let alarmed =
        |control: &Control| answer(control, Query::Status)["alarms"].to_string().contains("program_sets");
    assert!(alarmed(&control));
    control.mend_sets();
    assert!(!alarmed(&control), "nothing is missing any more");
}
