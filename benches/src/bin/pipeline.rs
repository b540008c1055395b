//! `make bench-pipeline`: what a packet costs in the worker, without wires (G10, G11).

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use sixlane_benches::abx::{self, Plan};
use sixlane_benches::callgrind;
use sixlane_benches::goals::{self, Goal, NULL_INSTRUCTIONS, REGRESSION};
use sixlane_benches::machine;
use sixlane_benches::results::{Figure, Report, Verdict};
use sixlane_benches::rig::{self, Case, HOT, Null, Relay, Set, WIDE};
use sixlane_benches::turns;
use sixlane_tables::Tables;

/// The null forwarder's name under the counter.
const NULL: &str = "null";

/// The repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.as_slice() {
        [flag, side, ..] if flag == callgrind::ARGUMENT => counted(side).map(|()| 0),
        _ => bench(),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("bench-pipeline: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The child under the counter: one side, the same packets every time.
fn counted(side: &str) -> Result<(), String> {
    let tables = tables()?;
    let Some(case) = Case::ALL.into_iter().find(|case| case.name() == side) else {
        return callgrind::run_counted(&mut Null::new(&rig::packets(Case::Native, &HOT), HOT.frames)?);
    };
    callgrind::run_counted(&mut Relay::new(tables, &rig::packets(case, &HOT), HOT.frames, false)?)
}

fn tables() -> Result<Arc<Tables>, String> {
    rig::tables().map_err(|error| format!("no tables: {error}"))
}

fn bench() -> Result<u8, String> {
    let root = root();
    let mut report = Report::new(&root, machine::commit(&root));
    println!("machine: {}", machine::line());
    let null = instructions(&mut report, &root)?;
    time(&mut report, null)?;
    tails()?;
    report.finish().map_err(|error| format!("results: {error}"))?;
    Ok(u8::try_from(report.exit_code()).unwrap_or(1))
}

fn goal(id: &str, case: Case) -> Result<&'static Goal, String> {
    goals::goal(id, case.name()).ok_or_else(|| format!("{id} {} has no floor", case.name()))
}

/// G11. Gives the null forwarder's instructions per packet, if they could be counted.
fn instructions(report: &mut Report, root: &Path) -> Result<Option<f64>, String> {
    let Some(version) = callgrind::version() else {
        for case in Case::ALL {
            let note = "valgrind is missing (make deps-bench installs it)".to_owned();
            report.add(goal("G11", case)?, None, Verdict::Skip, (0, 0), note);
        }
        return Ok(None);
    };
    let folder = root.join("target/bench");
    let null = callgrind::instructions(NULL, &folder)?;
    for case in Case::ALL {
        let goal = goal("G11", case)?;
        let figure = Figure::exact(callgrind::instructions(case.name(), &folder)?);
        let mut verdict = figure.verdict(goal);
        let mut note = format!("null forwarder {null:.1}; {version}, L2-hot set");
        let recorded = goals::BASELINE.iter().find(|(name, _)| *name == case.name());
        if let Some((_, recorded)) = recorded.filter(|(_, recorded)| figure.ratio > recorded * REGRESSION) {
            verdict = Verdict::Fail;
            note = format!("above the recorded {recorded:.1} by more than 2 %; {note}");
        }
        let packets = callgrind::TURNS as usize * 64;
        report.add(goal, Some(figure), verdict, (packets, 0), note);
    }
    Ok(Some(null))
}

/// G10: the wide set of frames is judged, the hot one stands in the note.
fn time(report: &mut Report, null: Option<f64>) -> Result<(), String> {
    let core = machine::pin().map_or_else(|| "not pinned".to_owned(), |core| format!("pinned to CPU {core}"));
    for case in Case::ALL {
        let goal = goal("G10", case)?;
        if let Some(null) = null.filter(|null| *null > NULL_INSTRUCTIONS) {
            let note = format!(
                "void: the null forwarder takes {null:.1} instructions, more than {NULL_INSTRUCTIONS}"
            );
            report.add(goal, None, Verdict::Fail, (0, 0), note);
            continue;
        }
        let (outcome, verdict) = compare(case, WIDE, goal)?;
        let (hot, _) = compare(case, HOT, goal)?;
        let note = format!("{}; {}; {core}", describe(WIDE, &outcome), describe(HOT, &hot));
        report.add(goal, outcome.figure, verdict, (outcome.samples, outcome.rejected), note);
    }
    Ok(())
}

/// Single turns of up to 64 packets, in nanoseconds. Reported, not judged: the tail is mostly the machine's.
fn tails() -> Result<(), String> {
    println!("turns, ns         p50      p99    p99.9        max");
    let mut null = Null::new(&rig::packets(Case::Native, &WIDE), WIDE.frames)?;
    println!("{}", turns::line(NULL, &turns::times(&mut null)?));
    for case in Case::ALL {
        let mut relay = Relay::new(tables()?, &rig::packets(case, &WIDE), WIDE.frames, true)?;
        println!("{}", turns::line(case.name(), &turns::times(&mut relay)?));
    }
    Ok(())
}

fn compare(case: Case, set: Set, goal: &Goal) -> Result<(abx::Outcome, Verdict), String> {
    let packets = rig::packets(case, &set);
    let mut relay = Relay::new(tables()?, &packets, set.frames, true)?;
    let mut null = Null::new(&packets, set.frames)?;
    let plan = Plan::default();
    abx::decide(|| abx::compare(&mut relay, &mut null, &plan), |figure| figure.verdict(goal))
}

fn describe(set: Set, outcome: &abx::Outcome) -> String {
    let (relay, null) = outcome.ns;
    let (add, load) = outcome.canary;
    let ratio =
        outcome.figure.map_or_else(|| "too noisy".to_owned(), |figure| format!("{:.2}", figure.ratio));
    format!(
        "{}: {ratio} ({relay:.1} ns against {null:.1} ns; {} pairs, {} rejected; canary {add:.2} ns/add, {load:.2} ns/load)",
        set.name, outcome.samples, outcome.rejected
    )
}
