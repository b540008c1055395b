//! The outer IPv4 header, the first that is judged of every packet on the tunnel side (CHK-00).

use crate::Reason;
use sixlane_wire::ipv4;

/// A sound outer header and what it carries (RFC 791, RFC 1122): the whole of it, without a source route.
///
/// # Errors
/// The reason of the first check that fails.
#[inline]
pub(crate) fn sound(l3: &[u8]) -> Result<(&ipv4::Header, &[u8]), Reason> {
    ipv4::parse_ordinary(l3).map_or_else(|| uncommon(l3), Ok)
}

/// The same for those that [`ipv4::parse_ordinary`] does not take: with options, or condemned.
///
/// # Errors
/// As for [`sound`].
pub(crate) fn uncommon(l3: &[u8]) -> Result<(&ipv4::Header, &[u8]), Reason> {
    let (outer, carried) = ipv4::parse(l3).map_err(|_| Reason::OuterHeader)?;
    if !ipv4::checksum_is_correct(l3, outer) {
        return Err(Reason::OuterHeader);
    }
    if ipv4::has_source_route(ipv4::options(l3, outer)) {
        return Err(Reason::OuterOptions);
    }
    if outer.is_fragment() {
        return Err(Reason::OuterFragDisabled);
    }
    Ok((outer, carried))
}
