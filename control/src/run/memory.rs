//! The answer to `show memory`: what the tables take, and what the processes do.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use super::control::Control;

/// The processes by what the kernel calls them.
const ROLES: [(&str, &str); 4] = [
    ("sixlane", "keeper"),
    ("sixlane-control", "control"),
    ("sixlane-data", "dataplane"),
    ("sixlane-observe", "observer"),
];

/// Bytes of a frame (a chunk of the UMEM).
const FRAME_BYTES: u64 = 2048;

impl Control {
    pub(super) fn memory(&self) -> Value {
        let memory = self.parts.publisher.writer().memory();
        json!({
            "tables": {
                "capacity_bytes": memory.capacity,
                "used_bytes": memory.used,
                "segments": memory.segments,
                "adjacencies": memory.adjacencies,
                "waiting": memory.waiting,
                "routes4": memory.routes4,
                "routes6": memory.routes6,
            },
            "frames_bytes": self.parts.workers.frames() * FRAME_BYTES,
            "processes": processes(&self.parts.options.runtime_dir),
        })
    }
}

/// The processes of this relay, by what the keeper writes down in the runtime directory: its own number and those
/// of its children, also of those that it has taken over and that are no children of its own.
fn processes(runtime: &Path) -> Vec<Value> {
    let text = |name| std::fs::read_to_string(runtime.join(name)).unwrap_or_default();
    let keeper = text("lock").trim().parse().ok();
    let children = keeper.map(|pid: i32| std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")));
    let children = children.and_then(Result::ok).unwrap_or_default();
    let noted = text("children");
    let noted = noted.lines().filter_map(|line| line.split_whitespace().next());
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let numbers: BTreeSet<i32> = noted
        .chain(children.split_whitespace())
        .filter_map(|word| word.parse().ok())
        .chain(keeper)
        .chain([own])
        .collect();
    let process = |pid: i32| {
        let comm = name(pid)?;
        let is = |role: &(&str, &str)| if pid == own { role.1 == "control" } else { role.0 == comm };
        Some((ROLES.iter().position(is)?, pid))
    };
    let found: BTreeSet<(usize, i32)> = numbers.into_iter().filter_map(process).collect();
    found.into_iter().filter_map(|(order, pid)| Some(shown(pid, ROLES.get(order)?.1))).collect()
}

fn name(pid: i32) -> Option<String> {
    Some(std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim_end().to_owned())
}

fn shown(pid: i32, process: &str) -> Value {
    let pages = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let page = u64::try_from(rustix::param::page_size()).unwrap_or(0);
    let field = |at: usize| {
        let pages: Option<u64> = pages.split_whitespace().nth(at).and_then(|word| word.parse().ok());
        pages.map(|pages| pages * page)
    };
    json!({ "process": process, "pid": pid, "resident_bytes": field(1), "shared_bytes": field(2) })
}
