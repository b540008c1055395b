//! One end of the connection between keeper and child: messages with descriptors over a
//! SOCK_SEQPACKET pair, which the child finds on descriptor 3.
//!
//! This is the only file of the crate with `unsafe`: taking over a descriptor by its number, promising
//! the event loop that a descriptor stays open, and asking who is at the other end cannot be said otherwise.
#![allow(unsafe_code)]

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use tokio::io::unix::AsyncFd;

use crate::protocol::{MAX_DESCRIPTORS, MESSAGE_BYTES, Message};

/// Where a child finds its end.
pub(crate) const CHILD_DESCRIPTOR: RawFd = 3;

/// Set once this process has taken its end over.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// One end of the connection.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
}

impl Channel {
    /// A connected pair: the keeper's end (non-blocking) and the descriptor for the child.
    ///
    /// # Errors
    /// The socket call's error, above all too many open files.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (socket, child) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok((Self { socket }, child))
    }

    /// Takes over descriptor 3, which the keeper left open. Call it first thing in the process.
    ///
    /// # Errors
    /// `AlreadyExists` when called twice; `InvalidInput` when there is no such socket, that is,
    /// when the command was typed by a person.
    pub fn inherited() -> io::Result<Self> {
        if TAKEN.swap(true, Ordering::SeqCst) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        // SAFETY: the borrow ends inside this function and only asks the kernel about the number;
        // if no such descriptor is open, the kernel answers EBADF.
        let probe = unsafe { BorrowedFd::borrow_raw(CHILD_DESCRIPTOR) };
        match rustix::net::sockopt::socket_type(probe) {
            Ok(SocketType::SEQPACKET) => {}
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        }
        // SAFETY: descriptor 3 is open (asked above) and a packet socket, which only the keeper
        // puts there; nobody else in this process owns it: TAKEN lets one caller pass, and the
        // caller's duty is to come before anything that opens descriptors.
        let socket = unsafe { OwnedFd::from_raw_fd(CHILD_DESCRIPTOR) };
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
        Ok(Self { socket })
    }

    /// A channel over a connected packet socket.
    #[must_use]
    pub fn over(socket: OwnedFd) -> Self {
        Self { socket }
    }

    /// Connects to a listening packet socket in the file system. The channel blocks.
    ///
    /// # Errors
    /// The system's: nobody listens, or the way is closed.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(Self { socket })
    }

    /// A second hold of the same end.
    ///
    /// # Errors
    /// Too many open files.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { socket: self.socket.try_clone()? })
    }

    /// Sends one message with its descriptors, whole or not at all.
    ///
    /// # Errors
    /// `InvalidInput` for more than [`MAX_DESCRIPTORS`]; `WouldBlock`; `BrokenPipe` when the other
    /// end has gone; the socket's error.
    pub fn send(&self, message: &Message, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        if descriptors.len() > MAX_DESCRIPTORS {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let bytes = message.encode(descriptors.len());
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        rustix::net::sendmsg(&self.socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Receives one message with its descriptors (which are closed on exec).
    ///
    /// # Errors
    /// `UnexpectedEof` when the other end has gone; `WouldBlock`; `InvalidData` for a message that
    /// is not ours; the socket's error.
    pub fn receive(&self) -> io::Result<(Message, Vec<OwnedFd>)> {
        // One byte more than a message: a longer one must be seen as such.
        let mut bytes = [0; MESSAGE_BYTES + 1];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let outcome = rustix::net::recvmsg(
                &self.socket,
                &mut [IoSliceMut::new(&mut bytes)],
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            );
            match outcome {
                // The other end died with messages unread; its own messages are still to come.
                Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNRESET) => {}
                other => break other?,
            }
        };
        let descriptors: Vec<OwnedFd> = control
            .drain()
            .filter_map(|item| match item {
                RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
                _ => None,
            })
            .flatten()
            .collect();
        if received.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let message = Message::decode(&bytes[..received.bytes], descriptors.len())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok((message, descriptors))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl std::os::fd::AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        std::os::fd::AsRawFd::as_raw_fd(&self.socket)
    }
}

/// The process at the other end of a connection, as it was when it connected or began to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Process id; 0 for a process that this process's pid namespace does not know.
    pub pid: i32,
    /// User.
    pub uid: u32,
}

