//! Why packets are dropped: the one table.
//!
//! A row is everything there is to say about a reason. The rows expand to the enum, the counter block's
//! size, the metric names, the texts of `sixlane show drops` and `docs/COUNTERS.md`. A name, once given,
//! is never changed or reused: operators alarm on it.

use crate::verdict::IcmpError;

/// The ICMPv6 error that answers a reason: `none`, or the name of an [`IcmpError`] without parameters.
/// (Packet Too Big carries an MTU, which [`crate::mtu`] supplies.)
macro_rules! answer {
    (none) => {
        None
    };
    (PacketTooBig) => {
        Some(IcmpError::PacketTooBig { mtu: sixlane_wire::ipv6::MTU_MIN })
    };
    ($error:ident) => {
        Some(IcmpError::$error)
    };
}

macro_rules! reasons {
    ($($variant:ident, $name:literal, $clause:literal, $answer:ident, $text:literal;)+) => {
        /// Why a packet was dropped.
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason { $(#[doc = $text] $variant,)+ }

        impl Reason {
            /// Every reason, in the order of the counters.
            pub const ALL: [Reason; Reason::COUNT] = [$(Reason::$variant),+];

            /// How many reasons there are.
            pub const COUNT: usize = [$($name),+].len();

            /// The stable name: `show drops`, metrics and golden packets use it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Reason::$variant => $name,)+ }
            }

            /// The clause that demands or explains the drop.
            #[must_use]
            pub const fn clause(self) -> &'static str {
                match self { $(Reason::$variant => $clause,)+ }
            }

            /// One sentence for the operator.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Reason::$variant => $text,)+ }
            }

            /// The ICMPv6 error that tells the sender, where one may be sent. The MTU of a Packet Too
            /// Big is a placeholder here; [`crate::mtu`] knows the real one.
            #[must_use]
            pub const fn answer(self) -> Option<IcmpError> {
                match self { $(Reason::$variant => answer!($answer),)+ }
            }
        }
    };
}

