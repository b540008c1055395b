//! The machine under a virtual clock.

use super::*;

const IF: u32 = 3;
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 2];

fn key(text: &str) -> Key {
    Key { ifindex: IF, address: text.parse().unwrap() }
}

fn said(text: &str, state: u16, mac: Option<[u8; 6]>) -> Neighbour {
    Neighbour { ifindex: IF, address: text.parse().unwrap(), state, mac, managed_for_us: false }
}

fn machine() -> Neighbours {
    let mut machine = Neighbours::new(1024, 1000);
    let links =
        ["9.254.253.0/24", "2001:600::/64"].map(|net| OnLink { ifindex: IF, net: net.parse().unwrap() });
    machine.set_topology(0, &BTreeSet::from([key("9.254.253.1")]), &links);
    machine
}

fn requests(machine: &mut Neighbours) -> Vec<(Ask, Key)> {
    std::iter::from_fn(|| machine.next_request()).collect()
}

#[test]
fn gateways_are_managed_from_the_start_and_hosts_are_not_asked_for() {
    let mut machine = machine();
    assert_eq!(requests(&mut machine), [(Ask::Managed, key("9.254.253.1"))]);
    machine.heard(1, &said("9.254.253.1", uapi::NUD_REACHABLE, Some(MAC)));
    assert_eq!(machine.take_changes(), [Change::Up(key("9.254.253.1"), MAC)]);
    assert_eq!(machine.mac(key("9.254.253.1")), Some(MAC));
}

#[test]
fn what_an_earlier_control_had_managed_is_let_go_unless_it_is_a_gateway() {
    let mut machine = machine();
    machine.heard(1, &said("2001:600::1", uapi::NUD_REACHABLE, Some(MAC)));
    requests(&mut machine);
    machine.inherit(["9.254.253.1", "2001:600::1", "9.254.253.9"].map(key).into_iter());
    assert_eq!(requests(&mut machine), [(Ask::Use, key("2001:600::1")), (Ask::Forget, key("9.254.253.9"))]);
}

#[test]
fn every_kernel_state_is_usable_or_not_as_designed() {
    for state in [uapi::NUD_REACHABLE, uapi::NUD_STALE, uapi::NUD_DELAY, uapi::NUD_PROBE, uapi::NUD_PERMANENT]
    {
        let mut machine = machine();
        machine.heard(1, &said("2001:600::1", state, Some(MAC)));
        assert_eq!(machine.take_changes(), [Change::Up(key("2001:600::1"), MAC)], "{state:#x}");
        machine.heard(2, &said("2001:600::1", uapi::NUD_FAILED, Some(MAC)));
        // A FAILED entry may still carry its old address.
        assert_eq!(machine.take_changes(), [Change::Down(key("2001:600::1"))], "{state:#x}");
    }
    for state in [0, 1, uapi::NUD_FAILED, uapi::NUD_NOARP] {
        let mut machine = machine();
        machine.heard(1, &said("2001:600::1", state, None));
        assert!(machine.take_changes().is_empty(), "{state:#x}");
    }
}

#[test]
fn a_lost_gateway_goes_down_at_once_and_is_asked_for_with_growing_pauses() {
    let mut machine = machine();
    let gateway = key("9.254.253.1");
    machine.heard(1, &said("9.254.253.1", uapi::NUD_REACHABLE, Some(MAC)));
    requests(&mut machine);
    machine.take_changes();
    machine.gone(2, gateway);
    assert!(requests(&mut machine).is_empty(), "asked for a moment ago");
    assert_eq!(machine.take_changes(), [Change::Down(gateway), Change::Lost(gateway)]);
    let mut asked = Vec::new();
    for second in 1..=40 {
        machine.tick(second * SECOND_NS, |_| 0);
        asked.extend(requests(&mut machine).iter().map(|(ask, _)| (*ask, second)));
    }
    assert!(asked.iter().all(|(ask, _)| *ask == Ask::Managed));
    let seconds: Vec<u64> = asked.iter().map(|(_, second)| *second).collect();
    assert_eq!(seconds, [2, 4, 8, 16, 32]);
    machine.heard(41 * SECOND_NS, &said("9.254.253.1", uapi::NUD_REACHABLE, Some(OTHER)));
    assert_eq!(machine.take_changes(), [Change::Up(gateway, OTHER)]);
}

#[test]
fn a_gateway_that_is_deleted_after_a_while_is_asked_for_at_once() {
    let mut machine = machine();
    machine.heard(1, &said("9.254.253.1", uapi::NUD_REACHABLE, Some(MAC)));
    requests(&mut machine);
    machine.gone(30 * SECOND_NS, key("9.254.253.1"));
    assert_eq!(requests(&mut machine), [(Ask::Managed, key("9.254.253.1"))]);
}

