use super::*;

fn said(address: &str, key: &str) -> String {
    let facts = match address.parse().unwrap() {
        IpAddr::V4(address) => decode4(address),
        IpAddr::V6(address) => decode6(address),
    };
    facts.iter().find(|fact| fact.key == key).map_or_else(|| "absent".into(), |fact| fact.value.clone())
}

#[test]
fn a_6to4_address_gives_its_router() {
    assert_eq!(said("2002:c001:203::1", "kind"), "6to4");
    assert_eq!(said("2002:c001:203::1", "ipv4"), "192.1.2.3");
    assert_eq!(said("2002:c001:203:5::1", "subnet"), "0x0005");
    assert_eq!(said("2002:c001:203:5::1", "site_prefix"), "2002:c001:203::/48");
    assert_eq!(said("2002:a00:1::1", "ipv4_bogon"), "refused inside another address");
}

#[test]
fn a_teredo_address_gives_server_and_mapping() {
    // RFC 4380 §4, with the example of the Microsoft documentation.
    let address = "2001:0:4136:e378:8000:63bf:3fff:fdd2";
    assert_eq!(said(address, "kind"), "Teredo");
    assert_eq!(said(address, "server"), "65.54.227.120");
    assert_eq!(said(address, "flags"), "0x8000");
    assert_eq!(said(address, "mapped_port"), "40000");
    assert_eq!(said(address, "mapped_address"), "192.0.2.45");
    assert_eq!(said(address, "ipv4_bogon"), "refused inside another address");
    assert_eq!(said(address, "identifier"), "absent");
}

#[test]
fn interface_identifiers_are_recognised() {
    assert_eq!(said("fe80::5efe:10.1.0.77", "identifier"), "ISATAP");
    assert_eq!(said("fe80::200:5efe:9.254.253.252", "isatap_ipv4"), "9.254.253.252");
    assert_eq!(said("2001:600::5054:ff:fe12:3456", "mac"), "52:54:00:12:34:56");
    assert_eq!(said("2001:600::", "identifier"), "zero: the subnet-router anycast address");
    assert_eq!(said("2001:600::8d3c:91a2:77fe:10ba", "identifier"), "random or assigned");
}

#[test]
fn the_solicited_node_group_and_its_mac() {
    assert_eq!(said("2001:600::8d3c:91a2:77fe:10ba", "solicited_node_group"), "ff02::1:fffe:10ba");
    assert_eq!(said("2001:600::8d3c:91a2:77fe:10ba", "solicited_node_mac"), "33:33:ff:fe:10:ba");
    assert_eq!(said("ff02::1:2", "solicited_node_group"), "absent");
    assert_eq!(said("ff02::1:2", "mac"), "33:33:00:01:00:02");
    assert_eq!(said("ff05::1:3", "scope"), "site");
}

#[test]
fn bogons_are_named_with_their_rfc() {
    assert!(said("2001:db8::1", "bogon").contains("RFC 3849"));
    assert!(said("2001:db8::1", "bogon").contains("lab"));
    assert_eq!(said("2001:600::1", "bogon"), "accepted");
    assert!(said("10.0.0.1", "as_outer_source").contains("RFC 1918"));
    assert_eq!(said("10.0.0.1", "inside_a_private_domain"), "accepted");
    for key in ["as_outer_source", "inside_6to4_or_teredo", "inside_a_private_domain"] {
        assert_eq!(said("9.254.253.252", key), "accepted");
    }
    assert_eq!(said("9.254.253.252", "sixtofour_prefix"), "2002:9fe:fdfc::/48");
    assert_eq!(said("192.168.0.1", "isatap_identifier"), "::0:5efe:192.168.0.1");
}

#[test]
fn the_kinds_of_one_block_are_told_apart() {
    for (address, kind) in [
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("::9.9.9.9", "IPv4-compatible"),
        ("::ffff:9.9.9.9", "IPv4-mapped"),
    ] {
        assert_eq!(said(address, "kind"), kind);
        assert!(said(address, "bogon").starts_with("refused"), "{address}");
    }
}

#[test]
fn json_has_one_object_with_the_same_facts() {
    let address: Ipv6Addr = "2002:c001:203::1".parse().unwrap();
    let value = as_json(IpAddr::V6(address), &decode6(address));
    assert_eq!(value["v"], 1);
    assert_eq!(value["address"], "2002:c001:203::1");
    assert_eq!(value["ipv4"]["value"], "192.1.2.3");
    assert_eq!(value["kind"]["note"], "RFC 3056 §2");
}

/// The keys are part of the interface: docs/json.md names them all, and no others may appear.
#[test]
fn every_key_is_documented() {
    let document = include_str!("../../../../docs/json.md");
    let section = document.split("\n## `explain`\n").nth(1).unwrap().split("\n## ").next().unwrap();
    for address in [
        "192.1.2.3",
        "10.0.0.1",
        "2002:c001:203:5::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "fe80::5efe:10.1.0.77",
        "2001:600::5054:ff:fe12:3456",
        "ff02::1:ff00:1",
        "::1",
    ] {
        let address: IpAddr = address.parse().unwrap();
        let facts = match address {
            IpAddr::V4(address) => decode4(address),
            IpAddr::V6(address) => decode6(address),
        };
        for key in as_json(address, &facts).as_object().unwrap().keys().filter(|key| *key != "v") {
            assert!(section.contains(&format!("`{key}`")), "{key} of {address}");
        }
    }
}
