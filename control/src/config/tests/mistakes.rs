//! What each mistake is told: the cause and the remedy, with file and line.

use super::{RELAY, bad, refused};

#[test]
fn an_unknown_key_names_file_line_key_and_the_nearest() {
    let cases = [
        (3, "[dataplane]\nwrokers = 2\n", "`wrokers`", "did you mean `workers`?"),
        (2, "[datplane]\n", "`datplane`", "did you mean `dataplane`?"),
        (2, "[[ports]]\nname = \"a\"\n", "`ports`", "did you mean `port`?"),
        (2, "[teredo.rely]\n", "`rely`", "did you mean `relay`?"),
        (3, "[limits]\nroutes = 1\n", "`routes`", "did you mean `routes4`?"),
        (3, "[sixtofour]\nadress = \"8.0.0.1\"\n", "`adress`", "did you mean `address`?"),
        (3, "[icmp]\nparrot = 1\n", "`parrot`", "the keys known here are errors_per_second"),
    ];
    for (line, text, key, remedy) in cases {
        let place = format!("test.toml:{line}: unknown key {key}: ");
        refused(&format!("version = 1\n{text}"), &[&place, remedy]);
    }
}

#[test]
fn the_report_points_at_the_place() {
    let report = bad(&RELAY.replace("name = ", "nmae = ")).to_string();
    for part in [
        "error: unknown key `nmae`",
        "--> test.toml:3:1",
        "3 | nmae = \"wan4\"",
        "^^^^",
        "did you mean `name`?",
        "1 mistake in test.toml",
    ] {
        assert!(report.contains(part), "{part:?} is not in\n{report}");
    }
}

#[test]
fn all_mistakes_are_shown_at_once() {
    let text = "version = 1\n[dataplane]\nmode = \"coppy\"\nrx_ring = 1000\n[[port]]\nname = \"way-too-long-a-name\"\n";
    assert_eq!(bad(text).sentences().len(), 3);
}

#[test]
fn values_are_judged_one_by_one() {
    let cases: &[(&str, &[&str])] = &[
        ("[dataplane]\nmode = \"coppy\"", &["dataplane.mode cannot be \"coppy\"", "\"copy\"?"]),
        ("[dataplane]\nworkers = \"all\"", &["dataplane.workers", "\"auto\""]),
        ("[dataplane]\nworkers = [1, 1]", &["names core 1 twice", "core of its own"]),
        ("[dataplane]\nworkers = []", &["names 0 cores", "1 to 64"]),
        ("[dataplane]\nrx_ring = 1000", &["1000 is not a power of two", "write 1024"]),
        ("[dataplane]\nrx_ring = 65536", &["out of range", "64 to 32768"]),
        ("[dataplane]\nframes = 512", &["fill ring of 2048", "fill_ring"]),
        ("[[port]]\nname = \"wan4\"", &["\"wan4\" is configured twice", "VLAN"]),
        ("[[port]]\nname = \"a/b\"", &["not the name of an interface", "ip link"]),
        ("[[port]]\nname = \"a\"\nvlan = 4095", &["out of range", "1 to 4094"]),
        ("[[port]]\nforward = \"all\"", &["port.name is missing", "add the key"]),
        ("[router]\nipv6_address = \"fe80::1\"", &["is a link-local address", "global address"]),
        ("[router]\nipv6_address = \"ff02::1\"", &["is a multicast address"]),
        ("[router]\nipv6_address = \"::1\"", &["not a unicast address"]),
        ("[router]\nipv6_address = \"2001::g\"", &["is not an IPv6 address", "write it like"]),
        ("[router]\ntables = []", &["follows no table", "\"main\""]),
        ("[router]\ntables = [\"main\", 254]", &["names a table twice"]),
        ("[profile]\nbogons = \"none\"", &["cannot be \"none\"", "\"internet\", \"lab\""]),
        ("[icmp]\nerrors_per_second = 0", &["out of range"]),
        ("[limits]\nroutes4 = -1", &["routes4 = -1 is out of range"]),
        ("[process]\ncontrol_user = \"a b\"", &["not the name of an account"]),
        ("[process]\nstate_directory = \"var\"", &["not an absolute path", "begin it with /"]),
        ("[admin]\ngroup = \"\"", &["not the name of an account"]),
        ("[fpm]\nlisten = \"8.0.0.1:2620\"", &["not a loopback address", "no credentials"]),
        ("[metrics]\nlisten = \"9464\"", &["not an address with a port"]),
        ("[metrics]", &["metrics.listen is missing"]),
        ("[isatap]\naddress = \"172.16.1.1\"\nprefix = \"2001:600::/56\"", &["is not a /64"]),
        (
            "[isatap]\naddress = \"172.16.1.1\"\nprefix = \"2001:600::/64\"\npotential_routers = [\"a_b\"]",
            &["neither"],
        ),
        (
            "[isatap]\naddress = \"224.0.0.1\"\nprefix = \"2001:600::/64\"",
            &["not an address that a tunnel can end at"],
        ),
        ("[teredo.server]\nprimary = \"8.0.0.1\"\nsecondary = \"8.0.0.1\"", &["primary address again"]),
        (
            "[[advertise]]\nport = \"lan0\"\nprefix = \"2001:600::/64\"",
            &["\"lan0\" is not one of the ports", "[[port]]"],
        ),
        ("[[advertise]]\nport = \"wan4\"", &["there is none", "role = \"router\""]),
        (
            "[isatap]\naddress = \"9.254.253.252\"\nprefix = \"2001:600::/64\"",
            &["both use 9.254.253.252", "shared_address = true"],
        ),
    ];
    for (more, parts) in cases {
        refused(&format!("{RELAY}{more}\n"), parts);
    }
}

