//! The source of routes that zebra is: bytes in, changed prefixes out. It knows no socket and no clock.
//!
//! **Mark and sweep.** Zebra tells all that it has at the beginning of a connection, and never says that it
//! has told all. So the routes of a connection that is lost stay for [`Settings::keep_ns`]; what no later
//! connection has told by then goes. If zebra is in the middle of telling just then, it is waited for, as
//! long again at most.
//!
//! **A changed route** comes as a withdrawal and an announcement, one after the other. The last withdrawal
//! waits for what follows it, so that a route which changes is never missing.

use std::collections::{BTreeSet, VecDeque};

use ipnet::IpNet;

use super::frame::{FrameError, Frames};
use super::routes::Routes;
use crate::netlink::attribute::{RawMessage, messages};
use crate::netlink::next_hop::parse_next_hop;
use crate::netlink::route::parse_route;
use crate::netlink::uapi::{RTM_DELNEXTHOP, RTM_DELROUTE, RTM_NEWNEXTHOP, RTM_NEWROUTE, RTPROT_SIXLANE};

/// RTPROT_KERNEL: what zebra has from the kernel itself: connected prefixes and others' routes.
const RTPROT_KERNEL: u8 = 2;
/// So long zebra is silent when it has told all that it had.
const QUIET_NS: u64 = 1_000_000_000;
/// So long a withdrawal waits for the announcement that belongs to it.
const PAIR_NS: u64 = 5_000_000;
/// Lost connections that are told apart; those after them are swept with the last.
const LOST_MAX: usize = 64;
/// After a refusal zebra is asked to tell all again when the routes fill no more than this part of the limit.
const EASED: (usize, usize) = (7, 8);

/// What is configured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// How long routes stay whose connection is lost.
    pub(crate) keep_ns: u64,
    /// Most routes, IPv4 and IPv6.
    pub(crate) limits: [usize; 2],
}

/// What has come so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Connections.
    pub(crate) connections: u64,
    /// Connections that were refused, because it was not zebra's user.
    pub(crate) strangers: u64,
    /// Announcements and withdrawals of routes.
    pub(crate) changes: u64,
    /// Routes that are the kernel's to tell, of tables that are not followed, and other messages.
    pub(crate) ignored: u64,
    /// Messages that are not what they say.
    pub(crate) malformed: u64,
    /// Routes over the limit.
    pub(crate) over_limit: u64,
    /// Routes that were not told again in time.
    pub(crate) swept: u64,
}

/// A connection.
#[derive(Debug, Clone, Copy)]
struct Live {
    since_ns: u64,
    heard_ns: u64,
}

/// Prefix and table of the last withdrawal, with its time.
#[derive(Debug, Clone, Copy)]
struct Withdrawn {
    net: IpNet,
    table: u32,
    at_ns: u64,
}

/// The source.
#[derive(Debug)]
pub(crate) struct Source {
    settings: Settings,
    pub(crate) routes: Routes,
    pub(crate) counts: Counts,
    frames: Frames,
    /// Number of the last connection.
    session: u32,
    live: Option<Live>,
    /// Lost connections and when what only they have told is swept.
    lost: VecDeque<(u32, u64)>,
    withdrawn: Option<Withdrawn>,
    /// Some route was refused, so that what is known is not all.
    refused: bool,
}

