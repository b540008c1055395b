//! `sixlane lab demo`: what the relay does, and what happens when its processes are killed.

use super::rates::Rates;
use super::screen::{Ink, Screen};
use super::{need_root, typed};
use crate::socket::{Port, address};
use crate::stream::{Pace, Stream, Tally, Way};
use crate::{
    Deadline, FarEnd, LabError, Part, Relay, World, eventually, interrupt, packet, require, transfer,
};
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Every figure of speed carries this.
const NOT_LINE_RATE: &str = "veth, copy mode: not a line-rate figure";
/// Bytes of each shown TCP transfer.
const TRANSFER_BYTES: usize = 8_000_000;
/// Bytes of the transfer that lives through two kills.
const LONG_TRANSFER_BYTES: usize = 24_000_000;

/// What `sixlane lab demo` is told.
#[derive(Debug, Default, Clone)]
pub struct DemoOptions {
    /// Line output even on a terminal.
    pub plain: bool,
}

/// Shows the relay at work and what happens when its processes are killed. Everything is taken
/// down at the end, also after Ctrl-C.
///
/// # Errors
/// The step that did not show what it should.
pub fn demo(options: &DemoOptions) -> Result<(), LabError> {
    need_root()?;
    interrupt::watch()?;
    let screen = Arc::new(Screen::new(options.plain));
    let begin = Instant::now();
    let shown = show(&screen);
    screen.freeze();
    if let Err(error) = shown {
        screen.say("\nEverything of the demonstration has been taken down.");
        // Ctrl-C shows in many ways: a system call cut short, a tool that ended.
        return Err(if interrupt::requested() { LabError::Interrupted } else { error });
    }
    screen.say(&format!(
        "\nTaken down: nothing is left. The demonstration took {:.0} s.\n\
         Build the same lab to stay: {} lab up\n\
         It says in which namespace to try:\n\
         \x20 ping -c 3 2002:c001:203::1       from the native host to Linux's sit\n\
         \x20 traceroute6 -n 2002:c001:203::1  the relay answers as 2001:600::fe\n\
         \x20 sixlane show drops               every refused packet, by reason and RFC clause",
        begin.elapsed().as_secs_f64(),
        typed()?
    ));
    Ok(())
}

fn show(screen: &Arc<Screen>) -> Result<(), LabError> {
    let tools = [("ping", "iputils-ping"), ("traceroute6", "traceroute"), ("nft", "nftables")];
    for (program, package) in tools {
        require(program, package)?;
    }
    screen.say("sixlane relays between a native IPv6 host and a real Linux that does 6to4.");
    screen.step("Building: four network namespaces, three wires, a real Linux with sit");
    let begin = Instant::now();
    let mut world = World::first_light(FarEnd::Linux)?;
    let far_end = world.guest()?.describe();
    screen.say(&format!("  the far end is {far_end} ({:.1} s)", begin.elapsed().as_secs_f64()));
    let begin = Instant::now();
    let relay = world.relay()?;
    screen.say(&format!("  the relay forwards ({:.1} s)", begin.elapsed().as_secs_f64()));
    screen.update(|picture| {
        picture.far_end = "Linux sit".to_owned();
        picture.control = pid(&relay, Part::Control);
        picture.data_plane = pid(&relay, Part::DataPlane);
    });
    let (native, isp) = (world.host("host6")?.clone(), world.host("isp")?.clone());
    let rates = Rates::start(Arc::clone(screen), native, isp);
    reach(screen, &mut world)?;
    transfers(screen, &mut world)?;
    kills(screen, &mut world, &relay)?;
    let peak = rates.finish();
    screen.say(&format!(
        "  busiest quarter second: {} pps into the tunnel, {} pps out of it\n    {}",
        peak.tunnel_out,
        peak.native_in,
        screen.ink(Ink::Dim, &format!("({NOT_LINE_RATE})"))
    ));
    spoof(screen, &world, &relay)
}

fn pid(relay: &Relay, part: Part) -> String {
    relay.part(part).map_or_else(|| "dead".to_owned(), |process| format!("pid {}", process.pid()))
}

/// Pings and traces both ways.
fn reach(screen: &Screen, world: &mut World) -> Result<(), LabError> {
    let native = world.host("host6")?.clone();
    screen.step("Ping");
    let out = native.run("ping -6 -n -i 0.2 -c 5 -W 5 2002:c001:203::1")?;
    screen.say(&format!("  native → 6to4: {}", last_line(&out)));
    let back = world.guest()?.sh("ping6 -c 3 -W 5 2001:600::1")?;
    screen.say(&format!("  6to4 → native: {}", last_line(&back)));

    screen.step("Traceroute (hop 1 is the relay's own ICMPv6)");
    let out = native.run("traceroute6 -n -q 1 -w 3 -m 4 2002:c001:203::1")?;
    let back = world.guest()?.sh("traceroute6 -n -q 1 -w 3 -m 4 2001:600::1")?;
    for (name, trace) in [("native → 6to4", out), ("6to4 → native", back)] {
        if !trace.contains("2001:600::fe") {
            return Err(LabError::Shown(format!("the relay is not in the route:\n{trace}")));
        }
        let hops: Vec<&str> = trace.lines().skip(1).map(str::trim).collect();
        screen.say(&format!("  {name}: {}", hops.join(" | ")));
    }
    Ok(())
}

fn last_line(text: &str) -> &str {
    text.trim().lines().next_back().unwrap_or_default()
}

