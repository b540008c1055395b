//! When the tunnel prefixes are the kernel's to route to the door. Pure: time is an argument.
//!
//! A data plane that dies is replaced within milliseconds and loses no frame, so its prefixes stay for a
//! moment: a routing protocol that withdrew and announced them again would do more harm. What lasts longer
//! than that is broken, and is withdrawn (6TO4-21).

use std::collections::BTreeSet;

use ipnet::Ipv6Net;

const SECOND_NS: u64 = 1_000_000_000;

/// How long something may be wrong before the routes go, in nanoseconds: the time in which a worker that
/// is stuck is replaced, and a second.
pub(crate) const fn patience_ns(stuck_seconds: u32) -> u64 {
    let patience = if stuck_seconds == 0 { 1 } else { stuck_seconds as u64 };
    (patience + 1).saturating_mul(SECOND_NS)
}

/// Since when the relay does not work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Health {
    broken_since: Option<u64>,
}

/// What the routes should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// They stand.
    Serve,
    /// Those that stand stay, no other is installed.
    Wait,
    /// They go.
    Withdraw,
}

impl Health {
    /// Judges: does everything work now?
    pub(crate) fn judge(&mut self, now: u64, works: bool, patience_ns: u64) -> Verdict {
        if works {
            self.broken_since = None;
            return Verdict::Serve;
        }
        let since = *self.broken_since.get_or_insert(now);
        if now.saturating_sub(since) < patience_ns { Verdict::Wait } else { Verdict::Withdraw }
    }
}

/// Which prefixes are to be installed and which removed.
pub(crate) fn steps(
    verdict: Verdict,
    served: &BTreeSet<Ipv6Net>,
    standing: &BTreeSet<Ipv6Net>,
) -> (Vec<Ipv6Net>, Vec<Ipv6Net>) {
    match verdict {
        Verdict::Serve => {
            (served.difference(standing).copied().collect(), standing.difference(served).copied().collect())
        }
        Verdict::Wait => (Vec::new(), standing.difference(served).copied().collect()),
        Verdict::Withdraw => (Vec::new(), standing.iter().copied().collect()),
    }
}
