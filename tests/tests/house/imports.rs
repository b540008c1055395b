//! Who may import whom: one chain from bytes to meaning to tables to processes, and processes that
//! never import each other.

use crate::tree::{metadata, packages, sources};

/// Each crate with all crates of the workspace that it may depend on.
const ALLOWED: &[(&str, &[&str])] = &[
    ("sixlane-wire", &[]),
    ("sixlane-tunnel", &["sixlane-wire"]),
    ("sixlane-tables", &["sixlane-wire", "sixlane-tunnel"]),
    ("sixlane-xsk", &[]),
    ("sixlane-dataplane", &["sixlane-wire", "sixlane-tunnel", "sixlane-tables", "sixlane-xsk"]),
    ("sixlane-control", &["sixlane-wire", "sixlane-tunnel", "sixlane-tables", "sixlane-xsk"]),
    ("sixlane-keeper", &["sixlane-xsk"]),
    ("sixlane-observer", &["sixlane-wire", "sixlane-tunnel", "sixlane-tables"]),
    ("sixlane-client", &["sixlane-wire", "sixlane-tunnel"]),
    ("sixlane-lab", &["sixlane-wire", "sixlane-client"]),
];

/// Crates at the end of the chain: they may import everything but each other.
const ENDS: &[&str] = &["sixlane", "sixlane-benches", "sixlane-tests"];

#[test]
fn imports_follow_the_chain() {
    let metadata = metadata(&["--no-deps"]);
    let mut wrong = Vec::new();
    for package in packages(&metadata) {
        let name = package["name"].as_str().unwrap_or_default();
        let listed = ALLOWED.iter().find(|(known, _)| *known == name);
        assert!(listed.is_some() || ENDS.contains(&name), "{name} has no place in the chain yet");
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let needed = dependency["name"].as_str().unwrap_or_default();
            let ours = needed == "sixlane" || needed.starts_with("sixlane-");
            let allowed = match listed {
                Some((_, allowed)) => allowed.contains(&needed),
                None => !ENDS.contains(&needed),
            };
            if ours && !allowed {
                wrong.push(format!("{name} imports {needed}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// `wire` and `tunnel` know no sockets, clocks, files or globals.
#[test]
fn bytes_and_meaning_have_no_world() {
    for source in sources() {
        let pure = ["dataplane/wire/src/", "dataplane/tunnel/src/"];
        let tests = ["/tests.rs", "/testing.rs", "/tests/"].iter().any(|part| source.path.contains(part));
        if tests || !pure.iter().any(|folder| source.path.starts_with(folder)) {
            continue;
        }
        if source.path.ends_with("/lib.rs") {
            assert!(source.text.contains("#![no_std]"), "{} is no_std", source.path);
            assert!(source.text.contains("forbid(unsafe_code)"), "{} forbids unsafe", source.path);
        }
        let code = source.text.split("#[cfg(test)]").next().unwrap_or_default();
        for world in ["std::net", "std::fs", "std::time", "std::thread", "static mut "] {
            let found = code.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(world));
            assert!(!found, "{} uses {world}", source.path);
        }
    }
}

/// Control writes the sets of the XDP program (the typed maps, and the records of `bpf/abi.h` that
/// lie in them) and touches nothing else of the rings' crate.
#[test]
fn control_uses_only_the_maps_of_xsk() {
    for source in sources() {
        let control = source.path.starts_with("control/src/") || source.path.starts_with("control/tests/");
        if !control {
            continue;
        }
        for piece in source.text.split("sixlane_xsk").skip(1) {
            let typed = piece.starts_with("::maps") || piece.starts_with("::uapi");
            assert!(typed, "{} uses sixlane_xsk beyond ::maps and ::uapi", source.path);
        }
    }
}

/// No packet work in the crate of the rings, no async runtime or logging on the packet path.
#[test]
fn the_packet_path_has_no_runtime() {
    let metadata = metadata(&["--no-deps"]);
    let packet_path =
        ["sixlane-wire", "sixlane-tunnel", "sixlane-tables", "sixlane-xsk", "sixlane-dataplane"];
    for package in packages(&metadata) {
        let name = package["name"].as_str().unwrap_or_default();
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let needed = dependency["name"].as_str().unwrap_or_default();
            let runtime = ["tokio", "tracing", "serde", "toml", "clap"].contains(&needed);
            let built = dependency["kind"].is_null();
            assert!(!(packet_path.contains(&name) && built && runtime), "{name} depends on {needed}");
        }
    }
}
