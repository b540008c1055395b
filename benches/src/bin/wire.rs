//! `make bench-wire`: the worker's rate over AF_XDP sockets on veth pairs, relative to that of a bare forwarder
//! over the same sockets (G12).

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use sixlane_benches::abx::{self, Outcome, Plan};
use sixlane_benches::goals;
use sixlane_benches::machine;
use sixlane_benches::results::{Report, Verdict};
use sixlane_benches::rig::Case;
use sixlane_benches::wire::bench::{Course, Lane};
use sixlane_benches::wire::{Bench, Ground, Pace, Pass, Sink, Stream, Traffic};
use sixlane_lab::LabError;

/// Destinations, as in rig M.
const DESTINATIONS: u32 = 20_000;
/// Frames of a call to the kernel.
const BURST: u32 = 4096;

/// The repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

fn main() -> ExitCode {
    match bench() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("bench-wire: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bench() -> Result<u8, String> {
    let root = root();
    let mut report = Report::new(&root, machine::commit(&root));
    println!("machine: {}", machine::line());
    match ground()? {
        Ok((ground, cores)) => measure(&mut report, ground, cores)?,
        Err(reason) => {
            for case in Case::ALL {
                report.add(goal(case)?, None, Verdict::Skip, (0, 0), reason.clone());
            }
        }
    }
    report.finish().map_err(|error| format!("results: {error}"))?;
    Ok(u8::try_from(report.exit_code()).unwrap_or(1))
}

fn goal(case: Case) -> Result<&'static goals::Goal, String> {
    goals::goal("G12", case.name()).ok_or_else(|| format!("G12 {} has no floor", case.name()))
}

/// Processors of generator and passes.
type Cores = (usize, usize);

/// The rig's world, or why this machine cannot have it.
fn ground() -> Result<Result<(Ground, Cores), String>, String> {
    if !rustix::process::geteuid().is_root() {
        return Ok(Err("only root can make namespaces".to_owned()));
    }
    let ids: Vec<usize> = core_affinity::get_core_ids().into_iter().flatten().map(|core| core.id).collect();
    let (Some(first), Some(last)) = (ids.first(), ids.last()) else {
        return Ok(Err("the processors cannot be told".to_owned()));
    };
    if first == last {
        return Ok(Err("generator and relay need a processor each".to_owned()));
    }
    match Ground::build() {
        Ok(ground) => Ok(Ok((ground, (*first, *last)))),
        Err(error @ LabError::Missing { .. }) => Ok(Err(error.to_string())),
        Err(error @ LabError::Command { .. }) => Ok(Err(format!("no namespaces or wires: {error}"))),
        Err(error) => Err(error.to_string()),
    }
}

fn measure(report: &mut Report, mut ground: Ground, cores: Cores) -> Result<(), String> {
    println!(
        "rig V: g0 - r0 (relay) r1 - g1, veth, AF_XDP copy mode, one queue; live frames from CPU {}, passes, their \
         sends and the sink on CPU {}; {DESTINATIONS} destinations, 1,024 routes of each family",
        cores.0, cores.1
    );
    let mut bench = Bench::new(&mut ground)?;
    println!("rings: {}", bench.rings());
    let _ = machine::pin();
    for case in Case::ALL {
        let goal = goal(case)?;
        let traffic = Traffic { case, destinations: DESTINATIONS };
        let sink = Sink::attach(&ground.target, "g1", traffic.wish())?;
        let stream = Stream::start(&ground.source, "g0", &traffic, Pace::Saturating(BURST), Some(cores.0))?;
        let began = Instant::now();
        let course = Rc::new(RefCell::new(Course::new(bench, sink, case)));
        let (mut l2fwd, mut relay) = (Lane::new(&course, Pass::L2fwd), Lane::new(&course, Pass::Relay));
        let plan = Plan { slice: Duration::from_millis(400), ..Plan::default() };
        // The cost of the forwarder relative to the relay's is the rate of the relay relative to its.
        let outcome =
            abx::decide(|| abx::compare(&mut l2fwd, &mut relay, &plan), |figure| figure.verdict(goal));
        let (took, offered) = (began.elapsed(), stream.stop()?);
        let (outcome, verdict) = outcome?;
        drop((l2fwd, relay));
        let course = Rc::into_inner(course).ok_or("a side has outlived its comparison")?.into_inner();
        let offered = offered as f64 / took.as_secs_f64() / 1e6;
        let note = describe(&outcome, offered, course.starved);
        report.add(goal, outcome.figure, verdict, (outcome.samples, outcome.rejected), note);
        bench = course.into_bench();
        bench.drain();
    }
    Ok(())
}

fn describe(outcome: &Outcome, offered: f64, starved: u64) -> String {
    let rate = |ns: f64| if ns > 0.0 { 1e3 / ns } else { 0.0 };
    let (l2fwd, relay) = (rate(outcome.ns.0), rate(outcome.ns.1));
    let (add, load) = outcome.canary;
    format!(
        "relay {relay:.3} Mpps, l2fwd {l2fwd:.3} Mpps at the sink, offered {offered:.2} Mpps; {starved} slices with \
         too few packets; canary {add:.2} ns/add, {load:.2} ns/load"
    )
}
