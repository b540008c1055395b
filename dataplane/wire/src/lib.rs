//! Bytes become headers, and nothing else: one file per header, no meaning attached.
//!
//! # The contract of a view
//!
//! Every header is a `repr(C)` struct of bytes and big-endian integers with alignment 1, laid over the
//! packet by zerocopy. [`ipv4::parse`] and its siblings check, once, everything that an accessor relies
//! on: that the fixed header is there, that the version is right, and that each length that a header
//! announces lies inside the bytes that exist. What they return is the header and the bytes that it says
//! follow it, cut to the announced length. After that no accessor can fail and none checks again.
//!
//! What `parse` does *not* check is whether a field makes sense: checksums ([`checksum`]), addresses, hop
//! limits and header chains ([`extension`]) are asked for by whoever gives them meaning. Code that *emits*
//! a header fills a struct and copies its bytes; it does not parse its own output.
//!
//! Multi-byte fields have big-endian types, so a byte order can be forgotten nowhere: `field.get()` is the
//! number, the bytes in memory are what goes to the wire.
#![no_std]
#![forbid(unsafe_code)]

pub mod checksum;
pub mod ethernet;
pub mod extension;
pub mod icmpv4;
pub mod icmpv6;
pub mod ipv4;
pub mod ipv6;
mod malformed;
pub mod offload;
pub mod teredo;
pub mod teredo_trailer;
pub mod udp;

pub use malformed::Malformed;