#[test]
fn a_new_mac_is_a_change_and_a_new_state_alone_is_none() {
    let mut machine = machine();
    machine.heard(1, &said("2001:600::1", uapi::NUD_REACHABLE, Some(MAC)));
    machine.take_changes();
    machine.heard(2, &said("2001:600::1", uapi::NUD_STALE, Some(MAC)));
    assert!(machine.take_changes().is_empty());
    machine.heard(3, &said("2001:600::1", uapi::NUD_STALE, Some(OTHER)));
    assert_eq!(machine.take_changes(), [Change::Up(key("2001:600::1"), OTHER)]);
}

#[test]
fn a_wanted_host_is_asked_for_once_and_confirmed_only_while_packets_flow() {
    let mut machine = machine();
    requests(&mut machine);
    let host = key("2001:600::1");
    assert_eq!(machine.wanted(SECOND_NS, host), Ok(()));
    assert_eq!(machine.wanted(SECOND_NS + 1, host), Err(Refusal::Known));
    assert_eq!(requests(&mut machine), [(Ask::Use, host)]);
    machine.heard(2 * SECOND_NS, &said("2001:600::1", uapi::NUD_REACHABLE, Some(MAC)));
    let mut asked = Vec::new();
    for second in 3..=100 {
        // Packets flow until second 50.
        machine.tick(second * SECOND_NS, |_| second.min(50));
        asked.extend(requests(&mut machine).iter().filter(|(_, key)| *key == host).map(|_| second));
    }
    assert_eq!(asked, [22, 42, 62]);
}

#[test]
fn permanent_neighbours_are_never_asked_for() {
    let mut machine = Neighbours::new(1024, 1000);
    let links = [OnLink { ifindex: IF, net: "9.254.253.0/24".parse().unwrap() }];
    machine.set_topology(0, &BTreeSet::new(), &links);
    machine.heard_all(1, &[said("9.254.253.1", uapi::NUD_PERMANENT, Some(MAC))]);
    machine.set_topology(2, &BTreeSet::from([key("9.254.253.1")]), &links);
    for second in 1..100 {
        machine.tick(second * SECOND_NS, |_| second);
    }
    assert!(requests(&mut machine).is_empty());
    machine.heard(3, &said("9.254.253.1", uapi::NUD_STALE, Some(MAC)));
    assert_eq!(requests(&mut machine), [(Ask::Managed, key("9.254.253.1"))]);
}

#[test]
fn what_the_data_plane_wants_must_be_a_host_of_a_link() {
    let mut machine = machine();
    let foreign = Key { ifindex: IF + 1, address: "2001:600::1".parse().unwrap() };
    for bad in [
        key("9.254.252.1"),
        key("9.254.253.0"),
        key("9.254.253.255"),
        key("2001:600::"),
        key("ff02::1"),
        foreign,
    ] {
        assert_eq!(machine.wanted(SECOND_NS, bad), Err(Refusal::NotOnLink), "{bad:?}");
    }
    assert_eq!(machine.refused(), 6);
}

#[test]
fn a_scan_is_held_to_the_budget_and_leaves_nothing_behind() {
    let mut machine = machine();
    requests(&mut machine);
    let (mut asked, mut forgotten) = (0_usize, 0_usize);
    let mut unanswered_most = 0;
    for step in 0..10_000_u64 {
        let now = SECOND_NS + step * SECOND_NS / 1000;
        let address = std::net::Ipv6Addr::from(0x2001_0600_u128 << 96 | u128::from(step + 1));
        let _ = machine.wanted(now, Key { ifindex: IF, address: address.into() });
        if step % 1000 == 0 {
            machine.tick(now, |_| 0);
        }
        for (ask, _) in requests(&mut machine).iter().filter(|(_, key)| key.address != key_gateway()) {
            match ask {
                Ask::Use => asked += 1,
                Ask::Forget => forgotten += 1,
                Ask::Managed => panic!("a host is not managed"),
            }
        }
        unanswered_most = unanswered_most.max(machine.unanswered.len());
    }
    assert!((100..=128).contains(&unanswered_most), "half of a quarter of 1024: {unanswered_most}");
    assert!(asked <= 128 + 64 * 10 + 1, "{asked}");
    for second in 12..20 {
        machine.tick(second * SECOND_NS, |_| 0);
        forgotten += requests(&mut machine).iter().filter(|(ask, _)| *ask == Ask::Forget).count();
    }
    assert_eq!(asked, forgotten);
    assert!(machine.unanswered.is_empty());
    assert_eq!(machine.shown().count(), 1, "the gateway alone");
}

