//! Ports and the kernel's interfaces: an untagged port is its device; a VLAN port is frames of a device,
//! and the kernel's VLAN interface on that device has its addresses, neighbours and routes. The kernel
//! knows by parent and id which that is, whatever its name.

use std::collections::BTreeMap;

use sixlane_tables::settings::PORT_MTU_MAX;

use super::Input;
use crate::link::PortFact;
use crate::netlink::message::Link;

/// Bytes of a VLAN tag, which a frame must hold besides its packet.
const TAG_BYTES: u32 = 4;

/// By which frames the program knows a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entrance {
    /// Index of the port.
    pub(crate) port: u8,
    /// The kernel's number of the device that the program is attached to.
    pub(crate) device: u32,
    /// The id in the one tag of its frames; `None`: no tag.
    pub(crate) vlan: Option<u16>,
}

/// The entrances of all ports.
pub(super) fn entrances(input: Input<'_>) -> Vec<Entrance> {
    let ports = input.plan.ports.iter();
    ports.map(|port| Entrance { port: port.index, device: port.ifindex, vlan: vlan(input, port) }).collect()
}

/// Interface number to port index, of those whose interface is there.
pub(super) fn interfaces(input: Input<'_>) -> BTreeMap<u32, u8> {
    input.plan.ports.iter().filter_map(|port| Some((number(input, port)?, port.index))).collect()
}

/// The VLAN of a port.
pub(super) fn vlan(input: Input<'_>, port: &PortFact) -> Option<u16> {
    input.config.ports.get(usize::from(port.index))?.vlan
}

/// The kernel's interface of a port.
pub(super) fn link<'a>(input: Input<'a>, port: &PortFact) -> Option<&'a Link> {
    let links = &input.kernel.links;
    match vlan(input, port) {
        None => links.get(&port.ifindex),
        Some(id) => links.values().find(|link| link.vlan == Some((port.ifindex, id))),
    }
}

/// The kernel's number of a port's interface; of an untagged port also when it has gone.
pub(super) fn number(input: Input<'_>, port: &PortFact) -> Option<u32> {
    match vlan(input, port) {
        None => Some(port.ifindex),
        Some(_) => link(input, port).map(|link| link.ifindex),
    }
}

/// The greatest MTU that a port may have, in bytes.
pub(super) fn mtu_max(input: Input<'_>, port: &PortFact) -> u32 {
    vlan(input, port).map_or(PORT_MTU_MAX, |_| PORT_MTU_MAX - TAG_BYTES)
}

