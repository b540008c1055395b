//! Rig V: the worker over AF_XDP sockets on veth pairs, between a generator and a sink in the kernel.
//!
//! ```text
//! g0 ── r0  relay  r1 ── g1
//! ```
//!
//! Three namespaces and two veth pairs ([`ground`]). The generator is an XDP program that the kernel runs over
//! live frames ([`generator`]); the sink counts at the ingress of g1 and drops ([`sink`]). A relay is started
//! as everywhere; then its keeper and its data plane are killed, and the rig takes their place ([`heir`]): the
//! sockets, the frames and the rings are the ones that the keeper made, and the control process that built
//! the tables runs on. Over them two passes take turns in one process ([`bench`]): the shipped worker's own
//! turn, and the least that a forwarder can do with these rings ([`l2fwd`]).

pub mod bench;
pub mod generator;
pub mod ground;
pub mod heir;
pub mod l2fwd;
pub mod sink;
pub mod traffic;

pub use bench::{Bench, Pass};
pub use generator::{Generator, Pace, Stream};
pub use ground::Ground;
pub use sink::{Sink, Tally};
pub use traffic::Traffic;