/// Asks the kernel who is at the other end.
///
/// # Errors
/// The descriptor is no connected socket.
pub fn peer(socket: BorrowedFd<'_>) -> io::Result<Peer> {
    let mut found = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut len = size_of_val(&found) as libc::socklen_t;
    // SAFETY: the call writes at most `len` bytes of integers into `found`, whose size that is, and the
    // length into `len`; both outlive it. (The safe form takes the pid for one that is not zero.)
    let code = unsafe {
        libc::getsockopt(
            std::os::fd::AsRawFd::as_raw_fd(&socket),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut found).cast(),
            &raw mut len,
        )
    };
    if code != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Peer { pid: found.pid, uid: found.uid })
}

/// Registers a descriptor with the running event loop.
///
/// # Errors
/// The event loop's error.
pub(crate) fn watch(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd is open and the same for its whole life, and the AsyncFd owns it.
    let registered = unsafe { AsyncFd::register(descriptor) };
    registered.map_err(io::Error::from)
}

/// Registers a channel with the running event loop.
///
/// # Errors
/// The event loop's error.
pub(crate) fn watch_channel(channel: Channel) -> io::Result<AsyncFd<Channel>> {
    // SAFETY: a Channel's descriptor is that of the OwnedFd it was made with and never replaces,
    // so it is open and the same for the channel's whole life; the AsyncFd owns the channel.
    let registered = unsafe { AsyncFd::register(channel) };
    registered.map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;

    use super::*;
    use crate::protocol::{Link, Ready};

    fn ends() -> (Channel, Channel) {
        let (keeper, child) = Channel::pair().unwrap();
        (keeper, Channel::over(child))
    }

    #[test]
    fn descriptors_arrive_with_their_message() {
        let (keeper, child) = ends();
        let (mut reader, writer) = io::pipe().unwrap();
        let message = Message::Link(Link { what: Link::MAPS, port: 0 });
        keeper.send(&message, &[writer.as_fd(), writer.as_fd()]).unwrap();
        drop(writer);
        let (got, descriptors) = child.receive().unwrap();
        assert_eq!((got, descriptors.len()), (message, 2));
        let flags = rustix::io::fcntl_getfd(&descriptors[0]).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        rustix::io::write(&descriptors[1], b"x").unwrap();
        drop(descriptors);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "x");
    }

    #[test]
    fn a_closed_end_is_the_end_of_the_file() {
        let (keeper, child) = ends();
        drop(keeper);
        let error = child.receive().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        let error = child.send(&Message::Ready(Ready::new(Ready::AT_WORK)), &[]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn what_a_dead_end_had_sent_arrives_though_it_left_messages_unread() {
        let (keeper, child) = ends();
        let (unread, last) = (Ready::new(Ready::START), Ready::new(Ready::AT_WORK));
        keeper.send(&Message::Ready(unread), &[]).unwrap();
        child.send(&Message::Ready(last), &[]).unwrap();
        drop(child);
        assert_eq!(keeper.receive().unwrap().0, Message::Ready(last));
        assert_eq!(keeper.receive().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn the_other_end_is_known_by_process_and_user() {
        let (keeper, _child) = ends();
        let own = Peer { pid: std::process::id().cast_signed(), uid: rustix::process::geteuid().as_raw() };
        assert_eq!(peer(keeper.as_fd()).unwrap(), own);
        let file = std::fs::File::open("/dev/null").unwrap();
        peer(file.as_fd()).unwrap_err();
    }

    #[test]
    fn nothing_to_read_does_not_block_the_keeper() {
        let (keeper, _child) = ends();
        let error = keeper.receive().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn short_long_and_foreign_packets_are_invalid_data() {
        let (keeper, child) = ends();
        for length in [1, MESSAGE_BYTES - 1, MESSAGE_BYTES, MESSAGE_BYTES + 1, 2000] {
            rustix::net::send(&keeper.socket, &vec![7; length], SendFlags::empty()).unwrap();
            let error = child.receive().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
    }

    #[test]
    fn too_many_descriptors_are_refused_by_the_sender() {
        let (keeper, child) = ends();
        let message = Message::Ready(Ready::new(Ready::START));
        let many = [child.as_fd(); MAX_DESCRIPTORS + 1];
        let error = keeper.send(&message, &many).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        keeper.send(&message, &many[..MAX_DESCRIPTORS]).unwrap();
        assert_eq!(child.receive().unwrap().1.len(), MAX_DESCRIPTORS);
    }
}
