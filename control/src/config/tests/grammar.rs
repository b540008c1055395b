//! What is accepted, and what it comes to mean.

use std::net::Ipv4Addr;

use super::super::checked::*;
use super::super::{Unbuilt, refuse_unbuilt};
use super::{RELAY, good};

/// The sketch of the design page, as printed.
const SKETCH: &str = include_str!("sketch.toml");

/// The keys that the sketch names only in its comments; `# common` stands for those of every mechanism.
const COMMENTS: &str = include_str!("comments.toml");

#[test]
fn the_printed_sketch_is_accepted() {
    let checked = good(SKETCH);
    assert_eq!(checked.ports.len(), 2);
    assert_eq!(checked.ports[1].vlan, Some(600));
    assert_eq!(checked.sixrd[0].name, "residential");
    assert_eq!(checked.sixinfour[0].encapsulation.mtu, 1480);
    assert!(checked.sixinfour[0].strict_source, "on when there are routes");
    assert_eq!(checked.metrics.map(|listen| listen.port()), Some(9464));
    assert_eq!(checked.isatap.map(|isatap| isatap.potential_routers.len()), Some(2));
}

#[test]
fn the_keys_in_the_comments_are_accepted() {
    let common = "ttl = 63\ndf = \"always\"\ndscp = \"copy\"\necn = \"normal\"\nmtu = 1400\n\
                  shared_address = false\nallow = [\"8.0.0.0/8\"]\ndeliver = \"all\"\noversize = \"fragment\"\n";
    let text = COMMENTS.replace("# common", common);
    let checked = good(&text);
    assert_eq!(checked.dataplane.workers, Workers::Cores(vec![2, 3, 4]));
    assert_eq!(checked.dataplane.frames, Some(32_768));
    let sixtofour = checked.sixtofour.expect("a section");
    assert_eq!(sixtofour.relay, Some(Ipv4Addr::new(192, 88, 99, 1)));
    let expected = Encapsulation {
        ttl: 63,
        df: Df::Always,
        dscp: Dscp::Copy,
        ecn: Ecn::Normal,
        mtu: 1400,
        shared_address: false,
        allow: Some(vec!["8.0.0.0/8".parse().expect("a prefix")]),
        deliver: Deliver::All,
        oversize: Oversize::Fragment,
    };
    assert_eq!(sixtofour.encapsulation, expected);
    assert_eq!(checked.sixinfour[0].encapsulation, expected);
}

/// Everything is off until configured (RFC 7526 §5).
#[test]
fn an_empty_configuration_turns_nothing_on() {
    let checked = good("version = 1\n");
    assert_eq!(checked.sixtofour, None);
    assert_eq!(checked.teredo_relay, None);
    assert_eq!(checked.teredo_server, None);
    assert_eq!(checked.isatap, None);
    assert!(checked.sixrd.is_empty() && checked.sixinfour.is_empty() && checked.advertise.is_empty());
    assert!(checked.fpm.is_none() && checked.status.is_none() && checked.metrics.is_none());
    assert_eq!(checked.warnings.len(), 1, "it says that there is nothing to do");
}

#[test]
fn the_defaults_are_those_of_the_documents() {
    let checked = good(RELAY);
    assert_eq!(checked.profile.bogons, Bogons::Internet);
    assert_eq!(checked.icmp.errors_per_second, 1000, "6TO4-25");
    assert_eq!(checked.icmp.errors_burst, 100);
    assert_eq!(checked.icmp.packet_too_big_per_second, 1000, "ICMP-12");
    assert_eq!(checked.router.tables, [RoutingTable::Main]);
    assert_eq!(checked.dataplane.stuck_seconds, 1);
    assert_eq!(checked.limits.routes4, 2_000_000);
    assert_eq!(checked.admin.group, "sixlane");
    let sixtofour = checked.sixtofour.expect("a section");
    assert_eq!(sixtofour.encapsulation.mtu, 1280, "TUN-02");
    assert_eq!(sixtofour.encapsulation.ttl, 64, "TUN-09");
    assert_eq!(sixtofour.encapsulation.ecn, Ecn::Compatibility, "ECN-04");
    assert_eq!(sixtofour.encapsulation.dscp, Dscp::Zero, "ECN-08");
    assert_eq!(sixtofour.encapsulation.allow, None, "6TO4-28");
    assert!(!sixtofour.anycast, "6TO4-18");
}

