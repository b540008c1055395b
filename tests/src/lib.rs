//! Help for the end-to-end tests: a relay in its laboratory, turns, skips.

#![allow(clippy::panic, reason = "the helpers of a test may fail it")]

use sixlane_lab::{FarEnd, LabError, Relay, World};
use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A relay that runs in a laboratory. The relay stops before its world is taken down.
#[derive(Debug)]
pub struct Running {
    /// The relay.
    pub relay: Relay,
    /// Where it runs.
    pub world: World,
    _turn: MutexGuard<'static, ()>,
}

static TURN: Mutex<()> = Mutex::new(());

impl Running {
    /// Builds the first-light laboratory with this far end and starts the relay in it. The tests of
    /// one binary take turns: two cores are too few for two streams that measure loss.
    ///
    /// # Errors
    /// What did not start, with its log or console.
    pub fn first_light(far_end: FarEnd) -> Result<Self, LabError> {
        Self::with(far_end, |config| config)
    }

    /// The same with a changed configuration.
    ///
    /// # Errors
    /// What did not start, with its log or console.
    pub fn with(far_end: FarEnd, change: impl FnOnce(String) -> String) -> Result<Self, LabError> {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let world = World::first_light(far_end)?;
        let relay = world.relay_with(change)?;
        Ok(Self { relay, world, _turn: turn })
    }
}

/// Says that a test was skipped. The runner compares the names with `tests/skips-allowed.txt`;
/// without a runner the skip is printed.
pub fn skip(name: &str, reason: &str) {
    let line = format!("{name}\t{reason}\n");
    let written = std::env::var_os("SIXLANE_SKIPS").map(|path| {
        std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .and_then(|mut file| file.write_all(line.as_bytes()))
    });
    if !matches!(written, Some(Ok(()))) {
        print!("skipped: {line}");
    }
}

/// Whether the long forms of the tests are asked for (`SIXLANE_LONG=1`, `make test-long`).
pub fn long() -> bool {
    std::env::var_os("SIXLANE_LONG").is_some_and(|value| value == "1")
}

/// Leaves a dated line about a long run in `docs/conformance/long-runs.md`.
///
/// # Errors
/// The file cannot be written.
pub fn note_long_run(line: &str) -> std::io::Result<()> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/conformance/long-runs.md");
    let date = std::process::Command::new("date").arg("+%F %R").output()?;
    let date = String::from_utf8_lossy(&date.stdout);
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path)?;
    writeln!(file, "- {}: {line}", date.trim())
}

/// Packets dropped for a reason, from `show drops --json`.
pub fn dropped(drops: &serde_json::Value, reason: &str) -> u64 {
    let rows = drops["drops"].as_array().into_iter().flatten();
    rows.filter(|row| row["reason"] == reason).filter_map(|row| row["packets"].as_u64()).sum()
}

/// The identity of design §4: every packet ended in exactly one verdict. From
/// `show counters --json`, at a quiescent moment.
///
/// # Panics
/// It does not hold.
pub fn assert_identity(counters: &serde_json::Value) {
    let total = &counters["total"];
    let of = |name: &str| total[name].as_u64().unwrap_or_else(|| panic!("no `{name}` in {counters}"));
    let came = of("received") + of("injected") + of("generated");
    let went = of("transmitted") + of("local") + of("punted") + of("dropped") + of("consumed") + of("held");
    assert_eq!(came, went, "the identity is broken: {counters}");
    assert!(of("received") > 0, "nothing was received: {counters}");
}

/// The census of frames: every frame of the UMEM is in exactly one state.
///
/// # Panics
/// One is missing or in two.
pub fn assert_census(counters: &serde_json::Value) {
    for worker in counters["workers"].as_array().into_iter().flatten() {
        let frames = &worker["frames"];
        let of = |name: &str| frames[name].as_u64().unwrap_or_else(|| panic!("no `{name}` in {counters}"));
        let sum = of("free") + of("fill") + of("batch") + of("held") + of("tx");
        assert_eq!(sum, of("total"), "frames are lost: {counters}");
    }
}
