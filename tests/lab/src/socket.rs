//! Sockets inside a namespace: usable from any thread afterwards.

use crate::{Deadline, Host, LabError, deadline, packet};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

const BUFFER_BYTES: usize = 8 << 20;

/// A socket of a host.
#[derive(Debug)]
pub struct Port {
    socket: Socket,
}

impl Port {
    fn open(host: &Host, domain: Domain, kind: Type, protocol: i32) -> Result<Self, LabError> {
        let fail = |error| LabError::io(format!("opening a socket in {}", host.namespace()), error);
        let socket =
            host.within(|| Socket::new(domain, kind, Some(Protocol::from(protocol))))?.map_err(fail)?;
        socket.set_nonblocking(true).map_err(fail)?;
        // More than the system's ceiling is given to root only; less would lose packets, which the
        // tests would then count as the relay's loss.
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER_BYTES);
        Ok(Self { socket })
    }

    /// A UDP socket over IPv6, bound to an address.
    ///
    /// # Errors
    /// The address is not the host's.
    pub fn udp6(host: &Host, address: Ipv6Addr, port: u16) -> Result<Self, LabError> {
        let this = Self::open(host, Domain::IPV6, Type::DGRAM, 17)?;
        let address = SocketAddrV6::new(address, port, 0, 0);
        this.socket
            .bind(&address.into())
            .map_err(|error| LabError::io(format!("binding {address}"), error))?;
        Ok(this)
    }

    /// A raw IPv4 socket that receives one protocol, with headers. While it is open the host's
    /// kernel does not call the protocol unreachable.
    ///
    /// # Errors
    /// Not root.
    pub fn raw4(host: &Host, protocol: u8) -> Result<Self, LabError> {
        Self::open(host, Domain::IPV4, Type::RAW, i32::from(protocol))
    }

    /// A raw IPv6 socket that receives one next header, without IPv6 header.
    ///
    /// # Errors
    /// Not root.
    pub fn raw6(host: &Host, next: u8) -> Result<Self, LabError> {
        Self::open(host, Domain::IPV6, Type::RAW, i32::from(next))
    }

    /// A socket that sends whole IPv4 packets, whatever their source.
    ///
    /// # Errors
    /// Not root.
    pub fn forger4(host: &Host) -> Result<Self, LabError> {
        Self::open(host, Domain::IPV4, Type::RAW, 255)
    }

    /// A socket that sends whole IPv6 packets, whatever their source.
    ///
    /// # Errors
    /// Not root.
    pub fn forger6(host: &Host) -> Result<Self, LabError> {
        Self::open(host, Domain::IPV6, Type::RAW, 255)
    }

    /// A socket that sees every frame of every interface of the host, both ways, from the Ethernet
    /// header on.
    ///
    /// # Errors
    /// Not root.
    pub fn frames(host: &Host) -> Result<Self, LabError> {
        const ALL: i32 = 0x0300; // ETH_P_ALL in network order
        Self::open(host, Domain::PACKET, Type::RAW, ALL)
    }

    /// Sends to an IPv4 address.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn send4(&self, bytes: &[u8], to: Ipv4Addr) -> Result<(), LabError> {
        self.send(bytes, &SocketAddrV4::new(to, 0).into())
    }

    /// Sends to an IPv6 address and port (port 0 on raw sockets).
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn send6(&self, bytes: &[u8], to: Ipv6Addr, port: u16) -> Result<(), LabError> {
        self.send(bytes, &SocketAddrV6::new(to, port, 0, 0).into())
    }

    /// Sends to a link-local or multicast address on the interface of this index.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn send6_on(&self, bytes: &[u8], to: Ipv6Addr, index: u32) -> Result<(), LabError> {
        self.send(bytes, &SocketAddrV6::new(to, 0, 0, index).into())
    }

    fn send(&self, bytes: &[u8], to: &SockAddr) -> Result<(), LabError> {
        self.socket.send_to(bytes, to).map(drop).map_err(|error| LabError::io("sending", error))
    }

    /// Receives what is there into `buffer`; `None` when nothing is.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn receive<'a>(&self, buffer: &'a mut [u8]) -> Result<Option<&'a [u8]>, LabError> {
        match rustix::net::recv(&self.socket, &mut *buffer, rustix::net::RecvFlags::empty()) {
            Ok((length, _)) => Ok(buffer.get(..length)),
            Err(rustix::io::Errno::AGAIN) => Ok(None),
            Err(error) => Err(LabError::io("receiving", error)),
        }
    }

    /// Waits for the first packet that `wanted` makes something of.
    ///
    /// # Errors
    /// None came before the deadline.
    pub fn wait_for<T>(
        &self,
        what: &str,
        deadline: Deadline,
        mut wanted: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<T, LabError> {
        let mut buffer = vec![0; 65_536];
        loop {
            while let Some(packet) = self.receive(&mut buffer)? {
                if let Some(found) = wanted(packet) {
                    return Ok(found);
                }
            }
            if !deadline::readable(&self.socket, &deadline)? {
                return Err(deadline.missed(what));
            }
        }
    }

    /// How many of the packets that are there satisfy `wanted`; all are taken.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn count(&self, mut wanted: impl FnMut(&[u8]) -> bool) -> Result<usize, LabError> {
        let mut buffer = vec![0; 65_536];
        let mut count = 0;
        while let Some(packet) = self.receive(&mut buffer)? {
            count += usize::from(wanted(packet));
        }
        Ok(count)
    }

    /// Waits until something can be received, at most until the deadline.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn wait(&self, deadline: &Deadline) -> Result<bool, LabError> {
        deadline::readable(&self.socket, deadline)
    }
}

