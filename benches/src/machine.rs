//! The machine under the benchmark: what it is, and whether it disturbed a slice.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// CPU time of this thread.
#[must_use]
pub fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// Signs that somebody took the processor away: they must not move during a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disturbance {
    /// Involuntary context switches of this thread.
    switches: u64,
    /// Ticks that the hypervisor took from the processor this thread runs on, or 0 where it cannot be told.
    steal: u64,
}

impl Disturbance {
    /// The signs now.
    #[must_use]
    pub fn now() -> Self {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        Self { switches: switches(&status), steal: steal(&stat, rustix::thread::sched_getcpu()) }
    }
}

fn switches(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

fn steal(stat: &str, cpu: usize) -> u64 {
    let name = format!("cpu{cpu} ");
    let line = stat.lines().find_map(|line| line.strip_prefix(&name));
    line.and_then(|line| line.split_whitespace().nth(7)).and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// Pins this thread to one of the processors it may use, the last one (interrupts like the first).
/// Gives its number.
#[must_use]
pub fn pin() -> Option<usize> {
    let core = core_affinity::get_core_ids()?.into_iter().next_back()?;
    core_affinity::set_for_current(core).then_some(core.id)
}

/// The commit in `root`, with `+` when tracked files have changes; `unknown` outside a repository.
#[must_use]
pub fn commit(root: &Path) -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").arg("-C").arg(root).args(args).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_owned() };
    let clean = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|text| text.is_empty());
    if clean { commit } else { commit + "+" }
}

/// Kernel, processor, flags that matter and mitigations, on one line: no figure is worth more than this.
#[must_use]
pub fn line() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let cpuinfo = read("/proc/cpuinfo");
    let field = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name));
        line.and_then(|line| line.split_once(':')).map_or("unknown", |(_, value)| value.trim())
    };
    let flags = field("flags").split(' ').filter(|flag| ["avx2", "avx512f", "bmi2"].contains(flag));
    let flags: Vec<_> = flags.collect();
    let processors = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let mut mitigations = Vec::new();
    for name in ["spectre_v2", "spec_rstack_overflow", "mds"] {
        let state = read(&format!("/sys/devices/system/cpu/vulnerabilities/{name}"));
        if !state.is_empty() {
            mitigations.push(format!("{name}: {state}"));
        }
    }
    format!(
        "{processors} x {} (family {}, model {}; {}), {} cache, Linux {}, {}",
        field("model name"),
        field("cpu family"),
        field("model"),
        flags.join(" "),
        field("cache size"),
        read("/proc/sys/kernel/osrelease"),
        mitigations.join("; ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_read_from_their_lines() {
        assert_eq!(switches("voluntary_ctxt_switches:\t9\nnonvoluntary_ctxt_switches:\t12\n"), 12);
        let stat = "cpu  1 2 3 4 5 6 7 8 9 0\ncpu0 1 2 3 4 5 6 7 80 9 0\ncpu1 1 2 3 4 5 6 7 81 9 0\n";
        assert_eq!((steal(stat, 0), steal(stat, 1), steal(stat, 7)), (80, 81, 0));
    }

    #[test]
    fn the_machine_has_a_name() {
        assert!(line().contains("Linux "), "{}", line());
    }
}
