//! Packet rates of the lab's wires, from the far ends' own interface counters.

use super::screen::Screen;
use crate::{Host, LabError};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_millis(250);

/// Fills the picture until it is finished or dropped.
#[derive(Debug)]
pub(super) struct Rates {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<Peak>>,
}

/// The highest rates that were seen, in packets a second.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Peak {
    /// From the relay into the IPv4 network.
    pub(super) tunnel_out: u64,
    /// From the relay to the native host.
    pub(super) native_in: u64,
}

/// Received and sent packets of an interface.
#[derive(Debug, Clone, Copy)]
struct Count {
    received: u64,
    sent: u64,
}

impl Rates {
    /// Starts filling the picture from the two wires of the relay.
    pub(super) fn start(screen: Arc<Screen>, native: Host, isp: Host) -> Self {
        let (stop, stopped) = channel::<()>();
        let thread = std::thread::spawn(move || {
            let sample = || Some((count(&native, "eth0").ok()?, count(&isp, "north").ok()?, Instant::now()));
            let mut before = sample();
            let mut peak = Peak::default();
            while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                let now = sample();
                if let (Some(before), Some(now)) = (before, now) {
                    let seconds = (now.2 - before.2).as_secs_f64();
                    screen.update(|picture| {
                        picture.native_out = rate(before.0.sent, now.0.sent, seconds);
                        picture.native_in = rate(before.0.received, now.0.received, seconds);
                        picture.tunnel_out = rate(before.1.received, now.1.received, seconds);
                        picture.tunnel_in = rate(before.1.sent, now.1.sent, seconds);
                        peak.tunnel_out = peak.tunnel_out.max(picture.tunnel_out);
                        peak.native_in = peak.native_in.max(picture.native_in);
                    });
                }
                before = now;
            }
            peak
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Rates {
    /// Stops and gives the highest rates.
    pub(super) fn finish(mut self) -> Peak {
        self.stop = None;
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl Drop for Rates {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a figure for people"
)]
fn rate(before: u64, now: u64, seconds: f64) -> u64 {
    (now.saturating_sub(before) as f64 / seconds) as u64
}

fn count(host: &Host, interface: &str) -> Result<Count, LabError> {
    let text = host
        .within(|| std::fs::read_to_string("/proc/thread-self/net/dev"))?
        .map_err(|error| LabError::io("reading /proc/net/dev", error))?;
    let found = text.lines().find_map(|line| {
        let fields = line.trim_start().strip_prefix(interface)?.strip_prefix(':')?;
        let numbers: Vec<u64> = fields.split_whitespace().filter_map(|one| one.parse().ok()).collect();
        Some(Count { received: *numbers.get(1)?, sent: *numbers.get(9)? })
    });
    found.ok_or_else(|| LabError::Topology(format!("no counters of {interface}")))
}
