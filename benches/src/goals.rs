//! The one table of floors and aims.
//!
//! A floor binds: a case that misses it fails. An aim is worked for: three ideas, each recorded in
//! `docs/PERFORMANCE.md`, before it is left alone. Cases whose mechanism is not built yet stand here
//! too, so that their bench finds what it must hold.

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// More is better: speed relative to a peer.
    Higher,
    /// Less is better: cost, memory, loss.
    Lower,
}

/// What one case of a benchmark must reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goal {
    /// The goal's id, as in the reports.
    pub id: &'static str,
    /// The case's name, unique within the id.
    pub case: &'static str,
    /// Which way is better.
    pub better: Better,
    /// What binds; `None` where a case is only reported.
    pub floor: Option<f64>,
    /// What is worked for.
    pub aim: Option<f64>,
    /// The command that measures it.
    pub command: &'static str,
}

/// A case as good as or better than `floor` when more is better.
const fn at_least(id: &'static str, case: &'static str, floor: f64, aim: f64, command: &'static str) -> Goal {
    Goal { id, case, better: Better::Higher, floor: Some(floor), aim: Some(aim), command }
}

/// The same when less is better.
const fn at_most(id: &'static str, case: &'static str, floor: f64, aim: f64, command: &'static str) -> Goal {
    Goal { id, case, better: Better::Lower, floor: Some(floor), aim: Some(aim), command }
}

const FIB: &str = "make bench-fib";
const PIPELINE: &str = "make bench-pipeline";
const WIRE: &str = "make bench-wire";
const TUNNELS: &str = "make bench-tunnels";
const TEREDO: &str = "make bench-teredo";

