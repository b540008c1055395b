//! Children that a killed keeper left behind and that cannot be taken over ([`crate::adopt`]): they hold
//! links and sockets, so they are ended before a fresh start.

use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::runtime::NotedChild;

/// How long the kernel may take to end a killed process.
const PATIENCE: Duration = Duration::from_secs(3);

/// Kills the noted processes that still live and waits for their end: all at once, because each may take
/// its time in giving up its interfaces. While they go, the fence of the instance before stands, so the
/// kernel answers no tunnel packet.
pub(crate) fn end(noted: &[NotedChild]) {
    let mut ending = Vec::new();
    for NotedChild { process, .. } in noted {
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
    use crate::runtime::Noted;

    #[test]
    fn only_the_very_process_is_ended() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = Noted::of(child.id().cast_signed()).unwrap();
        let noted = NotedChild { process, role: "control".into(), number: 1 };
        let process = Noted { started: process.started + 1, ..process };
        let other = NotedChild { process, ..noted.clone() };
        end(&[other]);
        assert!(child.try_wait().unwrap().is_none());
        end(&[noted]);
        assert!(!child.wait().unwrap().success());
    }
}
