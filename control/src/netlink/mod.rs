//! Routing netlink, as much of it as a relay needs: bytes become typed messages ([`message`]), typed
//! requests become bytes ([`request`]), and [`socket`] carries both.
//!
//! What arrives comes from the kernel, yet nothing here trusts a length: every walk is bounded by
//! the slice it walks, and what does not parse is skipped and counted, never a panic. Headers are
//! copied out (no alignment is assumed). Linux `include/uapi/linux/{netlink,rtnetlink,neighbour}.h`.

pub(crate) mod attribute;
pub(crate) mod ethtool;
pub(crate) mod message;
pub(crate) mod next_hop;
pub(crate) mod request;
pub(crate) mod route;
pub(crate) mod socket;
pub(crate) mod uapi;

#[cfg(test)]
mod tests;
