//! Builders of frames, headers inside out: each takes the payload that follows it.

use std::net::{Ipv4Addr, Ipv6Addr};

pub(crate) const OUR_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];
pub(crate) const FOREIGN_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x99];
pub(crate) const BROADCAST_MAC: [u8; 6] = [0xff; 6];
const PEER_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x02];

/// Serves protocol 41.
pub(crate) const RELAY: Ipv4Addr = Ipv4Addr::new(9, 254, 253, 252);
/// Relay address that serves Teredo only, in the time to come.
pub(crate) const TEREDO_RELAY: Ipv4Addr = Ipv4Addr::new(9, 254, 253, 251);
/// Not ours.
pub(crate) const STRANGER: Ipv4Addr = Ipv4Addr::new(192, 1, 2, 3);

/// Inside the served prefix 2002::/16.
pub(crate) const SERVED: Ipv6Addr = Ipv6Addr::new(0x2002, 0xc001, 0x0203, 0, 0, 0, 0, 1);
/// Inside the served prefix, and the box's own.
pub(crate) const OWN_SERVED: Ipv6Addr = Ipv6Addr::new(0x2002, 0x09fe, 0xfdfc, 0, 0, 0, 0, 1);
/// The box's own.
pub(crate) const OWN: Ipv6Addr = Ipv6Addr::new(0x2001, 0x600, 0, 0, 0, 0, 0, 0xfe);
/// Neither served nor own.
pub(crate) const NATIVE: Ipv6Addr = Ipv6Addr::new(0x2001, 0x600, 0, 0, 0, 0, 0, 1);

pub(crate) const ETHERTYPE_IPV4: u16 = 0x0800;
pub(crate) const ETHERTYPE_ARP: u16 = 0x0806;
pub(crate) const ETHERTYPE_IPV6: u16 = 0x86dd;
pub(crate) const TPID_8021Q: u16 = 0x8100;
pub(crate) const TPID_8021AD: u16 = 0x88a8;

pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const SIXINFOUR: u8 = 41;
pub(crate) const ICMPV6: u8 = 58;

pub(crate) const MORE_FRAGMENTS: u16 = 0x2000;
pub(crate) const DONT_FRAGMENT: u16 = 0x4000;

/// A frame without a VLAN tag.
pub(crate) fn ethernet(destination: [u8; 6], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&destination[..], &PEER_MAC, &ethertype.to_be_bytes(), payload].concat()
}

/// A frame to us, with tags (TPID and tag control) from the outside in.
pub(crate) fn tagged(tags: &[(u16, u16)], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = [&OUR_MAC[..], &PEER_MAC].concat();
    for (tpid, control) in tags {
        frame.extend(tpid.to_be_bytes());
        frame.extend(control.to_be_bytes());
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

/// IPv4 without options, not fragmented.
pub(crate) fn ipv4(protocol: u8, source: Ipv4Addr, destination: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    ipv4_with(protocol, source, destination, &[], DONT_FRAGMENT, payload)
}

/// IPv4 with options (a multiple of 4 bytes) and the word of flags and fragment offset.
pub(crate) fn ipv4_with(
    protocol: u8,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    options: &[u8],
    fragment: u16,
    payload: &[u8],
) -> Vec<u8> {
    let header = 20 + options.len();
    let total = u16::try_from(header + payload.len()).unwrap();
    let mut packet = vec![0x40 | u8::try_from(header / 4).unwrap(), 0];
    packet.extend(total.to_be_bytes());
    packet.extend([0x12, 0x34]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0]); // the program does not look at the checksum
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(options);
    packet.extend(payload);
    packet
}

/// An ICMPv4 message whose body is `body`.
pub(crate) fn icmpv4(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 0, 0, 0, 0, 0, 0, 0][..], body].concat()
}

/// IPv6 with no extension header.
pub(crate) fn ipv6(next: u8, source: Ipv6Addr, destination: Ipv6Addr, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    packet.extend([next, 64]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(payload);
    packet
}

/// An IPv6 packet to be carried.
pub(crate) fn inner() -> Vec<u8> {
    ipv6(58, SERVED, NATIVE, &[128, 0, 0, 0, 0, 1, 0, 1])
}

/// Protocol 41 to the relay.
pub(crate) fn tunnel_packet() -> Vec<u8> {
    ipv4(SIXINFOUR, STRANGER, RELAY, &inner())
}

/// An ICMP error to the relay about a packet from `quoted_source` with `quoted_protocol`.
pub(crate) fn icmp_error(kind: u8, quoted_source: Ipv4Addr, quoted_protocol: u8) -> Vec<u8> {
    let quote = ipv4(quoted_protocol, quoted_source, STRANGER, &inner()[..8]);
    ipv4(ICMP, STRANGER, RELAY, &icmpv4(kind, &quote))
}