#[test]
fn the_relay_is_judged() {
    let cases: &[(&str, &str, &[&str])] = &[
        // 6TO4-01
        ("9.254.253.252", "10.0.0.1", &["\"10.0.0.1\" is not a global unicast address", "public address"]),
        ("9.254.253.252", "192.0.2.1", &["documentation", "bogons = \"lab\""]),
        ("9.254.253.252", "192.88.99.1", &["not a global unicast address"]),
        ("9.254.253.252", "auto", &["is for role = \"router\"", "fixed IPv4 address"]),
        ("9.254.253.252", "9.254.253", &["is not an IPv4 address"]),
        ("address =", "mtu = 1000 #", &["sixtofour.address is missing"]),
        ("\"relay\"", "\"rely\"", &["did you mean \"relay\"?"]),
    ];
    for (from, to, parts) in cases {
        let text = RELAY.replace(from, to);
        if text.contains("mtu = 1000") {
            assert_eq!(bad(&text).sentences().len(), 2);
        } else {
            refused(&text, parts);
        }
    }
    let keys: &[(&str, &[&str])] = &[
        ("mtu = 1279", &["out of range", "1280 to 65515"]),
        ("ttl = 0", &["out of range", "1 to 255"]),
        ("ttl = 256", &["out of range"]),
        ("dscp = 64", &["out of range", "0 to 63"]),
        ("dscp = \"af11\"", &["\"zero\", \"copy\""]),
        ("ecn = \"none\"", &["sixtofour.ecn cannot be \"none\""]),
        ("df = true", &["invalid type"]),
        ("allow = []", &["would refuse every packet", "leave the key out"]),
        ("allow = [\"8.0.0.1/8\"]", &["bits set beyond its prefix length", "\"8.0.0.0/8\""]),
        ("source = \"anycast\"", &["needs the anycast service", "anycast = true"]),
        ("relay = \"8.0.0.1\"", &["remove the key"]),
    ];
    for (key, parts) in keys {
        refused(&format!("{RELAY}{key}\n"), parts);
    }
}

#[test]
fn top_level_lists_are_judged() {
    let with = |line: &str| RELAY.replace("version = 1\n", &format!("version = 1\n{line}\n"));
    refused(&with("known_relays = [\"9.254.0.0/16\"]"), &["contains our own address 9.254.253.252"]);
    refused(&with("known_relays = [\"8.0.0.1/24\"]"), &["bits set beyond", "\"8.0.0.0/24\""]);
    refused(&with("aliases = [\"255.255.255.255\"]"), &["not an address that a tunnel can end at"]);
}

#[test]
fn versions_are_judged() {
    refused("", &["does not say its version", "version = 1"]);
    refused("version = 2\n", &["version 2 of the grammar is not known"]);
}

#[test]
fn sixrd_is_judged() {
    let domain = |name: &str, prefix: &str, ipv4: &str| {
        format!(
            "[[sixrd]]\nname = \"{name}\"\nprefix = \"{prefix}\"\nipv4_prefix = \"{ipv4}\"\nbr_address = \"10.0.0.1\"\n"
        )
    };
    let with = |domains: &[String]| format!("{RELAY}{}", domains.concat());
    refused(&with(&[domain("A", "2001:db8::/32", "10.0.0.0/8")]), &["\"A\" is not a name", "a-z"]);
    refused(&with(&[domain("a", "2001:db8::1/32", "10.0.0.0/8")]), &["bits set beyond", "\"2001:db8::/32\""]);
    refused(&with(&[domain("a", "ff00::/8", "10.0.0.0/8")]), &["not a routable unicast prefix"]);
    refused(&with(&[domain("a", "2001:db8::/100", "0.0.0.0/0")]), &["make a prefix of 132 bits"]);
    let one = domain("a", "2001:db8::/32", "10.0.0.0/8");
    refused(&with(&[one.clone(), domain("b", "2001:db8::/32", "11.0.0.0/8")]), &["have one prefix"]);
    refused(&with(&[one, domain("a", "2001:db9::/32", "11.0.0.0/8")]), &["\"a\" is configured twice"]);
}

#[test]
fn configured_tunnels_are_judged() {
    let tunnel = |name: &str, remote: &str| {
        format!("[[sixinfour]]\nname = \"{name}\"\nlocal = \"9.254.253.252\"\nremote = \"{remote}\"\n")
    };
    let with = |tunnels: &[String]| format!("{RELAY}{}", tunnels.concat());
    refused(&with(&[tunnel("a", "127.0.0.1")]), &["is a bogon", "allow_bogon = true"]);
    refused(&with(&[tunnel("a", "224.0.0.1")]), &["is a bogon", "unicast"]);
    refused(&with(&[tunnel("a", "9.254.253.252")]), &["is our own end"]);
    refused(&with(&[tunnel("a", "8.0.0.1"), tunnel("a", "8.0.0.2")]), &["\"a\" is configured twice"]);
    refused(&with(&[tunnel("a", "8.0.0.1"), tunnel("b", "8.0.0.1")]), &["have the same two ends"]);
}
