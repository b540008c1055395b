//! The answer to `show memory`: what the tables take, and what the processes do.

use serde_json::{Value, json};

use super::control::Control;

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
            "processes": processes(),
        })
    }
}

/// The processes of this relay: control itself, its keeper, and the keeper's other children.
fn processes() -> Vec<Value> {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let keeper = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    let keeper = keeper.filter(|&pid| name(pid).as_deref() == Some("sixlane"));
    let children =
        keeper.and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok());
    let siblings =
        children.iter().flat_map(|list| list.split_whitespace()).filter_map(|pid| pid.parse().ok());
    let mut found: Vec<(i32, &str)> = keeper.map(|pid| (pid, "keeper")).into_iter().collect();
    found.push((own, "control"));
    found.extend(siblings.filter_map(|pid: i32| match name(pid)?.as_str() {
        "sixlane-data" => Some((pid, "dataplane")),
        "sixlane-observe" => Some((pid, "observer")),
        _ => None,
    }));
    found.into_iter().map(|(pid, process)| shown(pid, process)).collect()
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
