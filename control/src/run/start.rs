//! The start: from the keeper's facts to tables that can be handed out.

use std::collections::{BTreeSet, VecDeque};
use std::io::Read;

use sixlane_tables::segment::Pages;
use sixlane_tables::{Limits, TableError, TableWriter};

use super::RunOptions;
use super::control::{Control, Parts};
use super::fpm::first_told;
use super::keeper::Facts;
use super::reload::Loaded;
use crate::alarms::{Alarm, Alarms};
use crate::clock::now_ns;
use crate::compile::{self, Desired, Input};
use crate::config::{self, BYTES_MAX, Checked};
use crate::door::Door;
use crate::fence::{Fence, Nft};
use crate::figures::{Dead, read_from_start};
use crate::fpm::Port;
use crate::kernel::{self, Kernel};
use crate::link::{FromKeeper, ToKeeper};
use crate::neighbours::Neighbours;
use crate::netlink::request::Key;
use crate::netlink::socket::{Listener, Requests};
use crate::netlink::uapi::GROUPS;
use crate::publish::{Publisher, Readers};
use crate::sets;
use crate::workers::Workers;

/// Builds everything and queues what the keeper must hear. The listening socket is the event loop's to
/// wait on.
///
/// # Errors
/// One sentence with cause and remedy.
pub(super) async fn start(
    facts: Facts,
    options: RunOptions,
    port: &mut Port,
) -> Result<(Control, Listener), String> {
    let (config, loaded) = read_config(&facts)?;
    // Subscribe first, then dump: what changes in between comes as an event.
    let mut listener = Listener::open(GROUPS).map_err(|error| error.to_string())?;
    let mut requests = Requests::open().map_err(|error| error.to_string())?;
    let tables = kernel::table_numbers(&config.router.tables)?;
    let fpm = first_told(&facts.rest, &config, &tables, port).await;
    let kernel = Kernel::read(&mut requests, &tables).map_err(|error| error.to_string())?;
    let hash_key = hash_key()?;
    let input = Input {
        config: &config,
        plan: &facts.plan,
        kernel: &kernel,
        tables: &tables,
        failed: &BTreeSet::new(),
        hash_key,
        fpm: &fpm.source.routes,
    };
    let again = facts.rest.iter().any(|message| matches!(message, FromKeeper::Attached));
    let desired = if again { compile::compile_again(input) } else { compile::compile(input)? };
    let mut alarms = Alarms::default();
    for (alarm, text) in &desired.alarms {
        alarms.raise(*alarm, text.clone());
    }
    let now = now_ns();
    let neighbours = first_neighbours(now, &config, &desired, &mut requests)?;
    let mut writer = make_tables(&config, &desired)?;
    let mut workers = Workers::new(facts.plan.workers, now, earlier_totals(facts.totals));
    open_inject_rings(&mut writer, &mut workers, facts.plan.workers)?;
    let publisher = first_tables(writer, &desired, &neighbours, &mut alarms)?;
    let (fence, raised) = Fence::raise(Box::new(Nft), &desired.sets.relay4);
    if let Err(error) = raised {
        alarms.raise(Alarm::FenceMissing, error.to_string());
    }
    sets::fill(&facts.maps, &desired).map_err(|error| error.to_string())?;
    let mut messages = VecDeque::from([ToKeeper::Fenced]);
    let set = publisher.writer().generation();
    for (index, segment) in (0..).zip(publisher.writer().segments()) {
        let fd = segment.share().map_err(|error| format!("cannot hand the tables out: {error}"))?;
        messages.push_back(ToKeeper::TablesSegment { set, index, fd });
    }
    messages.push_back(ToKeeper::Ready);
    let mut control = Control::new(Parts {
        options,
        config,
        loaded,
        fence,
        path: facts.path,
        plan: facts.plan,
        kernel,
        tables,
        hash_key,
        program: Box::new(facts.maps),
        desired,
        alarms,
        neighbours,
        publisher,
        workers,
        requests,
        door: facts.door.map(|(device, ifindex)| Door::new(device, ifindex)),
        messages,
    });
    control.fpm = fpm;
    for message in facts.rest {
        control.told(message);
    }
    control.first_notices(&mut listener);
    control.ask_kernel();
    Ok((control, listener))
}

