//! What control keeps for the keeper's successor, and how it finds one: it holds the parcels without
//! looking inside, listens in the runtime directory once its keeper has died, and hands everything to the
//! first root that asks.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use sixlane_keeper::Channel;
use sixlane_keeper::channel::peer;
use sixlane_keeper::protocol::{Keep, Message, Ready};
use sixlane_keeper::runtime::KEEPER_SOCKET;

/// More than any keeper has to keep.
const PARCELS_MAX: usize = 8192;
/// Keepers that may wait.
const BACKLOG: i32 = 8;

/// The parcels, by their keys.
#[derive(Default)]
pub(super) struct Estate {
    parcels: BTreeMap<u64, (Keep, Vec<OwnedFd>)>,
}

impl Estate {
    /// Keeps a parcel or lets it go.
    pub(super) fn note(&mut self, keep: Keep, fds: Vec<OwnedFd>) {
        match keep.what {
            Keep::PUT if self.parcels.len() < PARCELS_MAX || self.parcels.contains_key(&keep.key) => {
                self.parcels.insert(keep.key, (keep, fds));
            }
            Keep::DROP => drop(self.parcels.remove(&keep.key)),
            _ => tracing::warn!("the keeper wants more to be kept than there can be"),
        }
    }

    /// Answers with the first parcel whose key is greater than `after`.
    fn hand_out(&self, channel: &Channel, after: u64) -> io::Result<()> {
        let next = after.checked_add(1).and_then(|first| self.parcels.range(first..).next());
        let (_, (keep, fds)) = next.ok_or(io::ErrorKind::NotFound)?;
        let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        channel.send(&Message::Keep(*keep), &fds)
    }
}

/// Where a keeper is, or how one is awaited.
pub(super) enum Side {
    /// It lives.
    Keeper(Channel),
    /// It has died, and another one is awaited.
    Waiting(OwnedFd),
    /// Another one is here and takes over.
    Handing(OwnedFd, Channel),
    /// It has died, and no other can come. (The dead channel is only there to have a descriptor.)
    Nobody(Channel),
}

impl Side {
    /// The descriptor to wait on.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        match self {
            Self::Keeper(channel) | Self::Handing(_, channel) | Self::Nobody(channel) => channel.as_fd(),
            Self::Waiting(listener) => listener.as_fd(),
        }
    }

    /// The keeper has died: listens for another one.
    pub(super) fn orphaned(self) -> Self {
        let Self::Keeper(channel) = self else { return self };
        match listen(Path::new(KEEPER_SOCKET)) {
            Ok(listener) => Self::Waiting(listener),
            Err(error) => {
                tracing::warn!(
                    "no other keeper can take over, because {KEEPER_SOCKET} cannot be made: {error}"
                );
                Self::Nobody(channel)
            }
        }
    }

    /// Takes one connection of root.
    ///
    /// # Errors
    /// `WouldBlock` when nobody has come.
    fn accept(listener: &OwnedFd) -> io::Result<Channel> {
        loop {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = rustix::net::accept_with(listener, flags)?;
            match peer(socket.as_fd()) {
                Ok(peer) if peer.uid == 0 => return Ok(Channel::over(socket)),
                _ => tracing::warn!("somebody who is not root asked for what the keeper left"),
            }
        }
    }

    /// Brings the hand-over forward as far as it goes. Gives the state after it, and whether a new
    /// keeper has taken over.
    pub(super) fn advance(self, estate: &Estate) -> (Self, bool) {
        match self {
            Self::Waiting(listener) => match Self::accept(&listener) {
                Ok(channel) => Self::Handing(listener, channel).advance(estate),
                Err(_) => (Self::Waiting(listener), false),
            },
            Self::Handing(listener, channel) => loop {
                match step(&channel, estate) {
                    Ok(false) => {}
                    Ok(true) => {
                        drop(listener);
                        forget();
                        return (Self::Keeper(channel), true);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        return (Self::Handing(listener, channel), false);
                    }
                    Err(error) => {
                        tracing::warn!("a keeper came and did not take over ({error})");
                        return Self::Waiting(listener).advance(estate);
                    }
                }
            },
            other => (other, false),
        }
    }
}

/// One question of the successor; whether it was the last.
fn step(channel: &Channel, estate: &Estate) -> io::Result<bool> {
    match channel.receive()? {
        (Message::Keep(keep), _) if keep.what == Keep::ASK => {
            estate.hand_out(channel, keep.key).map(|()| false)
        }
        (Message::Ready(ready), _) if ready.what == Ready::ADOPTED => Ok(true),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Listens at a path that only root and this user can open.
fn listen(path: &Path) -> io::Result<OwnedFd> {
    // Left behind by a control that died while it waited.
    let _ = std::fs::remove_file(path);
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    let mask = rustix::process::umask(Mode::from_raw_mode(0o177));
    let bound = rustix::net::bind(&socket, &SocketAddrUnix::new(path)?);
    rustix::process::umask(mask);
    bound?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// Takes the socket's name away.
pub(super) fn forget() {
    let _ = std::fs::remove_file(KEEPER_SOCKET);
}

#[cfg(test)]
#[path = "estate_tests.rs"]
mod tests;