/// D5: whoever scans some prefixes leaves room for the hosts of the others.
#[test]
fn scans_leave_room_for_other_prefixes() {
    for scanned in 1..=6_u128 {
        let mut machine = Neighbours::new(1024, 1000);
        let net = |n: u128| std::net::Ipv6Addr::from(0x2001_0600_u128 << 96 | n << 64);
        let links: Vec<OnLink> =
            (0..7).map(|n| OnLink { ifindex: IF, net: IpNet::new(net(n).into(), 64).unwrap() }).collect();
        machine.set_topology(0, &BTreeSet::new(), &links);
        let host = |n: u128, host: u128| Key {
            ifindex: IF,
            address: std::net::Ipv6Addr::from(u128::from(net(n)) + host).into(),
        };
        let mut refused = 0;
        for step in 1..=3000_u128 {
            let now = SECOND_NS + u64::try_from(step).unwrap() * SECOND_NS / 1000;
            for n in 0..scanned {
                refused += u32::from(machine.wanted(now, host(n, step)).is_err());
            }
            assert!(machine.unanswered.len() <= 256, "a quarter of 1024");
        }
        assert!(refused > 2000, "the budget was used up: {refused}");
        for honest in 1..=10 {
            assert_eq!(machine.wanted(5 * SECOND_NS, host(6, honest)), Ok(()), "{scanned} scanned");
        }
    }
}

fn key_gateway() -> IpAddr {
    key("9.254.253.1").address
}

#[test]
fn a_full_kernel_table_pauses_hosts_and_not_gateways() {
    let mut machine = machine();
    requests(&mut machine);
    let host = key("2001:600::1");
    machine.wanted(SECOND_NS, host).unwrap();
    machine.kernel_full(SECOND_NS, host);
    assert_eq!(machine.wanted(SECOND_NS + 1, host), Err(Refusal::Budget));
    assert_eq!(machine.wanted(3 * SECOND_NS, key("9.254.253.1")), Ok(()));
    assert_eq!(machine.wanted(3 * SECOND_NS, host), Ok(()));
}

#[test]
fn reading_everything_again_drops_what_is_no_longer_there() {
    let mut machine = machine();
    machine.heard(1, &said("9.254.253.1", uapi::NUD_REACHABLE, Some(MAC)));
    machine.heard(1, &said("2001:600::1", uapi::NUD_REACHABLE, Some(MAC)));
    machine.take_changes();
    machine.heard_all(2, &[said("9.254.253.1", uapi::NUD_REACHABLE, Some(OTHER))]);
    assert_eq!(
        machine.take_changes(),
        [Change::Down(key("2001:600::1")), Change::Up(key("9.254.253.1"), OTHER)]
    );
}

#[test]
fn link_local_gateways_work_and_link_local_hosts_are_not_followed() {
    let mut machine = machine();
    machine.heard(1, &said("fe80::9", uapi::NUD_REACHABLE, Some(MAC)));
    assert!(machine.take_changes().is_empty());
    machine.set_topology(2, &BTreeSet::from([key("fe80::9")]), &[]);
    machine.heard(3, &said("fe80::9", uapi::NUD_REACHABLE, Some(MAC)));
    assert_eq!(machine.take_changes(), [Change::Up(key("fe80::9"), MAC)]);
}

#[test]
fn a_gateway_that_no_route_needs_is_let_go() {
    let mut machine = machine();
    let links =
        ["9.254.253.0/24", "2001:600::/64"].map(|net| OnLink { ifindex: IF, net: net.parse().unwrap() });
    let (host, far) = (key("9.254.253.1"), key("fe80::9"));
    requests(&mut machine);
    machine.heard(1, &said("9.254.253.1", uapi::NUD_REACHABLE, Some(MAC)));
    machine.set_topology(2, &BTreeSet::from([far]), &links);
    machine.heard(3, &said("fe80::9", uapi::NUD_REACHABLE, Some(OTHER)));
    // One on the link stays known, and asking for it as a host ends the management.
    assert_eq!(requests(&mut machine), [(Ask::Managed, far), (Ask::Use, host)]);
    assert_eq!(machine.mac(host), Some(MAC));
    machine.take_changes();
    machine.set_topology(4, &BTreeSet::new(), &links);
    assert_eq!(requests(&mut machine), [(Ask::Forget, far)]);
    assert_eq!(machine.take_changes(), [Change::Down(far)]);
    // Hosts of a link that is no link any more are not ours to know; the kernel keeps them.
    machine.set_topology(5, &BTreeSet::new(), &links[1..]);
    assert_eq!((requests(&mut machine), machine.take_changes()), (vec![], vec![Change::Down(host)]));
}

#[test]
fn a_gateway_is_lost_when_the_kernel_gives_it_up_and_found_when_it_answers() {
    let mut machine = machine();
    let gateway = key("9.254.253.1");
    machine.heard(1, &said("9.254.253.1", 1, None));
    assert!(machine.lost().is_empty(), "not yet");
    machine.heard(2, &said("9.254.253.1", uapi::NUD_FAILED, None));
    machine.heard(3, &said("9.254.253.1", 1, None));
    assert_eq!(machine.take_changes(), [Change::Lost(gateway)]);
    assert_eq!(machine.lost(), &BTreeSet::from([gateway]), "to ask again is no answer");
    machine.heard(4, &said("9.254.253.1", uapi::NUD_REACHABLE, Some(MAC)));
    assert_eq!(machine.take_changes(), [Change::Up(gateway, MAC)]);
    assert!(machine.lost().is_empty());
}
