//! A packet in one line.

use std::net::{Ipv4Addr, Ipv6Addr};

use sixlane_wire::{icmpv6, ipv4, ipv6};

/// Source, destination and what is inside, from the IP header on.
pub(super) fn describe(packet: &[u8]) -> String {
    if let Ok((header, payload)) = ipv4::parse(packet) {
        let ends = format!(
            "IPv4 {} > {}, TTL {}",
            Ipv4Addr::from(header.source.get()),
            Ipv4Addr::from(header.destination.get()),
            header.ttl
        );
        return match header.protocol {
            ipv4::IPV6 => format!("{ends}, carries {}", describe(payload)),
            other => format!("{ends}, protocol {other}"),
        };
    }
    let Ok((header, payload)) = ipv6::parse(packet) else {
        return format!("{} bytes that are no IP packet", packet.len());
    };
    let ends = format!(
        "IPv6 {} > {}, hop limit {}",
        Ipv6Addr::from(header.source().octets()),
        Ipv6Addr::from(header.destination().octets()),
        header.hop_limit
    );
    match header.next_header {
        ipv6::ICMPV6 => format!("{ends}, {}", icmp(payload)),
        ipv6::TCP => format!("{ends}, TCP"),
        ipv6::UDP => format!("{ends}, UDP"),
        ipv6::NO_NEXT_HEADER => format!("{ends}, nothing"),
        other => format!("{ends}, next header {other}"),
    }
}

fn icmp(message: &[u8]) -> String {
    let Ok((header, _)) = icmpv6::parse(message) else {
        return "ICMPv6".into();
    };
    let name = match header.kind {
        icmpv6::UNREACHABLE => "destination unreachable",
        icmpv6::PACKET_TOO_BIG => "packet too big",
        icmpv6::TIME_EXCEEDED => "time exceeded",
        icmpv6::PARAMETER_PROBLEM => "parameter problem",
        icmpv6::ECHO_REQUEST => "echo request",
        icmpv6::ECHO_REPLY => "echo reply",
        _ => "message",
    };
    format!("ICMPv6 {name} ({}/{})", header.kind, header.code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_described_too() {
        assert_eq!(describe(&[]), "0 bytes that are no IP packet");
        assert_eq!(describe(&[0x45; 7]), "7 bytes that are no IP packet");
    }

    #[test]
    fn an_echo_request_is_recognised() {
        let mut packet = vec![0x60, 0, 0, 0, 0, 8, 58, 64];
        packet.extend("2001:600::1".parse::<Ipv6Addr>().unwrap().octets());
        packet.extend("2002:c001:203::1".parse::<Ipv6Addr>().unwrap().octets());
        packet.extend([128, 0, 0, 0, 0, 1, 0, 1]);
        let text = describe(&packet);
        assert_eq!(text, "IPv6 2001:600::1 > 2002:c001:203::1, hop limit 64, ICMPv6 echo request (128/0)");
    }
}
