//! An orderly stop leaves nothing behind.

#![allow(clippy::expect_used, clippy::panic, reason = "the helpers of a test may fail it")]

use sixlane_lab::FarEnd;
use sixlane_tests::Running;

#[test]
fn an_orderly_stop_leaves_nothing() {
    let mut lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    let relay = lab.world.host("relay").expect("relay").clone();
    let before = relay.ip("-d link show").expect("links");
    assert!(before.contains("xdp"), "no program was attached: {before}");
    assert!(relay.run("nft list tables").expect("tables").contains("sixlane"), "no fence");

    let neighbours = relay.ip("-d neigh show").expect("neighbours");
    assert!(neighbours.contains("managed"), "no gateway is managed: {neighbours}");
    let status = lab.relay.stop().expect("it stops");
    assert!(status.success(), "{status}; {}", lab.relay.log());
    let links = relay.ip("-d link show").expect("links");
    assert!(!links.contains("xdp"), "a program is still attached: {links}");
    assert!(!links.contains("sixlane"), "a device is left: {links}");
    assert_eq!(relay.run("nft list tables").expect("tables").trim(), "");
    assert_eq!(relay.processes(), Vec::<i32>::new(), "processes are left");
    assert_eq!(relay.ip("route show proto 73").expect("routes").trim(), "");
    let neighbours = relay.ip("-d neigh show").expect("neighbours");
    assert!(!neighbours.contains("managed"), "the kernel still probes for us: {neighbours}");
    let left: Vec<_> = std::fs::read_dir(lab.relay.runtime())
        .map(|entries| entries.flatten().map(|entry| entry.file_name()).collect())
        .unwrap_or_default();
    assert!(!left.iter().any(|name| name == "admin.sock"), "{left:?}");
}
