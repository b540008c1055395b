//! The door in the event loop: packets both ways, the interface, the kernel's routes to it.

use std::collections::BTreeSet;
use std::future::pending;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;

use ipnet::{IpNet, Ipv6Net};
use rustix::io::Errno;
use sixlane_wire::ipv6;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

use super::control::{Control, Parts, SECOND_NS, Stage};
use super::wait;
use crate::alarms::Alarm;
use crate::compile::Target;
use crate::config::Checked;
use crate::config::checked::Deliver;
use crate::door::Door;
use crate::door::health::{self, Verdict};
use crate::door::packet::Own;
use crate::netlink::request::{LinkAsk, RouteAsk};
use crate::netlink::socket::Requests;

/// Requests to the kernel in one turn.
const REQUESTS: usize = 64;
/// The metric that the kernel gives our routes, as it does to all that come without one.
const METRIC: u32 = 1024;

/// The kernel takes the greater of this filter and the interface's own.
const FILTER_OF_ALL: &str = "/proc/sys/net/ipv4/conf/all/rp_filter";

/// The device in the event loop.
pub(super) type Device = Option<AsyncFd<OwnedFd>>;

/// Waits for a packet of the kernel; for ever where there is no door.
pub(super) async fn readable(device: &Device) -> AsyncFdReadyGuard<'_, OwnedFd> {
    let Some(device) = device else { return pending().await };
    match device.readable().await {
        Ok(ready) => ready,
        Err(_) => pending().await,
    }
}

/// The MTU of the interface: the largest that a tunnel takes, in bytes.
fn mtu(config: &Checked) -> u32 {
    let sixtofour = config.sixtofour.as_ref().map(|section| section.encapsulation.mtu);
    sixtofour.into_iter().max().unwrap_or(ipv6::MTU_MIN).max(ipv6::MTU_MIN)
}

/// Sets the interface up: no address of its own, no filter, MTU, up.
pub(super) fn set_up(door: &mut Door, config: &Checked, requests: &mut Requests) -> Result<(), String> {
    for ask in [LinkAsk::Plain, LinkAsk::Mtu(mtu(config)), LinkAsk::Up] {
        requests.link(ask, door.ifindex).map_err(|error| {
            format!(
                "the interface sixlane0 cannot be set up ({error}): the kernel needs IPv6, see \
                 net.ipv6.conf.all.disable_ipv6; until then nothing of this box itself reaches a tunnel"
            )
        })?;
    }
    // Where this is refused (a read-only /proc), the kernel's defaults stay: packets of neighbour
    // discovery never pass the door anyway.
    for name in ["accept_ra", "accept_redirects", "router_solicitations"] {
        let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/sixlane0/{name}"), "0");
    }
    if std::fs::read_to_string(FILTER_OF_ALL).is_ok_and(|value| value.trim() != "0") {
        tracing::warn!(
            "net.ipv4.conf.all.rp_filter is not 0, so ICMPv4 errors that are not about tunnel packets do not \
             come back to this box's own sockets: set it to 0 and filter by interface"
        );
    }
    door.unset = false;
    Ok(())
}

impl Control {
    /// The device for the event loop.
    pub(super) fn door_device(&self) -> std::io::Result<Device> {
        match &self.parts.door {
            Some(door) => wait::watch(door.share()?).map(Some),
            None => Ok(None),
        }
    }

    /// Packets of the kernel, a bounded number; `false`: none is left.
    pub(super) fn kernel_sends(&mut self) -> bool {
        let flows = self.stage == Stage::Attached;
        let Parts { door, workers, desired, .. } = &mut self.parts;
        let Some(door) = door else { return false };
        door.take(&desired.sets.served6, |packet| flows && workers.inject(packet))
    }

    /// Packets of workers, a bounded number.
    pub(super) fn workers_hand_over(&mut self) {
        let Parts { door, workers, desired, publisher, kernel, config, .. } = &mut self.parts;
        let Some(door) = door else { return };
        let four: BTreeSet<Ipv4Addr> = kernel
            .addresses
            .iter()
            .filter_map(|own| match own.address {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            })
            .collect();
        let all =
            config.sixtofour.as_ref().is_some_and(|section| section.encapsulation.deliver == Deliver::All);
        let own = Own { six: &desired.sets.local6, four: &four, all };
        workers.take_packets(publisher.writer(), |packet| door.give(packet.bytes, &own));
    }

    /// Whether packets went through a moment ago: then more are looked for soon.
    pub(super) fn door_is_busy(&mut self, now: u64) -> bool {
        self.parts.door.as_mut().is_some_and(|door| door.is_busy(now))
    }

    /// Brings the interface and the kernel's routes to what they should be.
    pub(super) fn settle_door(&mut self, now: u64) {
        if self.parts.door.is_none() {
            return;
        }
        let up = self.door_is_up(now);
        let works = up && self.relay_works(now);
        let patience = health::patience_ns(self.parts.config.dataplane.stuck_seconds);
        let Some(door) = &mut self.parts.door else { return };
        let (ifindex, verdict) = (door.ifindex, door.health.judge(now, works, patience));
        let standing = self.standing_routes();
        let (install, remove) = health::steps(verdict, &self.parts.desired.sets.served6, &standing);
        for net in remove.into_iter().take(REQUESTS) {
            self.remove_route(net, ifindex);
        }
        if self.parts.door.as_ref().is_some_and(|door| now >= door.retry_ns) {
            self.install_routes(now, &install, ifindex);
        }
        if verdict == Verdict::Serve {
            self.watch_other_routes();
        }
    }

