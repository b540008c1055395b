//! What an address says by itself: the transition mechanism, the addresses inside it, its interface
//! identifier, and whether the relay would refuse it. Needs no running relay.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::{Map, Value, json};
use sixlane_tunnel::bogon::{block4, block6};
use sixlane_tunnel::class::Class4;
use sixlane_tunnel::embed;
use sixlane_wire::ipv6::Address;

use crate::failure::Failure;
use crate::output::{Align, Table, print, print_json};

/// One thing that an address says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fact {
    /// Key in JSON; blanks for underscores are what people read.
    key: &'static str,
    value: String,
    /// Who says so, or what it means; may be empty.
    note: String,
}

pub(super) fn run(address: IpAddr, json: bool) -> Result<(), Failure> {
    let facts = match address {
        IpAddr::V4(address) => decode4(address),
        IpAddr::V6(address) => decode6(address),
    };
    if json {
        return print_json(&as_json(address, &facts));
    }
    let mut table = Table::new(&[("address", Align::Left), (&address.to_string(), Align::Left)]);
    for fact in facts {
        let note = if fact.note.is_empty() { String::new() } else { format!("  {}", fact.note) };
        table.row(vec![fact.key.replace('_', " "), fact.value + &note]);
    }
    print(&table.render())
}

fn as_json(address: IpAddr, facts: &[Fact]) -> Value {
    let mut object = Map::new();
    object.insert("v".into(), json!(1));
    object.insert("address".into(), json!(address.to_string()));
    for fact in facts {
        object.insert(fact.key.into(), json!({ "value": fact.value, "note": fact.note }));
    }
    Value::Object(object)
}

fn fact(key: &'static str, value: impl ToString, note: impl Into<String>) -> Fact {
    Fact { key, value: value.to_string(), note: note.into() }
}

fn decode4(address: Ipv4Addr) -> Vec<Fact> {
    let number = u32::from(address);
    let prefix = Ipv6Addr::from(embed::sixtofour(number, 0, 0).octets());
    let [outer, embedded, private] = verdicts4(number);
    vec![
        fact("as_outer_source", outer, ""),
        fact("inside_6to4_or_teredo", embedded, ""),
        fact("inside_a_private_domain", private, ""),
        fact("sixtofour_prefix", format!("{prefix}/48"), "RFC 3056 §2"),
        fact("isatap_identifier", format!("::{}:5efe:{address}", isatap_head(number)), "RFC 5214 §6.1"),
    ]
}

/// `200` when the address is globally unique, else `0`.
fn isatap_head(number: u32) -> &'static str {
    if block4(number).is_none() { "200" } else { "0" }
}

/// What the table of bogons says of an IPv4 address in its three uses.
fn verdicts4(number: u32) -> [String; 3] {
    let block = block4(number);
    [Class4::OUTER_BOGON, Class4::EMBEDDED_BOGON, Class4::PRIVATE_BOGON].map(|class| {
        match block.filter(|block| block.class.contains(class)) {
            None => "accepted".into(),
            Some(block) => {
                let lab = if block.lab_permits { "; the profile `lab` permits it" } else { "" };
                format!("refused, {}{lab}", block.note)
            }
        }
    })
}

fn decode6(address: Ipv6Addr) -> Vec<Fact> {
    let parts = Address::from_octets(address.octets());
    if address.is_multicast() {
        return multicast(address, parts);
    }
    let mut facts = Vec::new();
    if let Some(inside) = embed::sixtofour_v4(parts) {
        facts.push(fact("kind", "6to4", "RFC 3056 §2"));
        facts.extend(embedded("ipv4", inside));
        facts.push(fact("site_prefix", site(parts, 48), ""));
        facts.push(fact("subnet", format!("{:#06x}", parts.hi & 0xffff), ""));
    } else if let Some(teredo) = embed::teredo(parts) {
        facts.extend(teredo_facts(teredo));
    } else {
        facts.push(fact("kind", kind(parts), ""));
    }
    facts.push(fact("bogon", verdict6(parts), ""));
    if embed::teredo(parts).is_none() {
        facts.extend(identifier(parts));
    }
    facts.extend(solicited(parts));
    facts
}

fn embedded(key: &'static str, number: u32) -> [Fact; 2] {
    let bogon = if key == "server" { "server_bogon" } else { "ipv4_bogon" };
    let refused = block4(number).filter(|block| block.class.contains(Class4::EMBEDDED_BOGON));
    let (word, note) = match refused {
        Some(block) => ("refused inside another address", block.note),
        None => ("accepted inside another address", ""),
    };
    [fact(key, Ipv4Addr::from(number), ""), fact(bogon, word, note)]
}

