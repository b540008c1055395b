//! The name of the instance: an abstract socket `@sixlane`, of which a network namespace has one. Fence and
//! door are one per namespace too, so two instances must not share it. Whoever binds the name is the
//! instance; every process of it holds the socket, so that the name is taken while any of them lives.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::channel::{Peer, peer};

/// The name, without the zero byte that makes it abstract.
const NAME: &[u8] = b"sixlane";
/// Second starts that may have asked who is here: nobody takes their connections.
const ASKED_MAX: i32 = 4096;
/// How often a holder that has just bound the name and does not listen yet is asked again.
const ATTEMPTS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(2);

/// Why the name cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// Another instance runs.
    #[error(
        "another sixlane runs in this network namespace ({who}): stop it first, or give this one its own namespace (the fence is one per namespace)"
    )]
    Instance {
        /// Its keeper, in words.
        who: String,
    },
    /// Somebody who cannot be the relay has taken the name.
    #[error(
        "process {pid} of uid {uid} has taken the name @sixlane, which keeps a second instance away, and is not sixlane: end it with `kill {pid}`"
    )]
    Squatter {
        /// Its process id.
        pid: i32,
        /// Its user.
        uid: u32,
    },
    /// It is taken, and its holder does not say who it is.
    #[error(
        "the name @sixlane, which keeps a second instance away, is taken in this network namespace: `ss -xap | grep @sixlane` shows by whom, end that process"
    )]
    Unknown,
    /// The system refused.
    #[error("cannot take the name @sixlane ({0}): raise the limit of open files")]
    System(io::Error),
}

/// The name, held.
#[derive(Debug, Clone)]
pub(crate) struct Name {
    socket: Rc<OwnedFd>,
}

impl Name {
    /// Takes the name for this process.
    ///
    /// # Errors
    /// [`NameError`]: who has it.
    pub(crate) fn take() -> Result<Self, NameError> {
        let system = |errno: Errno| NameError::System(errno.into());
        let address = SocketAddrUnix::new_abstract_name(NAME).map_err(system)?;
        let socket = socket().map_err(system)?;
        match rustix::net::bind(&socket, &address) {
            Ok(()) => {}
            Err(Errno::ADDRINUSE) => return Err(holder(&address)),
            Err(errno) => return Err(system(errno)),
        }
        rustix::net::listen(&socket, ASKED_MAX).map_err(system)?;
        Ok(Self { socket: Rc::new(socket) })
    }

    /// Goes on with the socket of a keeper that has died; from now on it names this process.
    ///
    /// # Errors
    /// It is another socket.
    pub(crate) fn adopt(socket: OwnedFd) -> io::Result<Self> {
        let bound = SocketAddrUnix::try_from(rustix::net::getsockname(&socket)?)?;
        if bound.abstract_name() != Some(NAME) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        rustix::net::listen(&socket, ASKED_MAX)?;
        Ok(Self { socket: Rc::new(socket) })
    }

    /// The socket, for everyone who belongs to the instance.
    pub(crate) fn socket(&self) -> Rc<OwnedFd> {
        Rc::clone(&self.socket)
    }
}

fn socket() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

/// Who has the name.
fn holder(address: &SocketAddrUnix) -> NameError {
    for _ in 0..ATTEMPTS {
        let Ok(socket) = socket() else { return NameError::Unknown };
        match rustix::net::connect(&socket, address) {
            Ok(()) => return peer(socket.as_fd()).map_or(NameError::Unknown, in_words),
            Err(Errno::CONNREFUSED) => std::thread::sleep(PAUSE),
            Err(_) => return NameError::Unknown,
        }
    }
    NameError::Unknown
}

fn in_words(peer: Peer) -> NameError {
    let Peer { pid, uid } = peer;
    if uid != 0 {
        return NameError::Squatter { pid, uid };
    }
    let who = match pid {
        0 => "in another container".to_owned(),
        pid if Path::new(&format!("/proc/{pid}")).exists() => format!("pid {pid}"),
        pid => {
            format!("its keeper, pid {pid}, has died: `sixlane run` with the same --runtime takes it over")
        }
    };
    NameError::Instance { who }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The name is one for all tests of this machine, so that this is one test.
    #[test]
    fn the_second_is_told_who_is_the_first_and_a_successor_takes_over() {
        let Ok(first) = Name::take() else {
            // A relay runs in the namespace of the tests.
            return;
        };
        let own = std::process::id();
        let error = Name::take().unwrap_err().to_string();
        let uid = rustix::process::geteuid();
        let told = error.contains(&format!("pid {own}")) || error.contains(&format!("kill {own}"));
        assert!(told && error.contains("another sixlane") == uid.is_root(), "{error}");
        let second_hold = first.socket().try_clone().unwrap();
        drop(first);
        assert!(Name::take().is_err(), "held by whoever holds the socket");
        let adopted = Name::adopt(second_hold).unwrap();
        drop(adopted);
        Name::take().unwrap();
    }

    #[test]
    fn another_socket_is_not_the_name() {
        Name::adopt(socket().unwrap()).unwrap_err();
    }

    #[test]
    fn strangers_and_the_dead_are_told_apart() {
        let said = |pid, uid| in_words(Peer { pid, uid }).to_string();
        assert!(said(77, 1000).contains("uid 1000") && said(77, 1000).contains("kill 77"));
        assert!(said(0, 0).contains("another container"));
        assert!(said(i32::MAX, 0).contains("has died"));
    }
}