fn read_config(facts: &Facts) -> Result<(Checked, Loaded), String> {
    let name = facts.path.display().to_string();
    let again = |error: std::io::Error| format!("the keeper's copy of {name} cannot be read: {error}");
    let copy = facts.text.try_clone().map_err(again)?;
    let file = facts.text.try_clone().map_err(again)?;
    let mut text = String::new();
    read_from_start(copy, BYTES_MAX, &mut text).map_err(again)?;
    let config = config::parse(&name, &text).map_err(|report| report.to_string())?;
    config::refuse_unbuilt(&config).map_err(|unbuilt| unbuilt.to_string())?;
    Ok((config, Loaded::now(&text, file)))
}

/// Secrets of this start, from the kernel.
fn hash_key() -> Result<[u64; 2], String> {
    let mut bytes = [[0; 8]; 2];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(bytes.as_flattened_mut()))
        .map_err(|error| format!("cannot read /dev/urandom: {error}; the process needs a usual /dev"))?;
    Ok(bytes.map(u64::from_ne_bytes))
}

fn first_neighbours(
    now: u64,
    config: &Checked,
    desired: &Desired,
    requests: &mut Requests,
) -> Result<Neighbours, String> {
    let hosts_max = usize::try_from(config.limits.adjacencies / 2).unwrap_or(usize::MAX);
    let mut neighbours = Neighbours::new(kernel::neighbour_table_size(), hosts_max);
    neighbours.set_topology(now, &desired.gateways, &desired.on_link);
    let mut known = kernel::read_neighbours(requests).map_err(|error| error.to_string())?;
    known.retain(|neighbour| desired.ports.contains_key(&neighbour.ifindex));
    neighbours.heard_all(now, &known);
    let managed = known.iter().filter(|neighbour| neighbour.managed_for_us);
    neighbours
        .inherit(managed.map(|neighbour| Key { ifindex: neighbour.ifindex, address: neighbour.address }));
    Ok(neighbours)
}

/// Empty tables of the configured size.
pub(super) fn make_tables(config: &Checked, desired: &Desired) -> Result<TableWriter, String> {
    let size = |limit: u32| usize::try_from(limit).unwrap_or(usize::MAX);
    let limits = Limits {
        routes4: size(config.limits.routes4),
        routes6: size(config.limits.routes6),
        adjacencies: config.limits.adjacencies,
        pages: Pages::Plain,
        ..Limits::default()
    };
    TableWriter::create(&limits, &desired.settings)
        .map_err(|error| format!("cannot make the tables: {error}; give the machine more memory"))
}

/// The first tables. Nobody reads them yet, so they may grow at once.
pub(super) fn first_tables(
    writer: TableWriter,
    desired: &Desired,
    neighbours: &Neighbours,
    alarms: &mut Alarms,
) -> Result<Publisher, String> {
    let mut publisher = Publisher::new(writer);
    loop {
        match publisher.bring_to(desired, neighbours, Readers::Nobody) {
            Ok(()) => return Ok(publisher),
            Err(TableError::ArenaFull) => match publisher.grow() {
                Ok(Some(index)) => drop(publisher.mapped(index)),
                Ok(None) => {}
                Err(error) => {
                    return Err(format!(
                        "the routes do not fit into the tables: {error}; lower the number of routes"
                    ));
                }
            },
            Err(error) => {
                alarms.raise(Alarm::TablesFull, tables_full(&error));
                return Ok(publisher);
            }
        }
    }
}

/// One for each worker, before the tables are handed out: workers look for them when they begin.
pub(super) fn open_inject_rings(
    writer: &mut TableWriter,
    workers: &mut Workers,
    count: u16,
) -> Result<(), String> {
    for worker in 0..count {
        let ring = writer.open_inject(worker).map_err(|error| {
            format!("cannot make the ring to worker {worker}: {error}; lower the number of workers")
        })?;
        workers.inject_by(worker, ring);
    }
    Ok(())
}

/// The sentence of the alarm `tables_full`.
pub(super) fn tables_full(error: &TableError) -> String {
    format!("not all routes and neighbours are in the tables: {error}; raise [limits] and restart")
}

/// What an earlier control counted. A sum that cannot be read is lost, and said to be.
fn earlier_totals(fd: Option<std::os::fd::OwnedFd>) -> Dead {
    let Some(fd) = fd else { return Dead::default() };
    Dead::open(fd).unwrap_or_else(|error| {
        tracing::warn!("the counters of earlier workers are lost: {error}");
        Dead::default()
    })
}