fn teredo_facts(teredo: embed::Teredo) -> Vec<Fact> {
    let cone = if teredo.flags & 0x8000 != 0 { "cone bit set" } else { "cone bit clear" };
    let mut facts = vec![fact("kind", "Teredo", "RFC 4380 §4")];
    facts.extend(embedded("server", teredo.server));
    facts.push(fact(
        "flags",
        format!("{:#06x}", teredo.flags),
        format!("{cone}; random bits by RFC 5991 §3.1"),
    ));
    facts.push(fact("mapped_port", teredo.port, "as the Internet sees the client"));
    facts.extend(embedded("mapped_address", teredo.client));
    facts
}

/// A native address: only its block is known.
fn kind(parts: Address) -> String {
    // One block of the table holds all these.
    if parts.hi == 0 {
        match (parts.lo, parts.lo >> 32) {
            (0, _) => return "unspecified".into(),
            (1, _) => return "loopback".into(),
            (_, 0xffff) => return "IPv4-mapped".into(),
            (_, 0) => return "IPv4-compatible".into(),
            _ => {}
        }
    }
    block6(parts).map_or_else(|| "native".into(), |block| block.note.to_owned())
}

fn verdict6(parts: Address) -> String {
    match block6(parts) {
        Some(block) if block.refused => {
            let lab = if block.lab_permits { "; the profile `lab` permits it" } else { "" };
            format!("refused, {}{lab}", block.note)
        }
        _ => "accepted".into(),
    }
}

/// What the lower 64 bits are.
fn identifier(parts: Address) -> Vec<Fact> {
    let octets = parts.lo.to_be_bytes();
    if let Some(inside) = embed::isatap_v4(parts) {
        let global = if octets[0] & 2 != 0 {
            "said to be globally unique"
        } else {
            "private or not said to be unique"
        };
        return vec![
            fact("identifier", "ISATAP", format!("RFC 5214 §6.1, {global}")),
            fact("isatap_ipv4", Ipv4Addr::from(inside), ""),
        ];
    }
    if octets[3..5] == [0xff, 0xfe] {
        let mac = [octets[0] ^ 2, octets[1], octets[2], octets[5], octets[6], octets[7]];
        return vec![
            fact("identifier", "EUI-64 of a MAC address", "RFC 4291 appendix A"),
            fact("mac", mac_text(mac), ""),
        ];
    }
    let (word, note) = match parts.lo {
        0 => ("zero: the subnet-router anycast address", "RFC 4291 §2.6.1"),
        1..=0xffff => ("assigned by hand", ""),
        _ => ("random or assigned", "RFC 7217, RFC 8981"),
    };
    vec![fact("identifier", word, note)]
}

/// The multicast group that neighbour discovery uses for the address.
fn solicited(parts: Address) -> [Fact; 2] {
    let [.., a, b, c] = parts.lo.to_be_bytes();
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]));
    [
        fact("solicited_node_group", group, "RFC 4291 §2.7.1"),
        fact("solicited_node_mac", mac_text([0x33, 0x33, 0xff, a, b, c]), "RFC 2464 §7"),
    ]
}

fn multicast(address: Ipv6Addr, parts: Address) -> Vec<Fact> {
    let [.., a, b, c, d] = address.octets();
    let scope = match (parts.hi >> 48) & 0xf {
        1 => "interface",
        2 => "link",
        3 => "realm",
        4 => "admin",
        5 => "site",
        8 => "organization",
        14 => "global",
        _ => "reserved or unassigned",
    };
    vec![
        fact("kind", "multicast", "RFC 4291 §2.7"),
        fact("scope", scope, "RFC 7346"),
        fact("bogon", verdict6(parts), ""),
        fact("mac", mac_text([0x33, 0x33, a, b, c, d]), "RFC 2464 §7"),
    ]
}

/// The prefix of `length` bits that holds an address.
fn site(parts: Address, length: u32) -> String {
    let mask = u128::MAX << (128 - length);
    let prefix = u128::from_be_bytes(parts.octets()) & mask;
    format!("{}/{length}", Ipv6Addr::from(prefix))
}

fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|octet| format!("{octet:02x}")).join(":")
}

#[cfg(test)]
#[path = "address_tests.rs"]
mod tests;
