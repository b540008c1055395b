//! What all packets of a pass have in common: one generation of the tables, one reading of the clock.

use sixlane_tables::{Settings, Tables, View, WorkerSegment};
use sixlane_tunnel::sixinfour::RelayParams;
use sixlane_wire::ipv6::Address;
use sixlane_xsk::Umem;

/// Whose packets a pass carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// They came by a port: judged from the Ethernet header on, their hop limit is taken down.
    Wire,
    /// They were made here: their hop limit is as it should be, and nobody is told of their end.
    Worker,
    /// They came from the kernel of this box, which has taken their hop limit down if it forwards them.
    Kernel,
}

impl Origin {
    /// By how much the hop limit falls here.
    #[inline]
    pub(crate) fn hops(self) -> u8 {
        u8::from(self == Origin::Wire)
    }
}

/// The common ground of a pass.
pub(crate) struct Scene<'a> {
    /// The tables, and which worker looks at them.
    pub(crate) tables: &'a Tables,
    pub(crate) worker: u16,
    /// One generation of them.
    pub(crate) view: &'a View<'a>,
    /// The settings of that generation.
    pub(crate) settings: &'a Settings,
    /// The 6to4 relay, if it is served.
    pub(crate) relay: Option<&'a RelayParams>,
    /// Our own IPv6 address: the source of what is made here, and of nothing else.
    pub(crate) router: Address,
    /// The memory of the frames.
    pub(crate) umem: &'a Umem,
    /// What the worker writes for others to read.
    pub(crate) segment: &'a WorkerSegment,
    /// CLOCK_MONOTONIC in nanoseconds, read once for the batch.
    pub(crate) now: u64,
}

impl<'a> Scene<'a> {
    /// The scene of a batch that the owner of `segment` has in hand at `now`.
    #[inline]
    pub(crate) fn new(
        tables: &'a Tables,
        view: &'a View<'a>,
        umem: &'a Umem,
        segment: &'a WorkerSegment,
        now: u64,
    ) -> Self {
        let settings = view.settings();
        Self {
            tables,
            worker: segment.layout().worker,
            view,
            settings,
            relay: (settings.sixtofour_enabled != 0).then_some(&settings.sixtofour),
            router: Address::from_octets(settings.router_ipv6),
            umem,
            segment,
            now,
        }
    }
}
