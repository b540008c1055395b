//! Every way in which a start can be refused, through the binary: one sentence with cause and remedy,
//! the exit code of design §7, and nothing half attached.

#![allow(clippy::expect_used, clippy::panic, reason = "the helpers of a test may fail it")]

use std::path::{Path, PathBuf};

use sixlane_lab::{Deadline, End, Host, Lab, Output, Relay, Wire, output, program};

/// A configuration that is right for the machine of these tests.
const GOOD: &str = r#"
version = 1
[[port]]
name = "wan4"
[[port]]
name = "wan6"
[router]
ipv6_address = "2001:600::fe"
[sixtofour]
role = "relay"
address = "9.254.253.252"
"#;

/// One row of the table.
struct Case {
    /// What is wrong.
    name: &'static str,
    /// What stands before `sixlane` on the command line.
    before: &'static str,
    /// A replacement in the good configuration.
    change: (&'static str, &'static str),
    code: i32,
    /// Words of cause and remedy.
    words: &'static [&'static str],
}

const fn case(name: &'static str, code: i32, words: &'static [&'static str]) -> Case {
    Case { name, before: "", change: ("", ""), code, words }
}

const TABLE: &[Case] = &[
    Case { change: ("role", "rolle"), ..case("an unknown key", 2, &["rolle", "role", ".toml:10"]) },
    Case {
        change: (
            "[router]",
            "[isatap]\naddress = \"9.254.253.251\"\nprefix = \"2001:600:0:15::/64\"\n[router]",
        ),
        ..case("a section that is not built", 2, &["isatap", "remove it"])
    },
    Case {
        change: ("wan6", "wan66"),
        ..case("a missing interface", 1, &["wan66", "does not exist", "create it"])
    },
    Case {
        change: ("[[port]]\nname = \"wan4\"\n[[port]]\nname = \"wan6\"\n", ""),
        ..case("no port", 2, &["no [[port]]", ".toml", "name an interface"])
    },
    Case {
        change: ("name = \"wan6\"", "name = \"wan6\"\nvlan = 600"),
        ..case(
            "a VLAN that the kernel has not",
            1,
            &["VLAN 600", "ip link add link wan6 name wan6.600 type vlan id 600"],
        )
    },
    Case { change: ("wan6", "lo"), ..case("no XDP support", 1, &["lo", "native XDP", "generic"]) },
    Case {
        change: ("[[port]]\nname = \"wan4\"", "[dataplane]\nworkers = [4000]\n[[port]]\nname = \"wan4\""),
        ..case("a core that is not there", 1, &["4000", "auto"])
    },
    Case {
        change: ("version = 1", "version = 1\n[dataplane]\nmode = \"zero-copy\""),
        ..case("no zero-copy", 1, &["wan4", "no zero-copy", "\"copy\""])
    },
    Case {
        change: ("9.254.253.252", "9.254.253.99"),
        ..case("an address that is not here", 1, &["9.254.253.99", "ip address add"])
    },
    Case {
        change: ("[router]", "[metrics]\nlisten = \"9.9.9.9:9464\"\n[router]"),
        ..case("metrics on a foreign address", 1, &["9.9.9.9:9464", "metrics.listen"])
    },
    Case {
        before: "setpriv --reuid 65534 --regid 65534 --clear-groups",
        ..case("not root", 1, &["needs root", "65534", "sudo"])
    },
    Case {
        before: "setpriv --bounding-set=-bpf,-net_raw",
        ..case("a missing privilege", 1, &["CAP_BPF, CAP_NET_RAW", "bounding set"])
    },
    Case {
        before: "setarch --uname-2.6",
        ..case("a kernel that is too old", 1, &["2.6.", "too old", "6.4"])
    },
];

/// A machine with two ports and nothing running.
struct Machine {
    lab: Lab,
    host: Host,
    directory: PathBuf,
}

impl Machine {
    fn new() -> Self {
        let lab = Lab::new().expect("a laboratory");
        let (host, far) = (lab.host("relay").expect("a host"), lab.host("far").expect("a host"));
        for (near, other) in [("wan4", "far4"), ("wan6", "far6")] {
            let end =
                |host: &Host, interface: &str| End { host: host.clone(), interface: interface.to_owned() };
            Wire::lay(end(&host, near), end(&far, other), 1).expect("a wire");
        }
        host.ip("addr add 9.254.253.252/24 dev wan4").expect("an address");
        host.ip("-6 addr add 2001:600::fe/64 dev wan6 nodad").expect("an address");
        let directory = lab.directory().join("startup");
        std::fs::create_dir_all(&directory).expect("a directory");
        Self { lab, host, directory }
    }

    /// Runs `BEFORE sixlane ARGUMENTS` to its end.
    fn sixlane(&self, before: &str, arguments: &[&str]) -> Output {
        let program = program().expect("the program");
        let mut words: Vec<&str> = before.split_whitespace().collect();
        let program = program.to_str().expect("a path in UTF-8");
        words.push(program);
        words.extend(arguments);
        let mut command = self.host.command(words[0]);
        command.args(&words[1..]);
        output(&mut command, Deadline::seconds(20)).expect("it ends")
    }

    fn run(&self, before: &str, config: &str, runtime: &Path) -> Output {
        let file = self.directory.join("sixlane.toml");
        std::fs::write(&file, config).expect("a file");
        let (file, runtime) = (file.to_str().expect("a path"), runtime.to_str().expect("a path"));
        self.sixlane(before, &["run", file, "--runtime", runtime])
    }

    /// Nothing of a refused start is there.
    fn assert_untouched(&self, name: &str, runtime: &Path) {
        let links = self.host.ip("-d link show").expect("links");
        assert!(!links.contains("xdp"), "{name}: a program is attached: {links}");
        let tables = self.host.run("nft list tables").expect("tables");
        assert_eq!(tables.trim(), "", "{name}: a fence is left");
        assert_eq!(self.host.processes(), Vec::<i32>::new(), "{name}: processes are left");
        assert!(!runtime.exists(), "{name}: the runtime directory is left");
    }
}

/// The sentence on stderr: the last line, which is the only one that is not a log.
fn sentence(output: &Output) -> String {
    let own: Vec<&str> = output.stderr.lines().filter(|line| line.starts_with("sixlane: ")).collect();
    match own.as_slice() {
        [one] => (*one).to_owned(),
        [] => output.stderr.clone(),
        _ => panic!("more than one sentence: {}", output.stderr),
    }
}

fn assert_said(name: &str, output: &Output, code: i32, words: &[&str]) {
    let said = sentence(output);
    assert_eq!(output.status.code(), Some(code), "{name}: {}", output.stderr);
    for word in words {
        assert!(said.contains(word), "{name}: `{word}` is not in: {said}");
    }
}

#[test]
fn every_refusal_is_a_sentence_and_leaves_nothing() {
    let machine = Machine::new();
    for case in TABLE {
        let runtime = machine.directory.join("runtime");
        let config = match case.change {
            ("", _) => GOOD.to_owned(),
            (from, to) => GOOD.replacen(from, to, 1),
        };
        let output = machine.run(case.before, &config, &runtime);
        assert_said(case.name, &output, case.code, case.words);
        machine.assert_untouched(case.name, &runtime);
    }
}

#[test]
fn a_port_with_jumbo_frames_is_told_what_to_do() {
    let machine = Machine::new();
    let runtime = machine.directory.join("runtime");
    machine.host.ip("link set wan6 mtu 1779").expect("a longer MTU");
    let output = machine.run("", GOOD, &runtime);
    assert_said("jumbo frames", &output, 1, &["wan6", "1779", "ip link set dev wan6 mtu 1778"]);
    machine.assert_untouched("jumbo frames", &runtime);
    machine.host.ip("link set wan6 mtu 1778").expect("the remedy");
    let mut relay = Relay::start(&machine.lab, &machine.host, GOOD).expect("it starts as it was told");
    assert!(relay.stop().expect("it stops").success());
}

#[test]
fn a_missing_file_is_a_wrong_usage() {
    let machine = Machine::new();
    for verb in ["run", "check"] {
        let output = machine.sixlane("", &[verb, "/nonexistent/sixlane.toml"]);
        assert_said(verb, &output, 2, &["/nonexistent/sixlane.toml", "check the name"]);
    }
    assert_eq!(machine.sixlane("", &["run"]).status.code(), Some(2));
    assert_eq!(machine.sixlane("", &["internal", "control"]).status.code(), Some(2));
}

#[test]
fn a_second_instance_is_told_who_is_there() {
    let machine = Machine::new();
    let mut relay = Relay::start(&machine.lab, &machine.host, GOOD).expect("a running relay");
    let keeper = relay.keeper().expect("a keeper").pid().to_string();

    let same = machine.run("", GOOD, relay.runtime());
    assert_said("the same directory", &same, 1, &["already running", &keeper, "--runtime"]);

    let other = machine.directory.join("other");
    let occupied = machine.run("", GOOD, &other);
    assert_said("the same interfaces", &occupied, 1, &["another sixlane", &keeper, "stop it first"]);

    machine.host.ip("link add wan9 type veth peer name far9").expect("another wire");
    let elsewhere = "version = 1\n[[port]]\nname = \"wan9\"\n";
    let beside = machine.run("", elsewhere, &other);
    assert_said("other interfaces", &beside, 1, &["another sixlane", &keeper, "network namespace"]);
    assert!(!other.exists(), "the runtime directory of the refused instance is left");
    // One that has taken over the directory of a killed keeper, whose processes have long ended.
    let stale = machine.directory.join("stale");
    std::fs::create_dir(&stale).expect("a directory");
    std::fs::write(stale.join("children"), "999999 1 control 1\n999998 1 dataplane 1\n").expect("a list");
    let late = machine.run("", elsewhere, &stale);
    assert_said("a stale directory", &late, 1, &["another sixlane", &keeper]);
    let tables = machine.host.run("nft list tables").expect("tables");
    assert_eq!(tables.trim(), "table inet sixlane", "the fence of the first instance was taken away");

    let status = relay.show_json(&["show", "status"]).expect("the first instance answers");
    assert_eq!(status["dataplane"], "forwarding", "the first instance was disturbed");
    assert!(relay.stop().expect("it stops").success());
}

#[test]
fn with_nothing_running_there_is_nobody_to_ask() {
    let machine = Machine::new();
    let nowhere = machine.directory.join("nowhere");
    let runtime = nowhere.to_str().expect("a path");
    let packet =
        "6000000000083b40".to_owned() + &"20010600000000000000000000000001".repeat(2) + "0000000000000000";
    for arguments in [vec!["show", "status"], vec!["show", "drops", "--json"], vec!["explain", &packet]] {
        let output = machine.sixlane("", &[arguments.as_slice(), &["--runtime", runtime]].concat());
        assert_said("not running", &output, 3, &["not running", runtime, "sixlane run"]);
    }
    let decoded = machine.sixlane("", &["explain", "2002:c001:203::1"]);
    assert!(decoded.status.success() && decoded.stdout.contains("192.1.2.3"), "{}", decoded.stdout);
}
