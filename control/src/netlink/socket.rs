//! The two netlink sockets: one that asks and waits for the answer, one that only listens. A socket
//! for events alone is never delayed by a dump, and what a dump misses the events repeat: subscribe
//! first, then dump, then apply events.
//!
//! The kernel's strict checking of requests (NETLINK_GET_STRICT_CHK) is not asked for: what it would
//! filter (other tables, copies) is filtered by the parser anyway.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use ipnet::Ipv6Net;
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{self, AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::attribute::messages;
use super::message::{Message, parse};
use super::request::{self, Ask, Dump, Key, LinkAsk, RouteAsk};
use super::uapi::NLM_F_DUMP_INTR;

/// Bytes of a receive buffer: the kernel fills dumps up to 32 KiB.
pub(crate) const BUFFER: usize = 64 << 10;
/// Receive buffer of the kernel for events: about 50,000 of them (security.md D9).
const EVENT_BUFFER: usize = 64 << 20;
/// How often an interrupted dump is begun again before it is an error.
const DUMP_ATTEMPTS: u32 = 20;
/// The kernel answers at once; a longer silence is an error, not a reason to stand still.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the kernel's tables could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetlinkError {
    #[error("cannot open a netlink socket: {0}; the kernel needs CONFIG_NET and the process AF_NETLINK")]
    Open(io::Error),
    #[error("reading the kernel's {what} failed: {source}")]
    Dump { what: &'static str, source: io::Error },
    #[error(
        "the kernel's {0} changed faster than they could be read, {DUMP_ATTEMPTS} times in a row; \
         stop the flapping routes or interfaces and start again"
    )]
    Interrupted(&'static str),
}

impl Dump {
    const fn name(self) -> &'static str {
        match self {
            Self::Links => "interfaces",
            Self::Addresses => "addresses",
            Self::NextHops => "next hops",
            Self::Routes4 => "IPv4 routes",
            Self::Routes6 => "IPv6 routes",
            Self::Neighbours4 => "IPv4 neighbours",
            Self::Neighbours6 => "IPv6 neighbours",
        }
    }
}

/// `protocol`: `None` is routing netlink.
pub(crate) fn open(protocol: Option<Protocol>, flags: SocketFlags, groups: u32) -> io::Result<OwnedFd> {
    let flags = flags | SocketFlags::CLOEXEC;
    let socket = net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
    net::bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}

/// A kernel that does not answer is an error, not a reason to stand still.
pub(crate) fn limit_silence(socket: &OwnedFd) -> io::Result<()> {
    Ok(sockopt::set_socket_timeout(socket, Timeout::Recv, Some(ANSWER_TIMEOUT))?)
}

/// One datagram from the kernel; datagrams of other processes are not looked at.
pub(crate) fn receive<'a>(socket: BorrowedFd<'_>, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
    loop {
        let (_, length, sender) = net::recvfrom(socket, &mut *buffer, RecvFlags::TRUNC)?;
        let kernel = sender
            .and_then(|address| SocketAddrNetlink::try_from(address).ok())
            .is_some_and(|address| address.pid() == 0);
        if !kernel {
            continue;
        }
        return buffer.get(..length).ok_or_else(|| Errno::MSGSIZE.into());
    }
}

/// The socket that asks.
#[derive(Debug)]
pub(crate) struct Requests {
    socket: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Requests {
    pub(crate) fn open() -> Result<Self, NetlinkError> {
        let socket = open(None, SocketFlags::empty(), 0).map_err(NetlinkError::Open)?;
        limit_silence(&socket).map_err(NetlinkError::Open)?;
        Ok(Self { socket, sequence: 0, buffer: vec![0; BUFFER] })
    }

    /// Reads a whole table of the kernel, again when a change interrupted it.
    pub(crate) fn dump(&mut self, what: Dump) -> Result<Vec<Message>, NetlinkError> {
        for _ in 0..DUMP_ATTEMPTS {
            match self.dump_once(what) {
                Ok(Some(messages)) => return Ok(messages),
                Ok(None) => {}
                Err(source) => return Err(NetlinkError::Dump { what: what.name(), source }),
            }
        }
        Err(NetlinkError::Interrupted(what.name()))
    }

    /// `None`: interrupted, or overrun.
    fn dump_once(&mut self, what: Dump) -> io::Result<Option<Vec<Message>>> {
        let sequence = self.send(|sequence| request::dump(what, sequence))?;
        let (mut found, mut whole) = (Vec::new(), true);
        loop {
            let datagram = match receive(self.socket.as_fd(), &mut self.buffer) {
                Ok(datagram) => datagram,
                Err(error) if error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error()) => return Ok(None),
                Err(error) => return Err(error),
            };
            for raw in messages(datagram).filter(|raw| raw.header.sequence == sequence) {
                whole &= raw.header.flags & NLM_F_DUMP_INTR == 0;
                match parse(&raw) {
                    Some(Message::Done(0)) => return Ok(whole.then_some(found)),
                    Some(Message::Done(errno) | Message::Answer(errno)) => {
                        return Err(io::Error::from_raw_os_error(errno.wrapping_neg()));
                    }
                    Some(Message::Overrun) => return Ok(None),
                    Some(Message::Other) | None => {}
                    Some(message) => found.push(message),
                }
            }
        }
    }