/// The sentence about a port whose interface is not there.
pub(super) fn missing(input: Input<'_>, port: &PortFact) -> String {
    let name = &port.name;
    match vlan(input, port) {
        Some(id) if input.kernel.links.contains_key(&port.ifindex) => format!(
            "the kernel has no interface for VLAN {id} on \"{name}\", whose addresses and routes the port would \
             have: `ip link add link {name} name {name}.{id} type vlan id {id}`, bring it up and give it its \
             addresses"
        ),
        _ => format!(
            "the interface \"{name}\" has gone since its port was opened: bring it back, and the port is used \
             again"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::tests::{TRUNK, WAN4, WAN6, with_vlan};
    use super::super::{Desired, compile, compile_again};
    use super::*;
    use crate::alarms::Alarm;
    use crate::config::Checked;
    use crate::fpm::NOBODY;
    use crate::kernel::{Kernel, Pending};
    use crate::link::PlanFacts;
    use crate::netlink::message::Message;

    fn input<'a>(
        (config, plan, kernel): &'a (Checked, PlanFacts, Kernel),
        none: &'a BTreeSet<crate::netlink::request::Key>,
    ) -> Input<'a> {
        Input { config, plan, kernel, tables: &[254], failed: none, hash_key: [1, 2], fpm: &NOBODY }
    }

    fn entrance(desired: &Desired, port: u8) -> (u32, Option<u16>) {
        let found = desired.entrances.iter().find(|entrance| entrance.port == port).unwrap();
        (found.device, found.vlan)
    }

    #[test]
    fn a_vlan_port_has_the_frames_of_the_device_and_the_addresses_of_the_vlan() {
        let (world, none) = (with_vlan(), BTreeSet::new());
        let desired = compile(input(&world, &none)).unwrap();
        assert_eq!(entrance(&desired, 0), (WAN4, None));
        assert_eq!(entrance(&desired, 1), (TRUNK, Some(600)));
        assert_eq!(desired.ports.get(&WAN6), Some(&1));
        assert_eq!(desired.ports.get(&TRUNK), None, "routes of the bare device are none of the port's");
        let settings = desired.settings.port(1).unwrap();
        assert_eq!((settings.vlan, settings.device, settings.ifindex), (600, TRUNK, WAN6));
        assert_eq!(settings.mac, world.2.links[&WAN6].mac, "a VLAN may have an address of its own");
    }

    #[test]
    fn without_its_interface_the_start_is_refused_with_the_command() {
        let none = BTreeSet::new();
        let mut world = with_vlan();
        world.2.links.get_mut(&WAN6).unwrap().vlan = Some((TRUNK, 601));
        let refused = compile(input(&world, &none)).unwrap_err();
        assert!(refused.contains("VLAN 600 on \"trunk\""), "{refused}");
        assert!(refused.contains("`ip link add link trunk name trunk.600 type vlan id 600`"), "{refused}");
        world.2.links.get_mut(&WAN6).unwrap().vlan = Some((WAN4, 600));
        assert!(compile(input(&world, &none)).is_err(), "VLAN 600 of another device");
        // Packets flow already: the other ports go on, and the port is back when its interface is.
        let desired = compile_again(input(&world, &none));
        assert!(desired.alarms.iter().any(|(alarm, _)| *alarm == Alarm::PortUnfit), "{:?}", desired.alarms);
        assert_eq!((desired.ports.get(&WAN4), desired.settings.port(1).unwrap().mac), (Some(&0), [0; 6]));
    }

    #[test]
    fn a_tag_takes_four_bytes_of_the_longest_packet() {
        let none = BTreeSet::new();
        let mut world = with_vlan();
        world.2.links.get_mut(&WAN6).unwrap().mtu = PORT_MTU_MAX;
        let refused = compile(input(&world, &none)).unwrap_err();
        assert!(refused.contains("`ip link set dev wan6 mtu 1774`"), "{refused}");
        world.2.links.get_mut(&WAN6).unwrap().mtu = PORT_MTU_MAX - TAG_BYTES;
        assert!(compile(input(&world, &none)).is_ok());
    }

    #[test]
    fn a_vlan_interface_that_is_made_again_is_followed() {
        let none = BTreeSet::new();
        let mut world = with_vlan();
        let mut desired = compile(input(&world, &none)).unwrap();
        let mut link = world.2.links[&WAN6].clone();
        let mut pending = Pending::default();
        world.2.take(Message::LinkGone(WAN6), &[254], &mut pending);
        let changes = desired.follow(input(&world, &none), std::mem::take(&mut pending));
        assert!(changes.meaning && changes.topology);
        assert_eq!(desired.ports.get(&WAN6), None);
        assert_eq!(desired.settings.port(1).unwrap().mac, [0; 6], "no frame is for it");
        assert!(desired.alarms.iter().any(|(_, text)| text.contains("type vlan id 600")));
        link.ifindex = 77;
        world.2.take(Message::Link(link), &[254], &mut pending);
        desired.follow(input(&world, &none), pending);
        assert_eq!(desired.ports.get(&77), Some(&1));
        assert_eq!(entrance(&desired, 1), (TRUNK, Some(600)));
        assert!(!desired.alarms.iter().any(|(_, text)| text.contains("type vlan id 600")));
    }
}
