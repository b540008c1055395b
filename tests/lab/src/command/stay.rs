//! `sixlane lab up` and `sixlane lab down`: a laboratory that stays.

use super::{need_root, typed};
use crate::relay::Relay;
use crate::{FarEnd, LabError, Topology, World, interrupt, registry};
use std::path::PathBuf;

/// What `sixlane lab up` is told.
#[derive(Debug, Default, Clone)]
pub struct UpOptions {
    /// A topology file instead of the built-in `first-light`.
    pub topology: Option<PathBuf>,
}

/// Builds a laboratory that stays, starts the relay in it and prints how to enter it.
///
/// # Errors
/// What could not be built; nothing is left behind then.
pub fn up(options: &UpOptions) -> Result<(), LabError> {
    need_root()?;
    interrupt::watch()?;
    let topology = match &options.topology {
        None => Topology::first_light()?,
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| LabError::io(format!("reading {}", path.display()), error))?;
            Topology::parse(&text)?
        }
    };
    let mut world = World::build(topology, FarEnd::Linux)?;
    let relay = world.relay()?;
    let isp = world.host("isp")?.namespace().to_owned();
    let address = world.topology.guest.ipv4.clone();
    let shell = world.guest()?.open_shell(&isp, without_length(&address))?;
    print!("{}", describe(&world, &relay, &shell)?);
    relay.keep();
    world.keep()
}

/// How to enter, what to try, how to take it down.
fn describe(world: &World, relay: &Relay, shell: &str) -> Result<String, LabError> {
    let prefix = world.lab.prefix();
    let (sixlane, runtime) = (typed()?, relay.runtime().display());
    let site6 = without_length(&world.topology.guest.ipv6);
    let mut text = format!("The laboratory {prefix} stands: {}.\n\n", world.topology.about);
    for host in &world.topology.hosts {
        text.push_str(&format!("  ip netns exec {prefix}-{:<8} COMMAND   # {}\n", host.name, host.about));
    }
    text.push_str(&format!(
        "  {shell}   # a shell on the 6to4 host\n\n\
         Try:\n\
         \x20 ip netns exec {prefix}-host6 ping -c 3 {site6}\n\
         \x20 ip netns exec {prefix}-host6 traceroute6 -n {site6}\n\
         \x20 {sixlane} show drops --runtime {runtime}\n\n\
         The relay's log: {}\nTake it down: {sixlane} lab down\n",
        relay.log_file().display(),
    ));
    Ok(text)
}

/// The address of `address/length`.
fn without_length(address: &str) -> &str {
    address.split_once('/').map_or(address, |(address, _)| address)
}

/// Takes laboratories of `sixlane lab up` down: the named one, or all.
///
/// # Errors
/// No laboratory of that name.
pub fn down(name: Option<&str>) -> Result<(), LabError> {
    need_root()?;
    let mut reaped = registry::reap();
    let kept = registry::kept();
    if let Some(name) = name
        && !kept.iter().any(|one| one == name)
    {
        let others = if kept.is_empty() { "none".to_owned() } else { kept.join(" ") };
        return Err(LabError::Shown(format!(
            "there is no laboratory `{name}`: take down one of these: {others}"
        )));
    }
    for one in kept.into_iter().filter(|one| name.is_none_or(|name| name == one)) {
        registry::remove(&one);
        reaped.push(one);
    }
    match reaped.as_slice() {
        [] => println!("There is no laboratory to take down."),
        names => println!("Taken down: {}.", names.join(" ")),
    }
    Ok(())
}
