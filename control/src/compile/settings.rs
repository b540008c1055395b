//! The settings record: what the data plane must know besides routes.

use std::net::{IpAddr, Ipv6Addr};

use sixlane_tables::{PortSettings, Settings};
use sixlane_tunnel::field_copy;
use sixlane_tunnel::sixinfour::{self, RelayParams};

use super::routes::SIXTOFOUR_PREFIX;
use super::{Input, ports};
use crate::alarms::Alarm;
use crate::config::checked::{Deliver, Df, Dscp, Ecn, Forward, SixToFour};

pub(super) fn settings(input: Input<'_>, router: Ipv6Addr) -> Settings {
    let config = input.config;
    let mut settings = Settings {
        hash_key: input.hash_key,
        router_ipv6: router.octets(),
        lab: u32::from(input.lab()),
        errors_per_second: config.icmp.errors_per_second,
        errors_burst: config.icmp.errors_burst,
        ptb_per_second: config.icmp.packet_too_big_per_second,
        ptb_burst: config.icmp.packet_too_big_burst,
        worker_count: u32::from(input.plan.workers.max(1)),
        port_count: u32::try_from(input.plan.ports.len()).unwrap_or(0),
        door: u32::from(input.plan.door),
        ..Settings::default()
    };
    if router.is_unspecified() {
        // Better no errors than errors from nobody.
        (settings.errors_per_second, settings.errors_burst) = (0, 0);
        (settings.ptb_per_second, settings.ptb_burst) = (0, 0);
    }
    if let Some(section) = &config.sixtofour {
        settings.sixtofour_enabled = 1;
        settings.sixtofour = relay_params(section);
    }
    for port in &input.plan.ports {
        let Some(slot) = settings.ports.get_mut(usize::from(port.index)) else { continue };
        let link = ports::link(input, port);
        let mtu_max = ports::mtu_max(input, port);
        let all = config
            .ports
            .get(usize::from(port.index))
            .is_some_and(|configured| configured.forward == Forward::All);
        *slot = PortSettings {
            // Of an interface that has gone nothing is too big: it is dropped at the port.
            mtu: link.map_or(mtu_max, |link| link.mtu.min(mtu_max)),
            ifindex: ports::number(input, port).unwrap_or(0),
            flags: if all { PortSettings::FORWARD_ALL } else { 0 },
            mac: link.map_or([0; 6], |link| link.mac),
            vlan: ports::vlan(input, port).unwrap_or(0),
            device: port.ifindex,
        };
    }
    settings
}

fn relay_params(section: &SixToFour) -> RelayParams {
    let wrap = &section.encapsulation;
    RelayParams {
        address: section.address.map_or(0, u32::from),
        mtu: wrap.mtu,
        ttl: wrap.ttl,
        df: match wrap.df {
            Df::Rfc => sixinfour::DF_RFC,
            Df::Always => sixinfour::DF_ALWAYS,
        },
        dscp: match wrap.dscp {
            Dscp::Zero => 0,
            Dscp::Copy => field_copy::DSCP_COPY,
            Dscp::Fixed(code_point) => code_point,
        },
        ecn: match wrap.ecn {
            Ecn::Normal => field_copy::ECN_NORMAL,
            Ecn::Compatibility => field_copy::ECN_COMPATIBILITY,
        },
        deliver: match wrap.deliver {
            Deliver::Icmp => sixinfour::DELIVER_ICMP,
            Deliver::All => sixinfour::DELIVER_ALL,
        },
        reserved: [0; 3],
    }
}

/// Source of ICMPv6 errors: as configured, else by SAS-02 (RFC 6724) for native destinations: a global
/// address of a port that is not deprecated, native before 6to4, the first of those.
pub(super) fn router_address(
    input: Input<'_>,
    alarms: &mut Vec<(Alarm, String)>,
) -> Result<Ipv6Addr, String> {
    if let Some(address) = input.config.router.ipv6_address {
        if !input.kernel.has_address(IpAddr::V6(address)) {
            alarms.push((
                Alarm::RouterAddress,
                format!(
                    "router.ipv6_address = \"{address}\" is not on an interface of this box, so answers to our \
                     ICMPv6 errors go astray: add it to a port or name another address"
                ),
            ));
        }
        return Ok(address);
    }
    let interfaces = ports::interfaces(input);
    let is_port = |ifindex| interfaces.contains_key(&ifindex);
    let mut candidates: Vec<_> = input
        .kernel
        .addresses
        .iter()
        .filter_map(|own| match own.address {
            IpAddr::V6(address) if own.scope == 0 && !address.is_loopback() => Some((own, address)),
            _ => None,
        })
        .collect();
    // A stable sort: of equals the kernel's order decides.
    candidates.sort_by_key(|(own, address)| {
        (own.deprecated, SIXTOFOUR_PREFIX.contains(address), !is_port(own.ifindex))
    });
    candidates.first().map(|(_, address)| *address).ok_or_else(|| {
        "no interface has a global IPv6 address, and ICMPv6 errors need a source: add one to a port, or set \
         router.ipv6_address"
            .to_owned()
    })
}
