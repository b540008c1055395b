//! The reading admin socket: one JSON object a line in, one out. It changes nothing, so whoever may
//! open it may ask everything.
//!
//! Strangers and slow readers cost little (ATK-55): mode 0660 and SO_PEERCRED, [`CLIENTS_MAX`]
//! clients, [`LINE_MAX`] bytes a request, [`PATIENCE`] for each line in either direction. Clients are
//! tasks of the one event loop; they hand [`Query`]s to it and never touch its state.

mod protocol;
mod server;

pub(crate) use protocol::{Query, Reply};
pub(crate) use server::{Asked, listen, serve};

/// Most bytes of a request with its line end.
pub(crate) const LINE_MAX: usize = 64 << 10;
/// Most clients at one time.
pub(crate) const CLIENTS_MAX: usize = 32;
/// How long a client may take over a line, and a line over a client.
pub(crate) const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

#[cfg(test)]
mod tests;
