//! What cannot change while sixlane runs, because sockets, memory, processes or files were made of it.

use super::checked::{Checked, Dataplane, Limits, Port, Process};

/// The first key in which the configurations differ and that is fixed at the start. Every field of the
/// sections is named here, so that a new one cannot be forgotten.
pub(crate) fn differs(old: &Checked, new: &Checked) -> Option<&'static str> {
    let others = [
        ("[router] tables", old.router.tables == new.router.tables),
        ("[admin] group", old.admin == new.admin),
        ("[fpm]", old.fpm == new.fpm),
        ("[status]", old.status == new.status),
        ("[metrics]", old.metrics == new.metrics),
    ];
    ports(&old.ports, &new.ports)
        .or_else(|| dataplane(&old.dataplane, &new.dataplane))
        .or_else(|| limits(&old.limits, &new.limits))
        .or_else(|| process(&old.process, &new.process))
        .or_else(|| first(&others))
}

/// The first that is not the same.
fn first(keys: &[(&'static str, bool)]) -> Option<&'static str> {
    keys.iter().find(|(_, same)| !same).map(|(key, _)| *key)
}

fn ports(old: &[Port], new: &[Port]) -> Option<&'static str> {
    // `forward` may change.
    let fixed = |Port { name, vlan, forward: _ }: &Port| (name.clone(), *vlan);
    first(&[("the list of [[port]]", old.iter().map(fixed).eq(new.iter().map(fixed)))])
}

fn dataplane(old: &Dataplane, new: &Dataplane) -> Option<&'static str> {
    // `stuck_seconds` is control's own and may change.
    let Dataplane {
        workers,
        mode,
        idle,
        rx_ring,
        tx_ring,
        fill_ring,
        completion_ring,
        frames,
        stuck_seconds: _,
        fast_path,
    } = old;
    first(&[
        ("dataplane.workers", *workers == new.workers),
        ("dataplane.mode", *mode == new.mode),
        ("dataplane.idle", *idle == new.idle),
        ("dataplane.rx_ring", *rx_ring == new.rx_ring),
        ("dataplane.tx_ring", *tx_ring == new.tx_ring),
        ("dataplane.fill_ring", *fill_ring == new.fill_ring),
        ("dataplane.completion_ring", *completion_ring == new.completion_ring),
        ("dataplane.frames", *frames == new.frames),
        ("dataplane.fast_path", *fast_path == new.fast_path),
    ])
}

fn limits(old: &Limits, new: &Limits) -> Option<&'static str> {
    let Limits { routes4, routes6, adjacencies, tunnels, domains, peers } = old;
    first(&[
        ("limits.routes4", *routes4 == new.routes4),
        ("limits.routes6", *routes6 == new.routes6),
        ("limits.adjacencies", *adjacencies == new.adjacencies),
        ("limits.tunnels", *tunnels == new.tunnels),
        ("limits.domains", *domains == new.domains),
        ("limits.peers", *peers == new.peers),
    ])
}

fn process(old: &Process, new: &Process) -> Option<&'static str> {
    let Process { control_user, dataplane_user, observer_user, state_directory } = old;
    first(&[
        ("process.control_user", *control_user == new.control_user),
        ("process.dataplane_user", *dataplane_user == new.dataplane_user),
        ("process.observer_user", *observer_user == new.observer_user),
        ("process.state_directory", *state_directory == new.state_directory),
    ])
}