/// TCP both ways.
fn transfers(screen: &Screen, world: &mut World) -> Result<(), LabError> {
    screen.step("TCP");
    let out = transfer::to_guest(world, TRANSFER_BYTES)?;
    let back = transfer::from_guest(world, TRANSFER_BYTES)?;
    for (name, done) in [("native → 6to4", out), ("6to4 → native", back)] {
        if done.bytes != TRANSFER_BYTES {
            return Err(LabError::Shown(format!("{name}: only {} bytes arrived", done.bytes)));
        }
        let (bytes, speed) = (done.bytes / 1_000_000, done.megabits());
        let note = screen.ink(Ink::Dim, &format!("({NOT_LINE_RATE})"));
        screen.say(&format!("  {name}: {bytes} MB, {speed:.0} Mbit/s {note}"));
    }
    Ok(())
}

/// Kills control and then the data plane in the middle of a transfer and of a numbered stream.
fn kills(screen: &Screen, world: &mut World, relay: &Relay) -> Result<(), LabError> {
    screen.step("SIGKILL in the middle of a transfer");
    let connection = transfer::ToGuest::connect(world)?;
    let isp = world.host("isp")?.clone();
    let pace = Pace { window: 64, rate: 2_000, ..Pace::default() };
    let start = |way| Stream::start_at(world, (&isp, address::ISP6), way, pace);
    let streams = [start(Way::Encap)?, start(Way::Decap)?];
    let sent = AtomicUsize::new(0);
    let at = |bytes| (sent.load(Ordering::Acquire) >= bytes).then_some(());
    let outcome = std::thread::scope(|scope| {
        let transfer = scope.spawn(|| connection.send(world, LONG_TRANSFER_BYTES, &sent));
        let killed = kill(screen, relay, Part::Control, || at(LONG_TRANSFER_BYTES / 8))
            .and_then(|()| kill(screen, relay, Part::DataPlane, || at(LONG_TRANSFER_BYTES / 3)));
        let transferred = transfer.join();
        killed?;
        transferred.unwrap_or_else(|_| Err(LabError::Shown("the transfer failed".to_owned())))
    })?;
    if outcome.bytes != LONG_TRANSFER_BYTES {
        return Err(LabError::Shown(format!("only {} bytes of the transfer arrived", outcome.bytes)));
    }
    let complete = screen.ink(Ink::Green, "complete");
    let bytes = outcome.bytes / 1_000_000;
    screen.say(&format!("  the TCP transfer of {bytes} MB: {complete}, the connection lived through both"));
    screen.say("  two numbered streams beside it:");
    for (name, stream) in ["into the tunnel", "out of the tunnel"].iter().zip(streams) {
        stream.progress(200, Deadline::seconds(10))?;
        screen.say(&format!("    {name}: {}", losses(&stream.finish()?)));
    }
    Ok(())
}

fn losses(tally: &Tally) -> String {
    format!(
        "{} sent, {} lost, {} doubled, silent {} ms at most",
        tally.sent,
        tally.lost(),
        tally.doubled,
        tally.longest_gap.as_millis()
    )
}

/// Kills one part at a moment of the transfer and waits for its successor.
fn kill(
    screen: &Screen,
    relay: &Relay,
    part: Part,
    moment: impl FnMut() -> Option<()>,
) -> Result<(), LabError> {
    eventually("the transfer's progress", Deadline::seconds(30), moment)?;
    let name = if part == Part::Control { "control" } else { "the data plane" };
    let before = relay.kill(part)?;
    let dead = Instant::now();
    set(screen, part, "killed".to_owned());
    screen.say(&format!("  {} {name} (pid {before})", screen.ink(Ink::Red, "killed")));
    relay.restarted(part, before)?;
    let successor = pid(relay, part);
    screen.say(&format!("  {name} is back as {successor} after {} ms", dead.elapsed().as_millis()));
    set(screen, part, successor);
    Ok(())
}

fn set(screen: &Screen, part: Part, text: String) {
    screen.update(|picture| match part {
        Part::Control => picture.control = text,
        Part::DataPlane => picture.data_plane = text,
        // The demonstration has no metrics.
        Part::Observer => {}
    });
}

/// Sends one packet with a lie in it, and shows its reason and what `explain` says of its bytes.
fn spoof(screen: &Screen, world: &World, relay: &Relay) -> Result<(), LabError> {
    screen.step("A spoofed packet: its inner source claims 8.8.8.8, it comes from 192.1.2.3");
    let liar = Ipv6Addr::new(0x2002, 0x808, 0x808, 0, 0, 0, 0, 1);
    let inner = packet::echo_request(liar, address::HOST6, 64);
    let bytes = packet::protocol41(address::SITE4, address::RELAY4, &inner);
    let before = refused(relay)?;
    Port::forger4(world.host("isp")?)?.send4(&bytes, address::RELAY4)?;
    let row = eventually("the spoofed packet's reason", Deadline::after(Duration::from_secs(5)), || {
        let now = refused(relay).ok()?;
        now.into_iter().find(|row| !before.contains(row))
    })?;
    let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
    screen.say(&format!("  refused as {} ({})", screen.ink(Ink::Red, &text("reason")), text("clause")));
    screen.say(&format!("  $ sixlane explain {}…", packet::hex(&bytes[..24])));
    let explained = relay.show(&["explain", &packet::hex(&bytes)])?;
    for line in explained.lines() {
        screen.say(&format!("    {line}"));
    }
    Ok(())
}

/// The rows of `show drops`.
fn refused(relay: &Relay) -> Result<Vec<serde_json::Value>, LabError> {
    let answer = relay.ask("drops")?;
    Ok(answer["drops"].as_array().cloned().unwrap_or_default())
}
