//! Protocol 41 in and out, by the golden packets and by each check's failure.

extern crate std;

use super::*;
use crate::field_copy::{DSCP_COPY, ECN_COMPATIBILITY, ECN_NORMAL};
use crate::guard::ANYCAST_RELAY;
use crate::testing::{RELAY, SITE, TestClasses, correct, golden, packet4, packet6, v4, v6};
use proptest::prelude::*;
use std::{vec, vec::Vec};
use zerocopy::IntoBytes;

/// No source is ours.
const NOBODY: Address = Address { hi: 0, lo: 0 };

fn params() -> RelayParams {
    RelayParams {
        address: RELAY,
        mtu: 1280,
        ttl: 64,
        df: DF_RFC,
        dscp: 0,
        ecn: ECN_COMPATIBILITY,
        ..RelayParams::default()
    }
}

fn judge(packet: &[u8]) -> Result<Decapped, Reason> {
    decap(packet, &params(), &TestClasses::relay())
}

/// A sound packet from the golden site, to be spoilt.
fn inner() -> Vec<u8> {
    packet6(v6("2002:c001:203:1::a"), v6("2001:600::1"), ipv6::UDP, &[0xa5; 24])
}

fn spoilt(edit: impl FnOnce(&mut ipv4::Header)) -> Result<Decapped, Reason> {
    judge(&packet4(SITE, RELAY, &inner(), edit))
}

#[test]
fn golden_packets_that_leave_the_tunnel() {
    let expected = Decapped {
        inner_offset: 20,
        inner_len: 64,
        traffic_class: 0,
        remark: false,
        hop_limit: 64,
        destination: v6("2001:600::1"),
    };
    assert_eq!(judge(&golden("G01")), Ok(expected));
    // G07: six octets of padding inside the total length are not part of the inner packet.
    assert_eq!(judge(&golden("G07")), Ok(expected));
    assert_eq!(judge(&golden("G34")), Ok(Decapped { traffic_class: 3, remark: true, ..expected }));
}

#[test]
fn golden_packets_that_are_refused() {
    for (id, reason) in [
        ("G35", Reason::EcnNotEctCe),
        ("G60", Reason::IcmpQuoteUntrusted),
        ("X01", Reason::Sixto4SrcMismatch),
        ("X02", Reason::V4SrcBogon),
        ("X05", Reason::Sixto4To6to4ViaRelay),
        ("X07", Reason::V6LinklocalOn6to4),
        ("X08", Reason::V6NativeNative),
        ("X09", Reason::InnerLength),
        ("X10", Reason::InnerVersion),
        ("X15", Reason::LoopLocalV4InDst),
        ("X22", Reason::RoutingHeaderType0),
    ] {
        assert_eq!(judge(&golden(id)), Err(reason), "{id}");
    }
}

#[test]
fn golden_packets_from_a_port() {
    let classes = TestClasses::relay();
    let enter = |packet: &[u8]| {
        check_native(packet, NOBODY, &classes).and_then(|native| encap_checks(&native, &classes))
    };
    assert_eq!(enter(&golden("G03")), Ok(SITE));
    for (id, reason) in [
        ("X03", Reason::V4EmbeddedBogon),
        ("X04", Reason::Sixto4NativeSrc6to4),
        ("X06", Reason::V4LocalAddress),
        ("X16", Reason::LoopLocalV4InSrc),
    ] {
        assert_eq!(enter(&golden(id)), Err(reason), "{id}");
    }
}

/// G04: the template makes exactly the golden outer header.
#[test]
fn the_golden_outer_header() {
    let header = OuterTemplate::new(&params()).outer_header(SITE, 64, 0x1234, 0);
    assert_eq!(header, golden("G04")[..20]);
    // G32, G33: uniform DSCP with ECN in normal and compatibility mode.
    for (id, ecn) in [("G32", ECN_NORMAL), ("G33", ECN_COMPATIBILITY)] {
        let template = OuterTemplate::new(&RelayParams { dscp: DSCP_COPY, ecn, ..params() });
        assert_eq!(template.outer_header(v4("8.0.0.1"), 64, 0x1234, 0xb9), golden(id)[..20], "{id}");
    }
}

#[test]
fn the_outer_header_can_be_wrong_in_many_ways() {
    let sound = packet4(SITE, RELAY, &inner(), |_| {});
    assert!(judge(&sound).is_ok());
    for len in 0..sound.len() {
        assert_eq!(judge(&sound[..len]), Err(Reason::OuterHeader), "{len} bytes");
    }
    for at in 0..20 {
        let mut packet = sound.clone();
        packet[at] ^= 0x10;
        assert_eq!(judge(&packet), Err(Reason::OuterHeader), "byte {at}");
    }
    assert_eq!(spoilt(|header| header.version_ihl = 0x44), Err(Reason::OuterHeader));
}