/// A counter of a host's kernel from `/proc/net/snmp`, such as `("Icmp", "OutMsgs")`.
///
/// # Errors
/// There is none of that name.
pub fn kernel_counter(host: &Host, group: &str, name: &str) -> Result<u64, LabError> {
    let text = host
        .within(|| std::fs::read_to_string("/proc/thread-self/net/snmp"))?
        .map_err(|error| LabError::io("reading /proc/net/snmp", error))?;
    let lines: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix(group)?.strip_prefix(':')).collect();
    let found = lines.first().zip(lines.get(1)).and_then(|(names, values)| {
        let at = names.split_whitespace().position(|one| one == name)?;
        values.split_whitespace().nth(at)?.parse().ok()
    });
    found.ok_or_else(|| LabError::Topology(format!("no kernel counter {group} {name}")))
}

/// The lab's addresses of the first-light topology, in one place.
pub mod address {
    use super::{Ipv4Addr, Ipv6Addr};

    /// The native IPv6 host.
    pub const HOST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0x600, 0, 0, 0, 0, 0, 1);
    /// The relay's native side.
    pub const RELAY6: Ipv6Addr = Ipv6Addr::new(0x2001, 0x600, 0, 0, 0, 0, 0, 0xfe);
    /// The relay's IPv4 side.
    pub const RELAY4: Ipv4Addr = Ipv4Addr::new(9, 254, 253, 252);
    /// The provider's router, as the relay sees it.
    pub const ISP4: Ipv4Addr = Ipv4Addr::new(9, 254, 253, 1);
    /// The 6to4 address that belongs to the provider's router.
    pub const ISP6: Ipv6Addr = Ipv6Addr::new(0x2002, 0x9fe, 0xfd01, 0, 0, 0, 0, 1);
    /// The 6to4 site's IPv4 address.
    pub const SITE4: Ipv4Addr = Ipv4Addr::new(192, 1, 2, 3);
    /// The 6to4 site's IPv6 address.
    pub const SITE6: Ipv6Addr = Ipv6Addr::new(0x2002, 0xc001, 0x203, 0, 0, 0, 0, 1);
}

/// The inner IPv6 packet of a protocol-41 packet that begins with its IPv4 header.
pub fn inner(outer: &[u8]) -> Option<&[u8]> {
    let header = usize::from(outer.first()? & 0x0F) * 4;
    (outer.get(9) == Some(&packet::protocol::IPV6)).then_some(())?;
    outer.get(header..)
}
