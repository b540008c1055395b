//! The keeper: the process `sixlane run` itself. It loads the XDP program, creates memory and
//! sockets, starts control and data plane as its children, hands them descriptors, restarts the one
//! that dies, and takes everything away again in good order. It parses no packet, no netlink and no
//! admin request.
//!
//! Read `supervise` first: it is the page with the order of things.

mod channel;
pub mod confine;
pub mod host;
mod layout;
pub mod plan;
pub mod protocol;
pub mod runtime;
pub mod users;

pub use channel::Channel;