/// The checks in their order (CHK-00): each packet fails the check of its row and all below it.
#[test]
fn the_first_failing_check_names_the_reason() {
    assert_eq!(
        spoilt(|header| header.fragment = ipv4::MORE_FRAGMENTS.into()),
        Err(Reason::OuterFragDisabled)
    );
    assert_eq!(spoilt(|header| header.fragment = 1.into()), Err(Reason::OuterFragDisabled));
    assert!(spoilt(|header| header.fragment = ipv4::DONT_FRAGMENT.into()).is_ok());
    assert_eq!(spoilt(|header| header.destination = v4("9.254.253.251").into()), Err(Reason::NotForUs));
    assert_eq!(spoilt(|header| header.destination = ANYCAST_RELAY.into()), Err(Reason::NotForUs));
    assert_eq!(spoilt(|header| header.source = RELAY.into()), Err(Reason::OwnSource));
    assert_eq!(spoilt(|header| header.protocol = 47), Err(Reason::NoTunnel));
    assert_eq!(spoilt(|header| header.source = 0x0a00_0001.into()), Err(Reason::V4SrcBogon));

    let fragment_elsewhere = |header: &mut ipv4::Header| {
        header.fragment = 1.into();
        header.destination = 1.into();
        header.source = 0.into();
    };
    assert_eq!(spoilt(fragment_elsewhere), Err(Reason::OuterFragDisabled));
    let elsewhere = |header: &mut ipv4::Header| {
        header.destination = 1.into();
        header.source = 0.into();
    };
    assert_eq!(spoilt(elsewhere), Err(Reason::NotForUs));

    let mut carried = inner();
    carried[0] = 0x45;
    carried[4] = 0xff;
    assert_eq!(judge(&packet4(SITE, RELAY, &carried, |_| {})), Err(Reason::InnerVersion));
    carried[0] = 0x60;
    carried[8..24].fill(0);
    assert_eq!(judge(&packet4(SITE, RELAY, &carried, |_| {})), Err(Reason::InnerLength));
    carried[4] = 0;
    assert_eq!(judge(&packet4(SITE, RELAY, &carried, |_| {})), Err(Reason::V6SrcBogon));
    carried[22] = 0xfe;
    assert_eq!(judge(&packet4(SITE, RELAY, &[], |_| {})), Err(Reason::InnerLength));
}

#[test]
fn options_are_skipped_and_source_routes_refused() {
    let with_options = |options: &[u8]| {
        let mut packet = packet4(SITE, RELAY, &[options, &inner()].concat(), |_| {});
        packet[0] = 0x40 | (5 + options.len() / 4) as u8;
        correct(&mut packet);
        judge(&packet)
    };
    let passed = with_options(&[148, 4, 0, 0]).unwrap();
    assert_eq!((passed.inner_offset, passed.inner_len), (24, 64));
    assert_eq!(with_options(&[1; 40]).unwrap().inner_offset, 60);
    assert_eq!(with_options(&[131, 7, 4, 8, 8, 8, 8, 0]), Err(Reason::OuterOptions));
    assert_eq!(with_options(&[1, 137, 3, 4]), Err(Reason::OuterOptions));
    assert_eq!(with_options(&[148, 0, 0, 0]), Err(Reason::OuterOptions));
}

#[test]
fn jumbograms_and_empty_packets() {
    let (source, destination) = (v6("2002:c001:203::1"), v6("2001:600::1"));
    let carry = |packet: &[u8]| judge(&packet4(SITE, RELAY, packet, |_| {}));
    let mut jumbo = packet6(source, destination, ipv6::HOP_BY_HOP, &[ipv6::UDP, 0, 0xc2, 4, 0, 1, 0, 0]);
    jumbo[4..6].fill(0);
    assert_eq!(carry(&jumbo), Err(Reason::InnerLength));
    assert_eq!(carry(&packet6(source, destination, ipv6::NO_NEXT_HEADER, &[])).unwrap().inner_len, 40);
    let classes = TestClasses::relay();
    jumbo[8] = 0x20;
    assert_eq!(check_native(&jumbo, NOBODY, &classes), Err(Reason::V6Length));
}

#[test]
fn packets_from_a_port_are_checked_for_shape() {
    let classes = TestClasses::relay();
    let sound = packet6(v6("2001:600::1"), v6("2002:c001:203::1"), ipv6::UDP, &[7; 9]);
    let padded = [&sound[..], &[0xee; 11]].concat();
    let native = check_native(&padded, NOBODY, &classes).unwrap();
    assert_eq!((native.len, native.hop_limit, native.traffic_class), (49, 64, 0));
    for len in 0..sound.len() {
        assert_eq!(check_native(&sound[..len], NOBODY, &classes), Err(Reason::V6Length), "{len} bytes");
    }
    let mut other = sound.clone();
    other[0] = 0x45;
    assert_eq!(check_native(&other, NOBODY, &classes), Err(Reason::V6Version));
    let solicitation = packet6(v6("2001:600::1"), v6("2001:600::2"), ipv6::ICMPV6, &[135, 0, 0, 0]);
    assert_eq!(check_native(&solicitation, NOBODY, &classes), Err(Reason::NdTransit));
    // CHK-00: addresses before the header chain.
    assert_eq!(check_native(&solicitation, v6("2001:600::1"), &classes), Err(Reason::OwnSource));
}

