//! Who owns which laboratory, and the reaper.
//!
//! Every laboratory has a directory `/run/sixlane-lab/<prefix>` with a file `owner` that names the
//! process that made it (number and start time) or says `kept`. At the next start whatever
//! belongs to a process that is gone is removed: processes in its namespaces, the namespaces
//! (with them interfaces, programs and tables), the directory.

use crate::{LabError, run};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the directories of all laboratories are.
const ROOT: &str = "/run/sixlane-lab";

/// Begins every name.
const PREFIX: &str = "sx";

/// Says in the owner file that the laboratory outlives its maker.
const KEPT: &str = "kept";

/// Makes a new laboratory's name and directory.
///
/// # Errors
/// Not root, or `/run` cannot be written.
pub(crate) fn claim() -> Result<(String, PathBuf), LabError> {
    if !rustix::process::geteuid().is_root() {
        return Err(LabError::NotRoot);
    }
    let mut random = [0_u8; 3];
    getrandom::fill(&mut random)
        .map_err(|error| LabError::io("a random name", std::io::Error::other(error)))?;
    let prefix = format!("{PREFIX}{:02x}{:02x}{:02x}", random[0], random[1], random[2]);
    let directory = Path::new(ROOT).join(&prefix);
    let staged = Path::new(ROOT).join(format!(".{prefix}"));
    std::fs::create_dir_all(&staged)
        .map_err(|error| LabError::io(format!("making {}", staged.display()), error))?;
    std::fs::write(staged.join("owner"), myself())
        .and_then(|()| std::fs::rename(&staged, &directory))
        .map_err(|error| LabError::io(format!("making {}", directory.display()), error))?;
    Ok((prefix, directory))
}

/// Says that the laboratory outlives this process.
pub(crate) fn keep(prefix: &str) -> Result<(), LabError> {
    let file = Path::new(ROOT).join(prefix).join("owner");
    std::fs::write(&file, KEPT).map_err(|error| LabError::io(format!("writing {}", file.display()), error))
}

/// Removes everything of one laboratory. What is already gone is no failure.
pub(crate) fn remove(prefix: &str) {
    for namespace in namespaces(prefix) {
        end_processes(&namespace);
        let _ = run::run(Command::new("ip").args(["netns", "del", &namespace]));
    }
    let _ = std::fs::remove_dir_all(Path::new(ROOT).join(prefix));
}

/// Removes what laboratories of dead owners left; gives their names.
pub fn reap() -> Vec<String> {
    let mut reaped = Vec::new();
    for prefix in all() {
        let owner = std::fs::read_to_string(Path::new(ROOT).join(&prefix).join("owner"));
        if owner.is_ok_and(|owner| owner != KEPT && !alive(&owner)) {
            remove(&prefix);
            reaped.push(prefix);
        }
    }
    reaped
}

/// The laboratories that `sixlane lab up` left running.
pub fn kept() -> Vec<String> {
    let is_kept = |prefix: &String| {
        std::fs::read_to_string(Path::new(ROOT).join(prefix).join("owner")).is_ok_and(|owner| owner == KEPT)
    };
    all().into_iter().filter(is_kept).collect()
}

fn all() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(ROOT) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(PREFIX))
        .collect()
}

fn namespaces(prefix: &str) -> Vec<String> {
    let begin = format!("{prefix}-");
    let Ok(entries) = std::fs::read_dir("/run/netns") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(&begin))
        .collect()
}

/// The numbers of the processes inside a namespace.
pub(crate) fn processes(namespace: &str) -> Vec<i32> {
    run::run(Command::new("ip").args(["netns", "pids", namespace]))
        .map(|text| text.lines().filter_map(|line| line.trim().parse().ok()).collect())
        .unwrap_or_default()
}

fn end_processes(namespace: &str) {
    // A process may have been forking while it was killed: look again until there is none.
    for _ in 0..5 {
        let pids: Vec<i32> =
            processes(namespace).into_iter().filter(|pid| !is_zombie(*pid) && !is_myself(*pid)).collect();
        if pids.is_empty() {
            return;
        }
        run::end_all(&pids);
    }
}

fn is_myself(pid: i32) -> bool {
    u32::try_from(pid).is_ok_and(|pid| pid == std::process::id())
}

fn is_zombie(pid: i32) -> bool {
    stat(pid).is_none_or(|(state, _)| state == 'Z')
}

/// This process in the form of an owner file.
fn myself() -> String {
    let pid = std::process::id();
    let start = i32::try_from(pid).ok().and_then(stat).map_or(0, |(_, start)| start);
    format!("{pid} {start}")
}

fn alive(owner: &str) -> bool {
    let mut words = owner.split_whitespace();
    let pid = words.next().and_then(|word| word.parse().ok());
    let start: Option<u64> = words.next().and_then(|word| word.parse().ok());
    pid.and_then(stat).is_some_and(|(state, began)| state != 'Z' && Some(began) == start)
}

/// State letter and start time (ticks since boot) of a process, from `/proc/PID/stat`.
fn stat(pid: i32) -> Option<(char, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?.chars().next()?;
    let start = fields.nth(18)?.parse().ok()?;
    Some((state, start))
}

#[cfg(test)]
mod tests {
    use super::{alive, myself, stat};

    #[test]
    fn an_owner_is_a_number_and_a_start_time() {
        assert!(alive(&myself()));
        let pid = std::process::id();
        assert!(!alive(&format!("{pid} 1")), "the number was reused by another process");
        assert!(!alive("garbage"));
        assert!(stat(1).is_some());
    }
}