/// Every case. Where no aim is written down, it is the floor. Bytes, seconds and counts are absolute,
/// everything else is a ratio measured in one run.
pub const GOALS: &[Goal] = &[
    at_least("G1", "cold", 1.3, 2.5, FIB),
    at_least("G2", "hot", 0.95, 1.3, FIB),
    at_least("G3", "batch", 2.0, 2.0, FIB),
    at_least("G3", "single", 1.0, 1.0, FIB),
    at_least("G4", "cold", 0.9, 1.5, FIB),
    at_least("G4", "hot", 0.55, 1.0, FIB),
    at_least("G4", "random", 1.5, 2.5, FIB),
    at_most("G4", "memory", 1.0 / 4.0, 1.0 / 6.0, FIB),
    at_most("G5", "v4-bytes", 8.0, 6.0, FIB),
    at_most("G5", "v6-bytes", 18.0, 12.0, FIB),
    at_most("G5", "vs-fib6", 1.0 / 30.0, 1.0 / 30.0, FIB),
    at_least("G6", "load", 2.0, 5.0, FIB),
    at_most("G6", "visible", 1.0, 1.0, FIB),
    at_least("G7", "lookups", 0.95, 0.97, FIB),
    at_most("G8", "p99", 10.0, 10.0, FIB),
    at_least("G9", "lookups", 0.98, 0.98, FIB),
    at_most("G10", "native-84", 2.5, 2.5, PIPELINE),
    at_most("G10", "encap-84", 3.8, 3.8, PIPELINE),
    at_most("G10", "decap-84", 3.6, 3.6, PIPELINE),
    at_most("G10", "teredo-encap-84", 5.4, 5.4, TEREDO),
    at_most("G10", "teredo-decap-84", 4.8, 4.8, TEREDO),
    at_most("G11", "native-84", 190.0, 190.0, PIPELINE),
    at_most("G11", "encap-84", 290.0, 290.0, PIPELINE),
    at_most("G11", "decap-84", 280.0, 280.0, PIPELINE),
    at_most("G11", "teredo-encap-84", 430.0, 430.0, TEREDO),
    at_most("G11", "teredo-decap-84", 390.0, 390.0, TEREDO),
    at_least("G12", "native-84", 0.95, 0.95, WIRE),
    at_least("G12", "encap-84", 0.95, 0.95, WIRE),
    at_least("G12", "decap-84", 0.95, 0.95, WIRE),
    at_least("G12", "teredo-84", 0.92, 0.92, TEREDO),
    at_least("G12", "teredo-1280", 0.90, 0.90, TEREDO),
    at_least("G13", "c-l2fwd", 0.97, 0.97, WIRE),
    at_least("G13", "testpmd", 0.95, 0.95, WIRE),
    at_least("G14", "full-table", 1.0, 1.5, WIRE),
    Goal { id: "R15", case: "encap", better: Better::Higher, floor: None, aim: None, command: WIRE },
    Goal { id: "R15", case: "decap", better: Better::Higher, floor: None, aim: None, command: WIRE },
    at_least("G16", "pps", 3.0, 3.5, TEREDO),
    at_most("G16", "cpu", 1.0 / 10.0, 1.0 / 15.0, TEREDO),
    at_least("G17", "wire", 0.93, 0.93, WIRE),
    at_least("G17", "memory", 0.60, 0.60, PIPELINE),
    at_most("G18", "faults", 0.0, 0.0, WIRE),
    at_most("G18", "syscalls", 1.0 / 32.0, 1.0 / 128.0, WIRE),
    at_most("G19", "p999", 1.5, 1.1, WIRE),
    at_least("G20", "goodput", 0.95, 0.95, WIRE),
    at_most("G20", "identity", 0.0, 0.0, WIRE),
    at_most("G21", "lco", 1.15, 1.15, TEREDO),
    at_most("G21", "full", 2.2, 2.2, TEREDO),
    at_most("G21", "equal", 0.0, 0.0, TEREDO),
    at_least("G22", "two-workers", 1.85, 1.85, PIPELINE),
    at_least("G23", "clustered", 0.80, 0.95, TUNNELS),
    at_least("G23", "random", 0.80, 0.95, TUNNELS),
    at_most("G23", "load", 1.0, 1.0, TUNNELS),
    at_least("G24", "peers", 0.60, 0.70, TEREDO),
    at_most("G24", "memory", 268_435_456.0, 268_435_456.0, TEREDO),
    at_least("G24", "setup", 20_000.0, 40_000.0, TEREDO),
    at_most("G25", "upgrade", 0.0, 0.0, WIRE),
    at_most("G25", "control-kill", 0.0, 0.0, WIRE),
    at_most("G25", "reload", 0.0, 0.0, WIRE),
    at_most("G25", "route-visible", 0.1, 0.02, WIRE),
];

/// Most instructions per packet of the null forwarder, without which G10 says nothing.
pub const NULL_INSTRUCTIONS: f64 = 60.0;

/// By how much a case of G11 may exceed what was recorded ([`BASELINE`]).
pub const REGRESSION: f64 = 1.02;

/// Instructions per packet as recorded last, by case of G11. Lowered when the path gets better.
pub const BASELINE: &[(&str, f64)] = &[("native-84", 267.2), ("encap-84", 387.4), ("decap-84", 313.2)];

/// The goal of a case.
#[must_use]
pub fn goal(id: &str, case: &str) -> Option<&'static Goal> {
    GOALS.iter().find(|goal| goal.id == id && goal.case == case)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_stands_here_once_and_no_aim_is_behind_its_floor() {
        for (index, goal) in GOALS.iter().enumerate() {
            let same = |other: &&Goal| (other.id, other.case) == (goal.id, goal.case);
            assert_eq!(GOALS.iter().position(|other| same(&other)), Some(index), "{} {}", goal.id, goal.case);
            if let (Some(floor), Some(aim)) = (goal.floor, goal.aim) {
                let ahead = if goal.better == Better::Higher { aim >= floor } else { aim <= floor };
                assert!(ahead, "{} {}", goal.id, goal.case);
            }
        }
        assert!(BASELINE.iter().all(|(case, _)| goal("G11", case).is_some()));
    }
}