    /// At an orderly stop.
    pub(super) fn close_door(&mut self) {
        let Some(ifindex) = self.parts.door.as_ref().map(|door| door.ifindex) else { return };
        for net in self.standing_routes() {
            self.remove_route(net, ifindex);
        }
    }

    /// Our routes to the door that the kernel has.
    pub(super) fn standing_routes(&self) -> BTreeSet<Ipv6Net> {
        let Parts { door, kernel, .. } = &self.parts;
        let ifindex = door.as_ref().map(|door| door.ifindex);
        kernel.own_routes.iter().filter(|(_, out)| Some(*out) == ifindex).map(|(net, _)| *net).collect()
    }

    /// Whether the interface is there and up. What was not set up is tried again every second; an interface
    /// that the operator took down stays down.
    fn door_is_up(&mut self, now: u64) -> bool {
        let Parts { door, kernel, config, requests, .. } = &mut self.parts;
        let Some(door) = door else { return false };
        if door.unset && now >= door.retry_ns {
            door.retry_ns = now.saturating_add(SECOND_NS);
            if let Err(sentence) = set_up(door, config, requests) {
                self.alarm(Alarm::DoorDown, sentence);
                return false;
            }
            door.retry_ns = now;
            // As its notice will say in a moment.
            kernel.links.entry(door.ifindex).and_modify(|link| (link.up, link.mtu) = (true, mtu(config)));
        }
        let link = kernel.links.get(&door.ifindex);
        if link.is_some_and(|link| link.up && link.mtu != mtu(config)) {
            let _ = requests.link(LinkAsk::Mtu(mtu(config)), door.ifindex);
        }
        match link {
            _ if door.unset => false,
            Some(link) if link.up && !door.lost => {
                self.parts.alarms.clear(Alarm::DoorDown);
                true
            }
            Some(_) if !door.lost => {
                self.alarm(
                    Alarm::DoorDown,
                    "the interface sixlane0 is down, so the tunnels' prefixes are not announced and this box \
                     itself does not reach them: `ip link set sixlane0 up`"
                        .to_owned(),
                );
                false
            }
            _ => {
                self.alarm(
                    Alarm::DoorDown,
                    "the interface sixlane0 has been deleted: restart sixlane, which makes it again"
                        .to_owned(),
                );
                false
            }
        }
    }

    /// 6TO4-21: packets flow, the relay has its address, and there is a way out in both families.
    fn relay_works(&self, now: u64) -> bool {
        let Parts { workers, desired, .. } = &self.parts;
        let out = |target: &Target| matches!(target, Target::Glean { .. } | Target::Neighbour(_));
        self.stage == Stage::Attached
            && !workers.silent(now)
            && !desired.alarms.iter().any(|(alarm, _)| *alarm == Alarm::RelayAddress)
            && desired.routes4.values().any(out)
            && desired.routes6.values().any(out)
    }

    fn remove_route(&mut self, net: Ipv6Net, ifindex: u32) {
        match self.parts.requests.own_route(RouteAsk::Remove, net, ifindex) {
            Ok(()) => tracing::info!("the route {net} dev sixlane0 is withdrawn"),
            Err(error) => tracing::debug!("the route {net} dev sixlane0 had gone: {error}"),
        }
        self.parts.kernel.own_routes.remove(&(net, ifindex));
    }

    fn install_routes(&mut self, now: u64, nets: &[Ipv6Net], ifindex: u32) {
        let mut refused = None;
        for net in nets.iter().take(REQUESTS) {
            match self.parts.requests.own_route(RouteAsk::Install, *net, ifindex) {
                Ok(()) => {
                    tracing::info!("the route {net} dev sixlane0 is installed");
                    self.parts.kernel.own_routes.insert((*net, ifindex));
                }
                Err(error) => refused = Some((*net, error)),
            }
        }
        let Some((net, error)) = refused else {
            return;
        };
        if let Some(door) = &mut self.parts.door {
            door.retry_ns = now.saturating_add(SECOND_NS);
        }
        let sentence = if error.raw_os_error() == Some(Errno::EXIST.raw_os_error()) {
            format!(
                "the kernel has a route for {net} that is not ours, so {net} is not announced: remove it with \
                 `ip -6 route del {net}`, ours is installed then"
            )
        } else {
            format!(
                "the route {net} dev sixlane0 cannot be installed ({error}): see `ip -6 route show {net}`"
            )
        };
        self.alarm(Alarm::DoorRoute, sentence);
    }

    /// Says so while another route is preferred to one of ours; it is left alone.
    fn watch_other_routes(&mut self) {
        let Parts { kernel, desired, .. } = &self.parts;
        let standing = self.standing_routes();
        if !desired.sets.served6.iter().all(|net| standing.contains(net)) {
            return;
        }
        let better = |net: &&Ipv6Net| {
            let routes = kernel.routes.at(&IpNet::V6(**net));
            routes.iter().any(|route| route.priority < METRIC)
        };
        match desired.sets.served6.iter().find(better).copied() {
            Some(net) => self.alarm(
                Alarm::DoorRoute,
                format!(
                    "the kernel has another route for {net} with a better metric than ours, so this box's own \
                     traffic does not take the tunnel: remove it if that is not meant, see `ip -6 route show {net}`"
                ),
            ),
            None => self.parts.alarms.clear(Alarm::DoorRoute),
        }
    }
}
