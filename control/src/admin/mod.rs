//! The two admin sockets: `admin.sock` reads, `change.sock` changes. One JSON object a line in, one
//! out. Being two, the right to look can be given without the right to change (security.md D7): today
//! both are for root and the admin group, and only the reading one hands out descriptors.
//!
//! Strangers and slow readers cost little (ATK-55): mode 0660 and SO_PEERCRED, [`CLIENTS_MAX`]
//! clients a socket of which no user may take all, [`LINE_MAX`] bytes a request, [`PATIENCE`] for each
//! line in either direction. Clients are tasks of the one event loop; they hand requests to it and
//! never touch its state. Without descriptors clients are refused and nothing else happens (FAIL-19).

mod orders;
mod protocol;
mod seats;
mod server;
mod socket;

pub(crate) use orders::{Done, Order, Ordered, Refused};
pub(crate) use protocol::{Query, Reply};
#[cfg(test)]
pub(crate) use server::Request;
pub(crate) use server::{Asked, attend, serve};
pub(crate) use socket::{Access, listen};

/// Name of the reading socket in the runtime directory.
pub(crate) const READING: &str = "admin.sock";
/// Name of the changing socket.
pub(crate) const CHANGING: &str = "change.sock";
/// Most bytes of a request with its line end.
pub(crate) const LINE_MAX: usize = 64 << 10;
/// Most clients of one socket at one time.
pub(crate) const CLIENTS_MAX: usize = 32;
/// How long a client may take over a line, and a line over a client.
pub(crate) const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);
/// How long control may take over a change before its client is told to look into the log.
pub(crate) const CHANGE_PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// What both sockets make of a line, for the fuzz target: the answers to what they refuse.
#[cfg(fuzzing)]
pub fn judge_line(line: &[u8]) -> Vec<String> {
    use server::Request;
    let refused =
        [Query::parse(line).map(|query| query.name()), Order::parse(line).map(|order| order.name())];
    refused
        .into_iter()
        .filter_map(|judged| judged.err().map(|sentence| protocol::refusal(&sentence)))
        .collect()
}

#[cfg(test)]
mod order_tests;
#[cfg(test)]
mod tests;
