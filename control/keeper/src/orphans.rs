//! Children that a killed keeper left behind: they hold links and sockets, and nobody can take these
//! over from them yet, so they are ended before a fresh start.

use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::runtime::Noted;

/// How long the kernel may take to end a killed process.
const PATIENCE: Duration = Duration::from_secs(3);

/// Kills the noted processes that still live and waits for their end: all at once, because each may take
/// its time in giving up its interfaces. While they go, the fence of the instance before stands, so the
/// kernel answers no tunnel packet.
pub(crate) fn end(noted: &[Noted]) {
    let mut ending = Vec::new();
    for process in noted {
        let Some(pid) = Pid::from_raw(process.pid) else {
            continue;
        };
        // The pidfd first, then the look at the start time: what is killed is what was looked at.
        let Ok(pidfd) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else {
            continue;
        };
        if !process.lives() {
            continue;
        }
        tracing::warn!("ending process {} of a keeper that was killed", process.pid);
        if rustix::process::pidfd_send_signal(&pidfd, Signal::KILL).is_ok() {
            ending.push((process.pid, pidfd));
        }
    }
    let patience = rustix::time::Timespec::try_from(PATIENCE).ok();
    for (pid, pidfd) in ending {
        if !matches!(poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], patience.as_ref()), Ok(1)) {
            tracing::warn!("process {pid} was killed and has not ended in {} s", PATIENCE.as_secs());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn only_the_very_process_is_ended() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let noted = Noted::of(child.id().cast_signed()).unwrap();
        let other = Noted { started: noted.started + 1, ..noted };
        end(&[other]);
        assert!(child.try_wait().unwrap().is_none());
        end(&[noted]);
        assert!(!child.wait().unwrap().success());
    }
}
