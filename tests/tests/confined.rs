//! What the processes may not do (TGT-18, TGT-19), shown by looking and by trying.

#![allow(clippy::expect_used, clippy::panic, reason = "the helpers of a test may fail it")]

use sixlane_lab::{Deadline, FarEnd, Part, Process, output, program};
use sixlane_tests::Running;
use std::process::Command;

/// CAP_NET_ADMIN and CAP_NET_RAW.
const CONTROL_CAPABILITIES: u64 = 1 << 12 | 1 << 13;

fn status(process: &Process, field: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).expect("status");
    let line = text.lines().find_map(|line| line.strip_prefix(field)).expect("field");
    line.trim_start_matches(':').trim().to_owned()
}

fn capabilities(process: &Process, field: &str) -> u64 {
    u64::from_str_radix(&status(process, field), 16).expect("hexadecimal")
}

fn uids(process: &Process) -> Vec<u32> {
    status(process, "Uid").split_whitespace().map(|uid| uid.parse().expect("uid")).collect()
}

#[test]
fn the_data_plane_has_no_privilege() {
    let lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    let process = lab.relay.part(Part::DataPlane).expect("a data plane");
    for field in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(capabilities(&process, field), 0, "{field}");
    }
    assert_eq!(status(&process, "NoNewPrivs"), "1");
    assert_eq!(status(&process, "Seccomp"), "2", "no system call filter");
    assert!(!uids(&process).contains(&0));
    assert_eq!(status(&process, "Groups"), "", "supplementary groups are left");
}

#[test]
fn control_has_two_capabilities() {
    let lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    let process = lab.relay.part(Part::Control).expect("control");
    assert_eq!(capabilities(&process, "CapEff"), CONTROL_CAPABILITIES);
    assert_eq!(capabilities(&process, "CapPrm"), CONTROL_CAPABILITIES);
    assert_eq!(status(&process, "NoNewPrivs"), "1");
    let data_plane = lab.relay.part(Part::DataPlane).expect("a data plane");
    assert!(!uids(&process).contains(&0));
    assert_ne!(uids(&process), uids(&data_plane), "one uid for both");
}

/// The socket that is asked is for root and the members of `admin.group` (here: root's).
#[test]
fn the_admin_socket_answers_its_group_alone() {
    let lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    let relay = lab.world.host("relay").expect("relay");
    let sixlane = program().expect("the program");
    let ask = |groups: &[&str]| {
        let mut command = relay.command("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534"]).args(groups).arg(&sixlane);
        command.args(["show", "status", "--runtime"]).arg(lab.relay.runtime());
        output(&mut command, Deadline::seconds(20)).expect("it ends")
    };
    let member = ask(&["--groups", "0"]);
    assert!(member.status.success(), "{}", member.stderr);
    let stranger = ask(&["--clear-groups"]);
    assert_eq!(stranger.status.code(), Some(1), "{}", stranger.stdout);
    assert!(stranger.stderr.contains("become a member of its admin group"), "{}", stranger.stderr);
}

/// The changing socket is for the same people, by its mode and by what the kernel says of the peer:
/// not even control's own user may change anything through it.
#[test]
fn the_changing_socket_obeys_root_and_its_group_alone() {
    let lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    let relay = lab.world.host("relay").expect("relay");
    let socket = lab.relay.runtime().join("change.sock");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&socket).expect("socket").permissions());
    assert_eq!(mode & 0o7777, 0o660);
    let control = uids(&lab.relay.part(Part::Control).expect("control"))[0].to_string();
    let order = |identity: &[&str]| {
        let mut command = relay.command("setpriv");
        // Perl is on every Debian; it says what the socket says.
        let program = "use IO::Socket::UNIX; $SIG{PIPE} = q(IGNORE); my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die \"$!\\n\"; \
                       print $s \"{\\\"v\\\":1,\\\"do\\\":\\\"nothing\\\"}\\n\"; $s->flush; print scalar <$s>;";
        command.args(identity).args(["perl", "-e", program]).arg(&socket);
        output(&mut command, Deadline::seconds(20)).expect("it ends")
    };
    let known = r#""error":"there is no \"nothing\": what can be done is "#;
    let member = order(&["--reuid", "65534", "--regid", "65534", "--groups", "0"]);
    assert!(member.stdout.contains(known), "{} {}", member.stdout, member.stderr);
    let root = order(&["--clear-groups"]);
    assert!(root.stdout.contains(known), "{} {}", root.stdout, root.stderr);
    let stranger = order(&["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    assert!(stranger.stderr.contains("Permission denied"), "{} {}", stranger.stdout, stranger.stderr);
    let own = order(&["--reuid", &control, "--regid", &control, "--clear-groups"]);
    assert!(own.stdout.contains("you may not ask"), "{} {}", own.stdout, own.stderr);
}

/// Every mapping of the tables in the data plane is read-only, and nobody of its uid can open one
/// for writing.
#[test]
fn tables_are_written_by_control_alone() {
    let lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    let process = lab.relay.part(Part::DataPlane).expect("a data plane");
    let pid = process.pid();
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("maps");
    let tables: Vec<&str> = maps.lines().filter(|line| line.contains("memfd:sixlane-tables")).collect();
    assert!(!tables.is_empty(), "no tables are mapped:\n{maps}");
    for line in &tables {
        assert!(line.contains(" r--s "), "a writable mapping: {line}");
    }
    let uid = uids(&process)[0].to_string();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).expect("descriptors").flatten() {
        let target = std::fs::read_link(entry.path()).unwrap_or_default();
        if !target.to_string_lossy().contains("sixlane-tables") {
            continue;
        }
        let open = format!("exec 3<>{}", entry.path().display());
        let tried = Command::new("setpriv")
            .args(["--reuid", &uid, "--clear-groups", "--bounding-set=-all", "sh", "-c", &open])
            .output()
            .expect("setpriv");
        assert!(!tried.status.success(), "uid {uid} opened {} for writing", target.display());
    }
}
