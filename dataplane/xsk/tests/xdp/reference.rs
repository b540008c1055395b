//! The program's rules written a second time, from the text of the design, over plain slices.

use crate::packets::{
    ETHERTYPE_IPV4, ETHERTYPE_IPV6, OUR_MAC, OWN, OWN_SERVED, RELAY, SIXINFOUR, TPID_8021AD, TPID_8021Q,
};

/// What should become of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// To the kernel; it belongs to no port (tagged, or cut short before the EtherType).
    NoPort,
    /// To the kernel.
    Pass,
    /// To the kernel, because of a foreign unicast MAC.
    PassNotOurMac,
    /// To the socket.
    Ours,
}

/// Judges a frame that arrives on the one port of the tests, whose frames have a tag with the id `vlan`;
/// 0: no tag, or one with a priority only.
pub(crate) fn judge(frame: &[u8], vlan: u16, forward_all: bool) -> Answer {
    let Some((tags, ethertype, packet)) = link(frame) else {
        return Answer::NoPort;
    };
    let id = match tags[..] {
        [] => 0,
        [(TPID_8021Q, control)] => control & 0x0fff,
        _ => return Answer::NoPort,
    };
    if id != vlan {
        return Answer::NoPort;
    }
    let mac = &frame[..6];
    if mac != OUR_MAC {
        return if mac[0] & 1 == 1 { Answer::Pass } else { Answer::PassNotOurMac };
    }
    let ours = match ethertype {
        ETHERTYPE_IPV4 => ipv4_is_ours(packet),
        ETHERTYPE_IPV6 => ipv6_is_ours(packet, forward_all),
        _ => false,
    };
    if ours { Answer::Ours } else { Answer::Pass }
}

/// TPID and tag control.
type Tag = (u16, u16);

/// Tags, EtherType, and what follows it; `None` when that is cut short.
fn link(frame: &[u8]) -> Option<(Vec<Tag>, u16, &[u8])> {
    let (mut tags, mut at) = (Vec::new(), 12);
    loop {
        let ethertype = be16(frame, at)?;
        if tags.len() == 2 || ![TPID_8021Q, TPID_8021AD].contains(&ethertype) {
            return Some((tags, ethertype, &frame[at + 2..]));
        }
        // The whole tag, with the EtherType that follows it, must be there.
        be16(frame, at + 4)?;
        tags.push((ethertype, be16(frame, at + 2)?));
        at += 4;
    }
}

fn ipv4_is_ours(packet: &[u8]) -> bool {
    let Some((header, payload)) = split_ipv4(packet) else {
        return false;
    };
    if header[16..20] != RELAY.octets() {
        return false;
    }
    let whole = u16::from_be_bytes([header[6], header[7]]) & 0x3fff == 0;
    match header[9] {
        SIXINFOUR => true,
        1 if whole => icmp_is_ours(payload),
        _ => false,
    }
}

fn icmp_is_ours(message: &[u8]) -> bool {
    if message.len() < 8 || ![3, 11, 12].contains(&message[0]) {
        return false;
    }
    split_ipv4(&message[8..])
        .is_some_and(|(quote, _)| quote[9] == SIXINFOUR && quote[12..16] == RELAY.octets())
}

fn split_ipv4(packet: &[u8]) -> Option<(&[u8], &[u8])> {
    let first = *packet.first()?;
    let length = usize::from(first & 15) * 4;
    if first >> 4 != 4 || length < 20 || packet.len() < length {
        return None;
    }
    Some(packet.split_at(length))
}

fn ipv6_is_ours(packet: &[u8], forward_all: bool) -> bool {
    if packet.len() < 40 || packet[0] >> 4 != 6 {
        return false;
    }
    let destination = &packet[24..40];
    let multicast = destination[0] == 0xff;
    let link_local = destination[0] == 0xfe && (0x80..0xc0).contains(&destination[1]);
    let own = destination == OWN.octets() || destination == OWN_SERVED.octets();
    let served = destination[..2] == [0x20, 0x02];
    !multicast && !link_local && !own && (served || forward_all)
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}
