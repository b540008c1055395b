//! The keeper: the process `sixlane run` itself. It loads the XDP program, creates memory and
//! sockets, starts control and data plane as its children, hands them descriptors, restarts the one
//! that dies, and takes everything away again in good order. It parses no packet, no netlink and no
//! admin request.
//!
//! Read `supervise` first: it is the page with the order of things.

mod adopt;
mod backoff;
pub mod channel;
mod child;
pub mod confine;
mod door;
mod error;
mod estate;
mod fence;
mod held;
pub mod host;
mod layout;
pub mod name;
mod orphans;
pub mod plan;
pub mod protocol;
mod reload;
mod returns;
pub mod runtime;
mod signals;
mod store;
mod supervise;
pub mod users;

pub use channel::Channel;
pub use error::KeeperError;
pub use supervise::run;
