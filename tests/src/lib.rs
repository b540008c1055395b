//! Help for the end-to-end tests: a relay in its laboratory, turns, skips.

#![allow(clippy::panic, reason = "the helpers of a test may fail it")]

mod native;

pub use native::two_native_sides;
use sixlane_lab::{Deadline, FarEnd, LabError, Relay, Topology, World, eventually};
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
        let mut topology = Topology::first_light()?;
        topology.relay.config = change(topology.relay.config);
        Self::build(topology, far_end)
    }

    /// Builds any topology and starts the relay in it.
    ///
    /// # Errors
    /// What did not start, with its log or console.
    pub fn build(topology: Topology, far_end: FarEnd) -> Result<Self, LabError> {
        Self::prepared(topology, far_end, |_| Ok(()))
    }

    /// The same, with something done to the laboratory before the relay starts in it.
    ///
    /// # Errors
    /// What was not done or did not start, with its log or console.
    pub fn prepared(
        topology: Topology,
        far_end: FarEnd,
        prepare: impl FnOnce(&World) -> Result<(), LabError>,
    ) -> Result<Self, LabError> {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let world = World::build(topology, far_end)?;
        prepare(&world)?;
        let relay = world.relay()?;
        Ok(Self { relay, world, _turn: turn })
    }
}

impl Running {
    /// `show counters --json`.
    ///
    /// # Panics
    /// The relay does not answer.
    pub fn counters(&self) -> serde_json::Value {
        match self.relay.show_json(&["show", "counters"]) {
            Ok(counters) => counters,
            Err(error) => panic!("{error}; {}", self.relay.log()),
        }
    }

    /// The identity of design §4: every packet ended in exactly one verdict. Traffic must be off;
    /// the last packets may still be on their way through.
    ///
    /// # Panics
    /// It does not hold.
    pub fn assert_identity(&self) {
        let holds = eventually("the identity", Deadline::seconds(20), || {
            let total = &self.counters()["total"];
            let sum = |names: &[&str]| names.iter().map(|name| figure(total, name)).sum::<u64>();
            let came = sum(&["received", "injected", "generated"]);
            let went = sum(&["transmitted", "local", "punted", "dropped", "consumed", "held"]);
            (came == went && came > 0).then_some(())
        });
        assert!(holds.is_ok(), "the identity is broken: {:#}", self.counters());
    }

    /// The frames of each worker by state (`free`, `fill`, …), summed over the workers.
    fn frames(&self, state: &str) -> u64 {
        let counters = self.counters();
        let workers = counters["workers"].as_array().cloned().unwrap_or_default();
        workers.iter().map(|worker| figure(&worker["frames"], state)).sum()
    }

    /// The census: with traffic off all `total` frames are free or in the fill rings again, none is lost
    /// in a batch or in transmission. Gives their number.
    ///
    /// # Panics
    /// Frames are missing.
    pub fn assert_census(&self, total: Option<u64>) -> u64 {
        let complete = eventually("the census", Deadline::seconds(20), || {
            let quiet = ["batch", "held", "tx"].iter().all(|state| self.frames(state) == 0);
            let found = self.frames("free") + self.frames("fill");
            (quiet && found > 0 && total.is_none_or(|total| total == found)).then_some(found)
        });
        complete.unwrap_or_else(|_| panic!("frames are lost of {total:?}: {:#}", self.counters()))
    }
}

fn figure(object: &serde_json::Value, name: &str) -> u64 {
    object[name].as_u64().unwrap_or_else(|| panic!("no figure `{name}` in {object:#}"))
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