    /// Asks for one neighbour. The kernel acts before it answers, and answers at once.
    ///
    /// # Errors
    /// The kernel's: `ENOBUFS` when its neighbour table is full, `ENODEV` when the interface is gone.
    pub(crate) fn neighbour(&mut self, ask: Ask, key: Key) -> io::Result<()> {
        let sequence = self.send(|sequence| request::neighbour(ask, key, sequence))?;
        self.acknowledged(sequence)
    }

    /// Changes an interface.
    ///
    /// # Errors
    /// The kernel's: `ENODEV` when the interface is gone.
    pub(crate) fn link(&mut self, ask: LinkAsk, ifindex: u32) -> io::Result<()> {
        let sequence = self.send(|sequence| request::link(ask, ifindex, sequence))?;
        self.acknowledged(sequence)
    }

    /// Installs or removes a route of our own.
    ///
    /// # Errors
    /// The kernel's: `EEXIST` when there is a route of this prefix and metric, `ESRCH` when there is none.
    pub(crate) fn own_route(&mut self, ask: RouteAsk, net: Ipv6Net, ifindex: u32) -> io::Result<()> {
        let sequence = self.send(|sequence| request::own_route(ask, net, ifindex, sequence))?;
        self.acknowledged(sequence)
    }

    /// Waits for the answer to a request.
    fn acknowledged(&mut self, sequence: u32) -> io::Result<()> {
        loop {
            let datagram = receive(self.socket.as_fd(), &mut self.buffer)?;
            for raw in messages(datagram).filter(|raw| raw.header.sequence == sequence) {
                match parse(&raw) {
                    Some(Message::Answer(0)) => return Ok(()),
                    Some(Message::Answer(errno)) => {
                        return Err(io::Error::from_raw_os_error(errno.wrapping_neg()));
                    }
                    _ => {}
                }
            }
        }
    }

    fn send(&mut self, bytes: impl FnOnce(u32) -> Vec<u8>) -> io::Result<u32> {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        net::send(&self.socket, &bytes(self.sequence), SendFlags::empty())?;
        Ok(self.sequence)
    }
}

/// What the listening socket brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Events {
    /// Changes, in order.
    Changes(Vec<Message>),
    /// Some were lost: everything must be read again.
    Lost,
    /// None waiting.
    Empty,
}

/// The socket that listens.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Listener {
    /// Subscribes to the multicast groups of `groups` (RTMGRP_ bits).
    pub(crate) fn open(groups: u32) -> Result<Self, NetlinkError> {
        let socket = open(None, SocketFlags::NONBLOCK, groups).map_err(NetlinkError::Open)?;
        if sockopt::set_socket_recv_buffer_size_force(&socket, EVENT_BUFFER).is_err() {
            // Without CAP_NET_ADMIN: the system's limit holds, and a loss is noticed anyway.
            sockopt::set_socket_recv_buffer_size(&socket, EVENT_BUFFER)
                .map_err(|error| NetlinkError::Open(error.into()))?;
        }
        Ok(Self { socket, buffer: vec![0; BUFFER] })
    }

    /// Takes one datagram off the socket; never waits.
    pub(crate) fn next(&mut self) -> io::Result<Events> {
        match receive(self.socket.as_fd(), &mut self.buffer) {
            Ok(datagram) => {
                let changes: Vec<_> = messages(datagram).filter_map(|raw| parse(&raw)).collect();
                Ok(if changes.contains(&Message::Overrun) { Events::Lost } else { Events::Changes(changes) })
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Events::Empty),
            // The kernel's buffer or ours was too small.
            Err(error)
                if [Errno::NOBUFS, Errno::MSGSIZE]
                    .map(|lost| Some(lost.raw_os_error()))
                    .contains(&error.raw_os_error()) =>
            {
                Ok(Events::Lost)
            }
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl std::os::fd::AsRawFd for Listener {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        std::os::fd::AsRawFd::as_raw_fd(&self.socket)
    }
}