reasons! {
    // The frame.
    MalformedFrame, "malformed_frame", "IEEE 802.3 §3.2", none,
        "The frame is too short for its layer-2 header, or carries neither IPv4 nor IPv6.";

    // The outer header.
    OuterHeader, "outer_header", "RFC 791 §3.1", none,
        "The outer IPv4 header is truncated, or its version, lengths or checksum are wrong.";
    OuterOptions, "outer_options", "RFC 1122 §3.2.1.8", none,
        "The outer IPv4 header asks for source routing, or its options cannot be read.";
    OuterFragDisabled, "outer_frag_disabled", "RFC 4213 §3.6", none,
        "The outer packet is a fragment, and reassembly is not available.";
    NotForUs, "not_for_us", "RFC 3964 §5.3.4", none,
        "The outer destination is not an address of a tunnel that is served here.";
    V4SrcBogon, "v4_src_bogon", "RFC 3964 §5.3.1", none,
        "The outer source is not a global unicast address, or is a broadcast address of a local network.";
    OwnSource, "own_source", "RFC 3964 §5.1", none,
        "The packet claims to come from an address of this box, or from its own destination.";
    NoTunnel, "no_tunnel", "RFC 4213 §3.6", none,
        "No tunnel here takes this protocol from this source.";
    IcmpQuoteUntrusted, "icmp_quote_untrusted", "RFC 4213 §3.4", none,
        "An ICMPv4 error about a tunnel packet; its quote proves nothing and is not acted upon.";
    KnownRelay, "known_relay", "RFC 6324 §3.2.3", none,
        "The address outside the tunnel is in the list of other tunnel routers.";
    NotAllowed, "not_allowed", "RFC 3056 §5.2", none,
        "The address outside the tunnel is not in the access list of this tunnel.";

    // The inner header.
    InnerVersion, "inner_version", "RFC 4213 §3.6", none,
        "What protocol 41 carries is not IPv6.";
    InnerLength, "inner_length", "RFC 4213 §3.6", none,
        "The inner packet is shorter than its header says, or is a jumbogram.";
    V6LinklocalOn6to4, "v6_linklocal_on_6to4", "RFC 3964 §4.1.1", none,
        "A link-local inner address; 6to4 has no link-local traffic, so this is injected neighbour discovery.";
    V6SrcBogon, "v6_src_bogon", "RFC 3964 §5.3.2", none,
        "The IPv6 source is not a global unicast address.";
    V6DstBogon, "v6_dst_bogon", "RFC 3964 §5.3.2", none,
        "The IPv6 destination is not a global unicast address; multicast is not forwarded.";
    BeyondScope, "beyond_scope", "RFC 4443 §3.1", BeyondScope,
        "A link-local source cannot speak to a destination behind a router.";
    V4EmbeddedBogon, "v4_embedded_bogon", "RFC 3056 §9", none,
        "A 6to4 address embeds an IPv4 address that is not global unicast.";
    V6NativeNative, "v6_native_native", "RFC 3964 §5.2", none,
        "Neither inner address is a 6to4 address: somebody uses the relay as an open proxy.";
    Sixto4RelayNativeSrc, "sixto4_relay_native_src", "RFC 3964 §4.2.2", none,
        "A native inner source came through the 6to4 tunnel of a relay, which serves only 6to4 sources.";
    Sixto4SrcMismatch, "sixto4_src_mismatch", "RFC 3964 §5.2", none,
        "The inner 6to4 source does not embed the outer source: the packet is spoofed.";
    Sixto4To6to4ViaRelay, "sixto4_to_6to4_via_relay", "RFC 3964 §3.2", none,
        "Both inner addresses are 6to4 addresses: such sites speak directly, never through a relay.";
    LoopLocalV4InDst, "loop_local_v4_in_dst", "RFC 6324 §3.3", none,
        "The destination of a decapsulated packet embeds an IPv4 address of this box: a routing loop.";
    EcnNotEctCe, "ecn_not_ect_ce", "RFC 6040 §4.2", none,
        "The outer header is marked congestion-experienced, but the inner transport cannot be told.";

    // The header chain.
    ExtChain, "ext_chain", "RFC 8200 §4.1", none,
        "The chain of extension headers is longer than any that the standard describes.";
    RoutingHeaderType0, "routing_header_type0", "RFC 5095 §4.2", none,
        "A source route (routing header type 0).";
    RoutingHeader, "routing_header", "RFC 9288 §3.5", none,
        "A routing header of type 1 or 3, neither of which may cross the Internet.";
    NdTransit, "nd_transit", "RFC 4890 §4.3.3", none,
        "A message that never leaves its link: neighbour discovery, multicast listener discovery and kin.";

    // An IPv6 packet from a port.
    V6Version, "v6_version", "RFC 8200 §3", none,
        "The packet on the IPv6 side does not have version 6.";
    V6Length, "v6_length", "RFC 8200 §3", none,
        "The IPv6 packet is shorter than its header says, or is a jumbogram.";

    // Forwarding.
    HopLimit, "hop_limit", "RFC 8200 §3", TimeExceeded,
        "The hop limit ran out here.";
    NoRoute, "no_route", "RFC 4443 §3.1", NoRoute,
        "There is no route to the destination.";
    Blackhole, "blackhole", "RFC 4443 §3.1", none,
        "The route to the destination discards without an answer.";
    Prohibited, "prohibited", "RFC 4443 §3.1", AdminProhibited,
        "The route to the destination is administratively prohibited.";
    RejectRoute, "reject_route", "RFC 4443 §3.1", RejectRoute,
        "The route to the destination rejects.";
    TooBig, "too_big", "RFC 4443 §3.2", PacketTooBig,
        "The packet is larger than the MTU of the next link or tunnel.";
    LocalUnavailable, "local_unavailable", "RFC 8200 §3", none,
        "The packet is for this box itself, and there is no way to hand it over.";
    MgmtProtected, "mgmt_protected", "RFC 6169 §2.1", none,
        "A tunnel delivers ICMPv6 alone to this box, unless it is set to deliver everything.";

    // Entering the tunnel.
    Sixto4NativeSrc6to4, "sixto4_native_src_6to4", "RFC 3964 §4.1.2", none,
        "A 6to4 source arrived from the native side for a 6to4 destination: the packet is spoofed.";
    V4LocalAddress, "v4_local_address", "RFC 3964 §5.1", none,
        "The 6to4 destination embeds an IPv4 address of this box: it would be tunnelled to itself.";
    TunnelLoop, "tunnel_loop", "RFC 4443 §3.1", AddressUnreachable,
        "The route to the destination leads back into the tunnel that the packet came out of.";
    LoopLocalV4InSrc, "loop_local_v4_in_src", "RFC 6324 §3.3", none,
        "The source of a packet entering a tunnel embeds an IPv4 address of this box: a routing loop.";
    OuterNoRoute, "outer_no_route", "RFC 4443 §3.1", AddressUnreachable,
        "There is no IPv4 route to the far end of the tunnel.";
    NeighQueue, "neigh_queue", "RFC 4861 §7.2.2", none,
        "The link-layer address of the next hop is not resolved yet.";
    NeighLimit, "neigh_limit", "RFC 6583 §7.1", none,
        "The next hop is not resolved, and too many others are being asked for, as in a scan.";

    // The machine.
    TxFull, "tx_full", "docs/ARCHITECTURE.md", none,
        "The transmit ring of the egress port was full.";
    PuntLimit, "punt_limit", "docs/ARCHITECTURE.md", none,
        "The packet was for control or the kernel, but the punt ring was full or the budget spent.";
    NoFrame, "no_frame", "docs/ARCHITECTURE.md", none,
        "There was no free frame for a packet made here.";
    PortDown, "port_down", "docs/ARCHITECTURE.md", none,
        "The route leads to a port that this worker does not have.";
    TableCorrupt, "table_corrupt", "docs/ARCHITECTURE.md", none,
        "A record in the shared tables points outside them.";
}

