//! The operator's side of a running relay: `--watch`, and a relay that is starved of descriptors or
//! beset by clients (ATK-55, FAIL-19, TGT-14).

#![allow(clippy::expect_used, clippy::panic, reason = "the helpers of a test may fail it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Ipv6Addr;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde_json::Value;
use sixlane_lab::socket::{Port, address};
use sixlane_lab::stream::{Pace, Stream, Way};
use sixlane_lab::{Deadline, FarEnd, Part, eventually, packet};
use sixlane_tests::Running;

/// `sixlane show … --watch`, running.
struct Watching(Child);

impl Watching {
    fn start(lab: &Running, arguments: &[&str]) -> (Self, BufReader<std::process::ChildStdout>) {
        let mut command = lab.relay.sixlane(arguments);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("sixlane");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        (Self(child), output)
    }

    /// Ctrl-C; gives the exit code.
    fn interrupt(mut self) -> Option<i32> {
        let pid = Pid::from_child(&self.0);
        rustix::process::kill_process(pid, Signal::INT).expect("it runs");
        self.0.wait().expect("it ends").code()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn object(output: &mut impl BufRead) -> Value {
    let mut line = String::new();
    output.read_line(&mut line).expect("a line");
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
}

#[test]
fn watching_prints_one_object_a_line_until_it_is_interrupted() {
    let lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    let (watching, mut output) = Watching::start(&lab, &["show", "counters", "--json", "--watch", "0.1"]);
    let received = |object: &Value| object["total"]["received"].as_u64().expect("a figure");
    let first = received(&object(&mut output));
    let stream = Stream::start(&lab.world, Way::Encap, Pace::default()).expect("sockets");
    stream.progress(500, Deadline::seconds(20)).expect("flows");
    stream.finish().expect("stream");
    eventually("the packets in a later line", Deadline::seconds(20), || {
        (received(&object(&mut output)) >= first + 500).then_some(())
    })
    .expect("it goes on");
    // It survives the death of whom it asks.
    let pid = lab.relay.kill(Part::Control).expect("control");
    lab.relay.restarted(Part::Control, pid).expect("a successor");
    object(&mut output);
    assert_eq!(watching.interrupt(), Some(0));
}

#[test]
fn watching_in_a_pipe_prints_blocks_with_rates_and_ends_with_its_reader() {
    let lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    let (mut watching, output) = Watching::start(&lab, &["show", "counters", "--watch", "0.1"]);
    let stream = Stream::start(&lab.world, Way::Encap, Pace::default()).expect("sockets");
    let mut lines = output.lines().map(|line| line.expect("text"));
    let heading = lines.next().expect("a heading");
    assert!(!heading.contains("a second"), "there is nothing to compare the first with: {heading}");
    assert!(lines.any(|line| line.is_empty()), "blocks are divided");
    let moving = lines.find(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.first() == Some(&"received")
            && words.get(2).is_some_and(|rate| rate.parse::<u64>().is_ok_and(|rate| rate > 0))
    });
    assert!(moving.is_some(), "no rate was shown");
    stream.finish().expect("stream");
    drop(lines);
    assert_eq!(
        watching.0.wait().expect("it ends").code(),
        Some(0),
        "a reader that has gone is an ordinary end"
    );
}

/// `script` gives the command a terminal.
#[test]
fn watching_on_a_terminal_redraws_in_place_and_leaves_it_as_it_was() {
    let lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    let sixlane = sixlane_lab::program().expect("the program");
    let line = format!(
        "stty rows 10 cols 60; timeout --preserve-status -s INT 1 {} show drops --watch 0.1 --runtime {}; echo code=$?",
        sixlane.display(),
        lab.relay.runtime().display()
    );
    let mut command = lab.world.host("relay").expect("relay").command("script");
    command.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm").stdin(Stdio::null());
    let shown = sixlane_lab::output(&mut command, Deadline::seconds(20)).expect("it ends").stdout;
    let (enter, leave) = ("\x1b[?1049h\x1b[?25l\x1b[?7l", "\x1b[?7h\x1b[?25h\x1b[?1049l");
    assert!(shown.starts_with(enter), "{shown:?}");
    let (drawn, after) = shown.split_once(leave).unwrap_or_else(|| panic!("not restored: {shown:?}"));
    assert!(after.contains("code=0"), "{after:?}");
    assert!(drawn.matches("\x1b[H").count() >= 3, "redrawn: {drawn:?}");
    assert!(!drawn.contains("\x1b[2J"), "cleared first, which flickers: {drawn:?}");
    for picture in drawn.split("\x1b[H").skip(1) {
        assert!(picture.contains("show drops, every 0.1 s") && picture.ends_with("\x1b[J"), "{picture:?}");
        assert!(picture.matches('\n').count() < 10, "below the screen: {picture:?}");
    }
}

fn connect(lab: &Running, socket: &str) -> UnixStream {
    let stream = UnixStream::connect(lab.relay.runtime().join(socket)).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket");
    stream.set_write_timeout(Some(Duration::from_secs(60))).expect("a socket");
    stream
}

/// What is left to read until the relay closes the connection.
fn rest(stream: &mut UnixStream) -> String {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    String::from_utf8_lossy(&rest).into_owned()
}

/// Clients that are slow, silent, deaf or endless, on both sockets, all at once; others go on being
/// answered.
#[test]
fn clients_that_misbehave_are_cut_off_and_hold_nobody_up() {
    let lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    let mut bad: Vec<UnixStream> = Vec::new();
    for socket in ["admin.sock", "change.sock"] {
        // Silent; half a line; a line too long; deep and huge; one that never reads its answers.
        bad.push(connect(&lab, socket));
        let mut half = connect(&lab, socket);
        half.write_all(b"{\"v\":1,\"get\":\"sta").expect("written");
        bad.push(half);
        let mut endless = connect(&lab, socket);
        while endless.write_all(&[b'['; 4096]).is_ok() {}
        bad.push(endless);
        let mut odd = connect(&lab, socket);
        let deep = format!("{}{}\n{{\"v\":1e999}}\n", "[".repeat(30_000), "]".repeat(30_000));
        odd.write_all(deep.as_bytes()).expect("written");
        let mut answers = BufReader::new(odd.try_clone().expect("a socket"));
        for _ in 0..2 {
            assert!(object(&mut answers)["error"].is_string());
        }
        bad.push(odd);
        assert_eq!(lab.relay.ask("status").expect("an answer")["dataplane"], "forwarding");
    }
    let deaf = connect(&lab, "admin.sock");
    deaf.set_nonblocking(true).expect("a socket");
    // Until neither its questions nor the answers find room.
    eventually("a full socket", Deadline::seconds(20), || {
        (0..1000).any(|_| (&deaf).write(b"{\"v\":1,\"get\":\"drops\"}\n").is_err()).then_some(())
    })
    .expect("the relay does not store what nobody reads");
    assert_eq!(lab.relay.ask("status").expect("an answer")["dataplane"], "forwarding");
    for mut stream in bad {
        assert!(!rest(&mut stream).contains("\"version\""), "closed without an answer");
    }
    deaf.set_nonblocking(false).expect("a socket");
    let mut deaf = deaf;
    let text = rest(&mut deaf);
    assert!(text.len() < 8 << 20, "{} bytes were kept for it", text.len());
}

/// FAIL-19: without descriptors clients are told so, control does not turn in circles, and all else goes
/// on; with descriptors it answers again.
#[test]
fn a_control_without_descriptors_refuses_clients_and_nothing_else_happens() {
    let lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    let control = lab.relay.part(Part::Control).expect("control");
    let stream = Stream::start(&lab.world, Way::Encap, Pace::default()).expect("sockets");
    stream.progress(500, Deadline::seconds(20)).expect("flows");
    let open = std::fs::read_dir(format!("/proc/{}/fd", control.pid())).expect("descriptors");
    let open: Vec<u64> =
        open.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    let lowest_free = (0..).find(|number| !open.contains(number)).expect("a number");
    // Its own user may lower its limit and raise it again; that needs no capability.
    let ids = status_ids(control.pid());
    let limit = |soft: u64| {
        let status = std::process::Command::new("setpriv")
            .args(["--reuid", &ids.0, "--regid", &ids.1, "--clear-groups", "prlimit"])
            .args(["--pid", &control.pid().to_string(), &format!("--nofile={soft}:")])
            .status();
        assert!(status.expect("prlimit").success());
    };
    let before = std::fs::read_to_string(format!("/proc/{}/limits", control.pid())).expect("limits");
    let soft = before.lines().find(|line| line.starts_with("Max open files")).expect("the limit");
    let soft: u64 = soft.split_whitespace().nth(3).expect("a number").parse().expect("a number");
    // The next descriptor is refused.
    limit(lowest_free);
    let refusal = eventually("the refusal", Deadline::seconds(20), || {
        let mut client = connect(&lab, "admin.sock");
        client.write_all(b"{\"v\":1,\"get\":\"status\"}\n").ok()?;
        let mut line = String::new();
        BufReader::new(client).read_line(&mut line).ok()?;
        line.contains("no file descriptor left").then_some(line)
    });
    assert!(refusal.is_ok(), "{}", lab.relay.log());
    let busy = cpu(control.pid());
    stream.progress(2_000, Deadline::seconds(60)).expect("goes on");
    let spent = cpu(control.pid()) - busy;
    assert!(spent < 100, "control spent {spent} hundredths of a second on refusing");
    limit(soft);
    eventually("an answer", Deadline::seconds(20), || {
        let mut client = connect(&lab, "admin.sock");
        client.write_all(b"{\"v\":1,\"get\":\"alarms\"}\n").ok()?;
        object(&mut BufReader::new(client))["alarms"].is_array().then_some(())
    })
    .expect("it answers again");
    let tally = stream.finish().expect("stream");
    assert_eq!((tally.lost(), tally.doubled, tally.damaged), (0, 0, 0), "{tally:?}");
    assert_eq!(lab.relay.part(Part::Control).expect("control").pid(), control.pid());
    lab.assert_identity();
}

/// TGT-14: packets that each make the data plane ask control for something (a neighbour that nobody has
/// heard of, an echo for the relay itself), as fast as one core sends them. What reaches control is
/// budgeted: it answers and reloads in a second and leaves half a core to others.
#[test]
fn a_storm_of_punts_leaves_the_operator_his_answers() {
    let lab = Running::first_light(FarEnd::RawSocket).expect("a running relay");
    let forger = Port::forger4(lab.world.host("isp").expect("isp")).expect("raw socket");
    let over = AtomicBool::new(false);
    let sent = AtomicU64::new(0);
    let control = lab.relay.part(Part::Control).expect("control").pid();
    let (mut slowest, mut answers) = (Duration::ZERO, 0);
    let (begun, busy) = (Instant::now(), cpu(control));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0_u64;
            while !over.load(Ordering::Relaxed) {
                number += 1;
                let host = Ipv6Addr::from(0x2001_0600_u128 << 96 | u128::from(number) << 8 | 1);
                let to = if number.is_multiple_of(8) { address::RELAY6 } else { host };
                let inner = packet::echo_request(address::SITE6, to, 64);
                // A full queue is the sender's matter.
                let _ = forger
                    .send4(&packet::protocol41(address::SITE4, address::RELAY4, &inner), address::RELAY4);
                sent.store(number, Ordering::Relaxed);
            }
        });
        let enough = eventually("a storm long enough", Deadline::seconds(60), || {
            let asked = Instant::now();
            let status = lab.relay.ask("status").ok()?;
            assert_eq!(status["dataplane"], "forwarding");
            slowest = slowest.max(asked.elapsed());
            answers += 1;
            (answers >= 20 && sent.load(Ordering::Relaxed) >= 100_000).then_some(())
        });
        let asked = Instant::now();
        let reloaded = lab.relay.show(&["reload"]);
        slowest = slowest.max(asked.elapsed());
        over.store(true, Ordering::Relaxed);
        assert!(reloaded.is_ok(), "{reloaded:?}");
        assert!(enough.is_ok(), "{answers} answers in a storm of {sent:?}");
    });
    let (spent, lasted) = (cpu(control) - busy, begun.elapsed().as_secs_f64());
    assert!(slowest < Duration::from_secs(1), "an answer took {slowest:?}");
    let total = lab.counters()["total"].clone();
    let figure = |name: &str| total[name].as_u64().expect("a figure");
    assert!(figure("neighbour_limited") > 0, "the storm was none: {total:#}");
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let (share, asked) = (spent as f64 / 100.0 / lasted, figure("neighbour_requests") as f64);
    assert!(share < 0.5, "control took {share:.2} of a core");
    assert!(asked <= 256.0 * (lasted + 1.0) + 64.0, "{asked} requests in {lasted:.1} s");
    lab.assert_identity();
}

/// User and group of a process.
fn status_ids(pid: i32) -> (String, String) {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let id = |field: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(field)).expect("field");
        line.split_whitespace().next().expect("a number").to_owned()
    };
    (id("Uid:"), id("Gid:"))
}

/// Time on a processor so far, in clock ticks (hundredths of a second).
fn cpu(pid: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    fields[11..13].iter().map(|field| field.parse::<u64>().expect("ticks")).sum()
}