#[test]
fn df_is_clear_by_the_rfc() {
    let flags = |df| {
        let header = OuterTemplate::new(&RelayParams { df, ..params() }).outer_header(SITE, 64, 1, 0);
        u16::from_be_bytes([header[6], header[7]])
    };
    assert_eq!(flags(DF_RFC), 0);
    assert_eq!(flags(DF_ALWAYS), ipv4::DONT_FRAGMENT);
}

proptest! {
    #[test]
    fn every_outer_header_is_correct(
        fields: (u32, u8, u8, u8, u8), destination: u32, inner_len in 40_u16..=65_515, id: u16, traffic_class: u8,
    ) {
        let (address, ttl, df, dscp, ecn) = fields;
        let relay = RelayParams { address, mtu: 1280, ttl, df, dscp: dscp & 63, ecn, ..RelayParams::default() };
        let bytes = OuterTemplate::new(&relay).outer_header(destination, inner_len, id, traffic_class);
        let packet = [&bytes[..], &vec![0; usize::from(inner_len)]].concat();
        let (header, payload) = ipv4::parse(&packet).unwrap();
        prop_assert!(ipv4::checksum_is_correct(&packet, header));
        prop_assert_eq!(payload.len(), usize::from(inner_len));
        prop_assert_eq!((header.version_ihl, header.ttl, header.protocol), (0x45, ttl, ipv4::IPV6));
        prop_assert_eq!((header.source.get(), header.destination.get()), (address, destination));
        prop_assert_eq!(header.id.get(), id);
        prop_assert!(!header.is_fragment());
        prop_assert_eq!(header.tos >> 2, dscp & 63);
    }

    #[test]
    fn decap_of_encap(payload in proptest::collection::vec(any::<u8>(), 0..64), class: u8, host: u64, padding in 0_usize..8) {
        // The far end's relay: what it encapsulates, ours takes.
        let far = RelayParams { address: SITE, dscp: DSCP_COPY, ecn: ECN_NORMAL, ..params() };
        let source = Address { hi: v6("2002:c001:203::").hi, lo: host };
        let mut inner = packet6(source, v6("2400::1"), ipv6::UDP, &payload);
        inner[0] |= class >> 4;
        inner[1] = class << 4;
        let outer = OuterTemplate::new(&far).outer_header(RELAY, inner.len() as u16, 7, class);
        let packet = [&outer[..], &inner, &vec![0xee; padding]].concat();
        let decapped = judge(&packet).unwrap();
        prop_assert_eq!(&packet[decapped.inner_offset..][..decapped.inner_len], &inner[..]);
        prop_assert_eq!((decapped.traffic_class, decapped.remark), (class, false));
    }

    #[test]
    fn params_are_any_bytes(bytes: [u8; 16]) {
        let relay = RelayParams::read_from_bytes(&bytes).unwrap();
        prop_assert_eq!(relay.as_bytes(), &bytes);
        let header = OuterTemplate::new(&relay).outer_header(SITE, 64, 1, 0);
        prop_assert_eq!(header[0], 0x45);
    }
}

/// A cheap generator for the long runs: xorshift (Marsaglia 2003), seeded.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Two million golden packets with a few bytes changed and the end cut: whatever comes out lies inside
/// what went in. (The run of 10⁸ goes through the whole worker.)
#[test]
fn spoilt_golden_packets_never_panic() {
    let ids = ["G01", "G03", "G34", "G60", "X02", "X05", "X07", "X09", "X10", "X15", "X16", "X22"];
    let packets = ids.map(golden);
    let classes = TestClasses::relay();
    let mut noise = Noise(0x51c5_1a4e);
    let mut passed = 0;
    for round in 0..2_000_000 {
        let mut packet = packets[round % packets.len()].clone();
        for _ in 0..noise.next() % 3 {
            let at = noise.next() as usize % packet.len().min(72);
            packet[at] = noise.next() as u8;
        }
        if noise.next().is_multiple_of(4) {
            packet.truncate(noise.next() as usize % (packet.len() + 1));
        }
        if packet.len() >= 20 && packet[0] == 0x45 {
            correct(&mut packet);
        }
        if let Ok(decapped) = judge(&packet) {
            assert!(decapped.inner_offset + decapped.inner_len <= packet.len());
            passed += 1;
        }
        if let Ok(native) = check_native(&packet, NOBODY, &classes) {
            assert!(native.len <= packet.len());
            passed += usize::from(encap_checks(&native, &classes).is_ok());
        }
    }
    assert!(passed > 100_000, "only {passed} passed: the generator is too coarse");
}