impl Reason {
    /// The reason with this stable name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Reason> {
        Reason::ALL.into_iter().find(|reason| reason.name() == name)
    }

    /// The reason at this position of the counters.
    #[inline]
    #[must_use]
    pub fn from_index(index: usize) -> Option<Reason> {
        Reason::ALL.get(index).copied()
    }

    /// The position of this reason's counter, below [`Reason::COUNT`].
    #[inline]
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Tells the compiler that a packet is seldom refused here, so that it keeps the refusal out of the
/// ordinary way.
#[inline(always)]
pub(crate) const fn unlikely(reason: Reason) -> Reason {
    core::hint::cold_path();
    reason
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::Verdict;
    use std::{format, fs, path::PathBuf, string::String, vec::Vec};

    #[test]
    fn names_are_stable_words_and_unique() {
        for (at, reason) in Reason::ALL.into_iter().enumerate() {
            let name = reason.name();
            assert_eq!(Reason::from_name(name), Some(reason), "{name} stands twice");
            assert_eq!((reason.index(), Reason::from_index(at)), (at, Some(reason)));
            assert!(name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')), "{name}");
            assert!(name.len() <= 32 && !reason.clause().is_empty(), "{name}");
            assert!(reason.text().ends_with('.') && !reason.text().contains(". "), "{name}: one sentence");
        }
        assert_eq!(Reason::from_name("no_such_reason"), None);
        assert_eq!(Reason::from_index(Reason::COUNT), None);
    }

    #[test]
    fn a_verdict_has_the_answer_of_its_row() {
        assert_eq!(
            Verdict::from(Reason::HopLimit),
            Verdict::Reply(IcmpError::TimeExceeded, Reason::HopLimit)
        );
        assert_eq!(Verdict::from(Reason::V4SrcBogon), Verdict::Drop(Reason::V4SrcBogon));
    }

    /// No reason that judges an address as spoofed, insane or looping is ever answered (ICMP-10).
    #[test]
    fn only_forwarding_is_answered() {
        let answered = Reason::ALL.into_iter().filter(|reason| reason.answer().is_some());
        let names: Vec<_> = answered.map(Reason::name).collect();
        assert_eq!(
            names,
            [
                "beyond_scope",
                "hop_limit",
                "no_route",
                "prohibited",
                "reject_route",
                "too_big",
                "tunnel_loop",
                "outer_no_route"
            ]
        );
    }

    fn repository(path: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
    }

    /// The rows of the table of the shared counters: names and texts.
    fn shared_counters() -> Vec<(String, String)> {
        let source = fs::read_to_string(repository("dataplane/tables/src/counters.rs")).unwrap();
        let table = source.split("\ncounters! {\n").nth(1).unwrap().split("\n}").next().unwrap();
        let row = |line: &str| {
            let (name, text) = line.trim().trim_end_matches(',').split_once(": ").unwrap();
            (name.into(), text.trim_matches('"').into())
        };
        table.lines().map(row).collect()
    }

    fn document() -> String {
        let mut text = String::from(include_str!("reason/counters.md"));
        text += "\n## Packets\n\n| counter | what it counts |\n|---|---|\n";
        for (name, meaning) in shared_counters() {
            text += &format!("| `{name}` | {meaning} |\n");
        }
        text +=
            "\n## Reasons of drops\n\n| reason | because of | answer | what happened |\n|---|---|---|---|\n";
        for reason in Reason::ALL {
            let answer = match reason.answer() {
                Some(error) => format!("ICMPv6 {}/{}", error.kind(), error.code()),
                None => String::from("none"),
            };
            text +=
                &format!("| `{}` | {} | {answer} | {} |\n", reason.name(), reason.clause(), reason.text());
        }
        text
    }

    #[test]
    fn counters_document_is_up_to_date() {
        let path = repository("docs/COUNTERS.md");
        if std::env::var_os("SIXLANE_BLESS").is_some() {
            fs::write(&path, document()).unwrap();
        }
        assert!(
            fs::read_to_string(&path).is_ok_and(|text| text == document()),
            "docs/COUNTERS.md differs from the tables of reasons and counters; regenerate it with\n    \
             SIXLANE_BLESS=1 cargo test -p sixlane-tunnel counters_document"
        );
    }
}