impl Source {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            routes: Routes::default(),
            counts: Counts::default(),
            frames: Frames::empty(),
            session: 0,
            live: None,
            lost: VecDeque::new(),
            withdrawn: None,
            refused: false,
        }
    }

    /// Whether there is a connection.
    pub(crate) const fn connected(&self) -> bool {
        self.live.is_some()
    }

    /// Whether routes are missing because of the limit.
    pub(crate) const fn over_limit(&self) -> bool {
        self.refused
    }

    /// Whether there is a connection by which all has been told, as far as can be seen.
    pub(crate) fn told(&self, now: u64) -> bool {
        self.live.is_some_and(|live| now >= live.heard_ns.saturating_add(QUIET_NS))
    }

    /// A connection begins.
    pub(crate) fn begin(&mut self, now: u64) {
        self.end(now);
        self.session += 1;
        self.counts.connections += 1;
        self.refused = false;
        self.frames = Frames::new();
        self.live = Some(Live { since_ns: now, heard_ns: now });
    }

    /// The connection is lost; what was begun is forgotten.
    pub(crate) fn end(&mut self, now: u64) {
        self.frames = Frames::empty();
        if self.live.take().is_none() {
            return;
        }
        let until = now.saturating_add(self.settings.keep_ns);
        if self.lost.len() < LOST_MAX {
            self.lost.push_back((self.session, until));
        } else if let Some(last) = self.lost.back_mut() {
            last.0 = self.session;
        }
    }

    /// Where the next bytes go.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        self.frames.room()
    }

    /// `count` bytes have come into [`Source::room`]. `tables` are the numbers of the tables that are
    /// followed; prefixes that may lead elsewhere now go into `changed`.
    ///
    /// # Errors
    /// The connection must be closed.
    pub(crate) fn take(
        &mut self,
        now: u64,
        count: usize,
        tables: &[u32],
        changed: &mut BTreeSet<IpNet>,
    ) -> Result<(), FrameError> {
        if let Some(live) = &mut self.live {
            live.heard_ns = now;
        }
        let mut frames = std::mem::replace(&mut self.frames, Frames::empty());
        let done = frames.take(count, |body| {
            let mut whole = false;
            for raw in messages(body) {
                whole = true;
                self.hear(now, &raw, tables, changed);
            }
            self.counts.malformed += u64::from(!whole);
        });
        self.frames = frames;
        done
    }

    fn hear(&mut self, now: u64, raw: &RawMessage<'_>, tables: &[u32], changed: &mut BTreeSet<IpNet>) {
        let known = match raw.header.kind {
            RTM_NEWROUTE => self.announced(raw.payload, tables, changed),
            RTM_DELROUTE => self.withdrawal(now, raw.payload, tables, changed),
            RTM_NEWNEXTHOP => parse_next_hop(raw.payload).map(|object| {
                let moved = object.map(|object| self.routes.set_object(self.session, object));
                changed.extend(moved.unwrap_or_default());
            }),
            RTM_DELNEXTHOP => parse_next_hop(raw.payload).map(|object| {
                let moved = object.map(|object| self.routes.remove_object(self.session, object.id));
                changed.extend(moved.unwrap_or_default());
            }),
            _ => {
                self.counts.ignored += 1;
                Some(())
            }
        };
        self.counts.malformed += u64::from(known.is_none());
    }

    fn announced(&mut self, payload: &[u8], tables: &[u32], changed: &mut BTreeSet<IpNet>) -> Option<()> {
        let Some(route) = parse_route(payload)? else {
            self.counts.ignored += 1;
            return Some(());
        };
        let (net, table) = (route.destination, route.table);
        self.settle_withdrawn(Some((net, table)), changed);
        if !tables.contains(&table) {
            self.counts.ignored += 1;
            return Some(());
        }
        self.counts.changes += 1;
        if matches!(route.protocol, RTPROT_KERNEL | RTPROT_SIXLANE) {
            // Where zebra prefers what the kernel has, it has no route of its own.
            self.counts.ignored += 1;
            if self.routes.remove(net, table) {
                changed.insert(net);
            }
            return Some(());
        }
        match self.routes.set(self.session, route, self.settings.limits) {
            Some(true) => drop(changed.insert(net)),
            Some(false) => {}
            None => {
                self.counts.over_limit += 1;
                self.refused = true;
            }
        }
        Some(())
    }

    fn withdrawal(
        &mut self,
        now: u64,
        payload: &[u8],
        tables: &[u32],
        changed: &mut BTreeSet<IpNet>,
    ) -> Option<()> {
        self.settle_withdrawn(None, changed);
        match parse_route(payload)? {
            Some(route) if tables.contains(&route.table) => {
                self.counts.changes += 1;
                let (net, table) = (route.destination, route.table);
                self.withdrawn = Some(Withdrawn { net, table, at_ns: now });
            }
            _ => self.counts.ignored += 1,
        }
        Some(())
    }

    /// The withdrawal that waits is one, unless its prefix is announced.
    fn settle_withdrawn(&mut self, announced: Option<(IpNet, u32)>, changed: &mut BTreeSet<IpNet>) {
        let Some(gone) = self.withdrawn.take() else { return };
        if announced != Some((gone.net, gone.table)) && self.routes.remove(gone.net, gone.table) {
            changed.insert(gone.net);
        }
    }

    /// Time passes. `true`: the connection should be closed, so that zebra tells everything again.
    pub(crate) fn tick(&mut self, now: u64, changed: &mut BTreeSet<IpNet>) -> bool {
        if self.withdrawn.is_some_and(|gone| now >= gone.at_ns.saturating_add(PAIR_NS)) {
            self.settle_withdrawn(None, changed);
        }
        while let Some(&(session, until)) = self.lost.front() {
            if now < until || self.telling(now) {
                break;
            }
            self.lost.pop_front();
            let swept = self.routes.sweep(session);
            self.counts.swept += u64::try_from(swept.len()).unwrap_or(0);
            changed.extend(swept);
        }
        self.refused && self.live.is_some() && self.eased()
    }

    /// Zebra is telling what it has: it began not long ago and has not been silent since.
    fn telling(&self, now: u64) -> bool {
        self.live.is_some_and(|live| {
            now < live.since_ns.saturating_add(self.settings.keep_ns)
                && now < live.heard_ns.saturating_add(QUIET_NS)
        })
    }

    fn eased(&self) -> bool {
        let (part, whole) = EASED;
        let counts = self.routes.counts().into_iter().zip(self.settings.limits);
        counts.into_iter().all(|(count, limit)| count <= limit / whole * part)
    }
}
