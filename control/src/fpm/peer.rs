//! Who is at the other end of a TCP connection on this machine (security.md D8): the kernel says whose
//! socket it is, by netlink's socket diagnosis (`include/uapi/linux/{sock_diag,inet_diag}.h`).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use rustix::net::{SendFlags, SocketFlags, netlink, send};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::netlink::attribute::messages;
use crate::netlink::socket::{BUFFER, limit_silence, open, receive};
use crate::netlink::uapi::{AF_INET, AF_INET6, MessageHeader, NLM_F_REQUEST, NLMSG_ERROR};

/// SOCK_DIAG_BY_FAMILY.
const BY_FAMILY: u16 = 20;
const IPPROTO_TCP: u8 = 6;
/// TCP_ESTABLISHED.
const ESTABLISHED: u8 = 1;
/// INET_DIAG_NOCOOKIE, twice.
const NO_COOKIE: [u32; 2] = [u32::MAX; 2];

/// `struct inet_diag_sockid`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct SocketId {
    /// Big-endian.
    source_port: [u8; 2],
    destination_port: [u8; 2],
    source: [u8; 16],
    destination: [u8; 16],
    interface: u32,
    cookie: [u32; 2],
}

/// `struct inet_diag_req_v2`, behind its netlink header.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Request {
    header: MessageHeader,
    family: u8,
    protocol: u8,
    extensions: u8,
    pad: u8,
    states: u32,
    id: SocketId,
}

/// `struct inet_diag_msg`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Answer {
    family: u8,
    state: u8,
    timer: u8,
    retransmissions: u8,
    id: SocketId,
    expires: u32,
    receive_queue: u32,
    send_queue: u32,
    user: u32,
    inode: u32,
}

/// Number of the user whose socket is connected from `peer` to `own`. `None`: it is not open any more, so
/// that nobody can be named (the kernel would say 0 of a socket that nobody holds).
///
/// # Errors
/// The kernel does not answer, or there is no such socket in this network namespace.
pub(super) fn user_of(peer: SocketAddr, own: SocketAddr) -> io::Result<Option<u32>> {
    let socket = open(Some(netlink::SOCK_DIAG), SocketFlags::empty(), 0)?;
    limit_silence(&socket)?;
    send(&socket, request(peer, own).as_bytes(), SendFlags::empty())?;
    let mut buffer = vec![0; BUFFER];
    let datagram = receive(socket.as_fd(), &mut buffer)?;
    let unclear = || io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer cannot be read");
    let raw = messages(datagram).next().ok_or_else(unclear)?;
    if raw.header.kind == NLMSG_ERROR {
        let (errno, _) = i32::read_from_prefix(raw.payload).map_err(|_| unclear())?;
        return Err(io::Error::from_raw_os_error(errno.wrapping_neg()));
    }
    let (answer, _) = Answer::read_from_prefix(raw.payload).map_err(|_| unclear())?;
    let id = request(peer, own).id;
    let right = raw.header.kind == BY_FAMILY
        && (answer.id.source_port, answer.id.destination_port) == (id.source_port, id.destination_port)
        && (answer.id.source, answer.id.destination) == (id.source, id.destination);
    if !right {
        return Err(unclear());
    }
    Ok((answer.state == ESTABLISHED && answer.inode != 0).then_some(answer.user))
}

fn request(peer: SocketAddr, own: SocketAddr) -> Request {
    Request {
        header: MessageHeader {
            length: u32::try_from(size_of::<Request>()).unwrap_or(0),
            kind: BY_FAMILY,
            flags: NLM_F_REQUEST,
            sequence: 1,
            port: 0,
        },
        family: if peer.is_ipv4() { AF_INET } else { AF_INET6 },
        protocol: IPPROTO_TCP,
        extensions: 0,
        pad: 0,
        states: 1 << ESTABLISHED,
        id: SocketId {
            source_port: peer.port().to_be_bytes(),
            destination_port: own.port().to_be_bytes(),
            source: octets(peer.ip()),
            destination: octets(own.ip()),
            interface: 0,
            cookie: NO_COOKIE,
        },
    }
}

/// An address as the kernel wants it: IPv4 in the first four bytes.
fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V6(address) => address.octets(),
        IpAddr::V4(address) => {
            let mut bytes = [0; 16];
            for (byte, octet) in bytes.iter_mut().zip(address.octets()) {
                *byte = octet;
            }
            bytes
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn connected(address: &str) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind(address).unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        (near, far)
    }

    #[test]
    fn the_user_of_an_open_socket_is_named() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let (near, far) = connected(address);
            let user = user_of(near.local_addr().unwrap(), far.local_addr().unwrap()).unwrap();
            assert_eq!(user, Some(rustix::process::geteuid().as_raw()), "{address}");
        }
    }

    /// Of a socket that was closed in haste the kernel says user 0: that is nobody's right to speak.
    #[test]
    fn a_socket_that_is_closed_names_nobody() {
        let (near, far) = connected("127.0.0.1:0");
        let (peer, own) = (near.local_addr().unwrap(), far.local_addr().unwrap());
        drop(near);
        assert!(!matches!(user_of(peer, own), Ok(Some(_))), "{:?}", user_of(peer, own));
        drop(far);
        assert!(!matches!(user_of(peer, own), Ok(Some(_))), "{:?}", user_of(peer, own));
    }
}
