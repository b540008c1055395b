//! Instructions per packet, counted by callgrind: the bench runs itself again under valgrind.
//!
//! The count does not depend on the machine's load, only on the binary and the packets, so it can be a
//! gate where time cannot. Valgrind has no AVX-512: what is counted is the path that every processor
//! with AVX2 takes.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::abx::Side;

/// Turns that are counted, after as many that are not.
pub const TURNS: u64 = 100;

/// The argument that makes a bench run one side under the counter.
pub const ARGUMENT: &str = "--counted";

/// The turns between which callgrind counts; its name is what the counter is switched by. Gives the work
/// done.
#[inline(never)]
pub fn counted_turns(side: &mut dyn Side) -> u64 {
    (0..TURNS).map(|_| side.work()).sum()
}

/// The child's part: warms a side up, lets its turns be counted, and prints their number of packets.
///
/// # Errors
/// What the side's check says.
pub fn run_counted(side: &mut dyn Side) -> Result<(), String> {
    let warm: u64 = (0..TURNS).map(|_| side.work()).sum();
    side.check(warm)?;
    let work = counted_turns(side);
    side.check(work)?;
    println!("{work}");
    Ok(())
}

/// Whether there is a valgrind, and which.
#[must_use]
pub fn version() -> Option<String> {
    let output = Command::new("valgrind").arg("--version").output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Instructions per packet of `side`, by running this executable again. The profile is left in `folder`
/// for `callgrind_annotate`.
///
/// # Errors
/// A sentence that names what went wrong.
pub fn instructions(side: &str, folder: &Path) -> Result<f64, String> {
    let executable =
        std::env::current_exe().map_err(|error| format!("no path to this executable: {error}"))?;
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let profile = folder.join(format!("callgrind.{side}"));
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=*counted_turns*"])
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(executable)
        .args([ARGUMENT, side])
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    if !output.status.success() {
        return Err(format!("under valgrind: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let packets: f64 = text.trim().parse().map_err(|_| format!("the child printed {text:?}, not a count"))?;
    let profile = fs::read_to_string(&profile).map_err(|error| format!("{}: {error}", profile.display()))?;
    let total = total(&profile).ok_or("the profile has no total")?;
    if total == 0.0 || packets == 0.0 {
        return Err("callgrind counted nothing".to_owned());
    }
    Ok(total / packets)
}

/// The instructions of a profile.
fn total(profile: &str) -> Option<f64> {
    let line =
        profile.lines().find_map(|line| line.strip_prefix("totals:").or(line.strip_prefix("summary:")))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::total;

    #[test]
    fn totals_are_found() {
        assert_eq!(total("events: Ir\nfn=(1) x\n1 5\ntotals: 4711\n"), Some(4711.0));
        assert_eq!(total("events: Ir\nsummary: 12\n"), Some(12.0));
        assert_eq!(total("events: Ir\n"), None);
    }
}