#[test]
fn dscp_takes_words_and_code_points() {
    for (written, meant) in
        [("\"zero\"", Dscp::Zero), ("\"copy\"", Dscp::Copy), ("0", Dscp::Fixed(0)), ("63", Dscp::Fixed(63))]
    {
        let checked = good(&format!("{RELAY}dscp = {written}\n"));
        assert_eq!(checked.sixtofour.map(|it| it.encapsulation.dscp), Some(meant), "{written}");
    }
}

#[test]
fn the_relay_of_this_version_may_run() {
    let text = format!(
        "{RELAY}ttl = 30\ndf = \"always\"\ndscp = 8\necn = \"normal\"\nmtu = 1480\nallow = [\"8.0.0.0/8\"]\n"
    );
    assert_eq!(refuse_unbuilt(&good(&text)), Ok(()));
}

/// 6TO4-11's role, anycast and every other mechanism are refused by name when they should run.
#[test]
fn what_is_not_built_is_refused_by_name() {
    let cases = [
        (
            "[[sixrd]]\nname = \"r\"\nprefix = \"2001:db8::/32\"\nipv4_prefix = \"10.0.0.0/8\"\nbr_address = \"10.0.0.1\"\n",
            "[[sixrd]]",
        ),
        ("[teredo.relay]\naddress = \"8.0.0.1\"\ncookie_prefix = \"2001:600:0:c::/64\"\n", "[teredo.relay]"),
        ("[teredo.server]\nprimary = \"8.0.0.10\"\nsecondary = \"8.0.0.11\"\n", "[teredo.server]"),
        ("[isatap]\naddress = \"172.16.1.1\"\nprefix = \"2001:600:0:15::/64\"\n", "[isatap]"),
        ("[[sixinfour]]\nname = \"c\"\nlocal = \"9.254.253.252\"\nremote = \"8.0.0.1\"\n", "[[sixinfour]]"),
        ("[[advertise]]\nport = \"wan4\"\nprefix = \"2001:600::/64\"\n", "[[advertise]]"),
        ("[status]\nlisten = \"127.0.0.1:80\"\n", "[status]"),
        ("anycast = true\n", "sixtofour.anycast = true"),
        ("oversize = \"drop\"\n", "sixtofour.oversize = \"drop\""),
    ];
    for (more, what) in cases {
        let refused: Unbuilt = refuse_unbuilt(&good(&format!("{RELAY}{more}"))).expect_err(what);
        assert_eq!(refused.what, what);
        assert!(refused.line >= 7, "{refused:?}");
        assert!(refused.to_string().starts_with("test.toml:"), "{refused}");
        assert!(refused.to_string().contains("does not have it yet"), "{refused}");
    }
    let router = RELAY.replace("\"relay\"", "\"router\"");
    let refused = refuse_unbuilt(&good(&router)).expect_err("role router");
    assert_eq!((refused.what.as_str(), refused.line), ("sixtofour.role = \"router\"", 5));
}

#[test]
fn the_lab_profile_permits_documentation_addresses() {
    let text = RELAY.replace("9.254.253.252", "192.0.2.1");
    good(&format!("{text}[profile]\nbogons = \"lab\"\n"));
}

#[test]
fn two_mechanisms_share_an_address_when_both_say_so() {
    let text = format!(
        "{RELAY}shared_address = true\n[isatap]\naddress = \"9.254.253.252\"\nprefix = \"2001:600::/64\"\nshared_address = true\n"
    );
    good(&text);
}

#[test]
fn domains_of_6rd_share_a_border_relay_and_nest_with_a_warning() {
    let domain = |name: &str, prefix: &str| {
        format!(
            "[[sixrd]]\nname = \"{name}\"\nprefix = \"{prefix}\"\nipv4_prefix = \"10.0.0.0/8\"\nbr_address = \"10.0.0.1\"\n"
        )
    };
    let text = format!("{RELAY}{}{}", domain("a", "2001:db8::/32"), domain("b", "2001:db8:8000::/33"));
    let warnings = good(&text).warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("\"b\" lies inside the prefix of \"a\""), "{warnings:?}");
}
