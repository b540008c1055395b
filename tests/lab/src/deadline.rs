//! Waiting: always for an event or a condition, never for a length of time.

use crate::LabError;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// A point in time after which waiting becomes a failure.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    start: Instant,
    allowed: Duration,
}

impl Deadline {
    /// A deadline `allowed` from now.
    pub fn after(allowed: Duration) -> Self {
        Self { start: Instant::now(), allowed }
    }

    /// A deadline a whole number of seconds from now.
    pub fn seconds(seconds: u64) -> Self {
        Self::after(Duration::from_secs(seconds))
    }

    /// What is left; zero when it has passed.
    pub fn left(&self) -> Duration {
        self.allowed.saturating_sub(self.start.elapsed())
    }

    /// Whether it has passed.
    pub fn passed(&self) -> bool {
        self.left().is_zero()
    }

    /// How long has been waited.
    pub fn waited(&self) -> Duration {
        self.start.elapsed()
    }

    /// The failure of not having seen `what` in time.
    pub fn missed(&self, what: impl Into<String>) -> LabError {
        LabError::Timeout { what: what.into(), waited: self.allowed, detail: String::new() }
    }
}

/// Waits until the descriptor is readable (or at its end) or the deadline has passed.
///
/// # Errors
/// The system's refusal to poll.
pub fn readable(fd: impl AsFd, deadline: &Deadline) -> Result<bool, LabError> {
    loop {
        let left = deadline.left();
        let time = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        let mut fds = [PollFd::new(&fd, PollFlags::IN)];
        match poll(&mut fds, Some(&time)) {
            Ok(0) if deadline.passed() => return Ok(false),
            Ok(0) | Err(rustix::io::Errno::INTR) if crate::interrupt::requested() => {
                return Err(LabError::Interrupted);
            }
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(LabError::io("poll", error)),
        }
    }
}

/// Looks at a condition again and again until it gives a value, for states of the system that
/// have no event of their own (a kernel table, another process's answer).
///
/// # Errors
/// The condition did not become true before the deadline.
pub fn eventually<T>(
    what: &str,
    deadline: Deadline,
    mut look: impl FnMut() -> Option<T>,
) -> Result<T, LabError> {
    loop {
        if let Some(value) = look() {
            return Ok(value);
        }
        if deadline.passed() {
            return Err(deadline.missed(what));
        }
        if crate::interrupt::requested() {
            return Err(LabError::Interrupted);
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
}
