//! Typed access to the maps of the XDP program, over descriptors alone: a process without any
//! capability can use them.
#![allow(unsafe_code)] // bpf(2) through libbpf's thin wrappers

use std::collections::HashSet;
use std::io;
use std::marker::PhantomData;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::uapi::{Port, PortKey, Prefix6, QUEUES_MAX, TAGGED, XdpCounters};

/// Number of maps, and so of descriptors that travel together.
pub const MAP_COUNT: usize = 6;

/// The maps in the order in which their descriptors travel, by their names in `bpf/maps.h`.
pub const MAP_NAMES: [&str; MAP_COUNT] = ["ports", "relay4", "local6", "served6", "xsks", "counters"];

/// The maps of one loaded program.
#[derive(Debug)]
pub struct Maps {
    /// Interface and VLAN → port.
    pub ports: Map<PortKey, Port>,
    /// Relay address (network order) → services.
    pub relay4: Map<[u8; 4], u32>,
    /// Own IPv6 addresses.
    pub local6: Map<[u8; 16], u32>,
    /// Served prefixes.
    pub served6: Map<Prefix6, u32>,
    xsks: Map<u32, u32>,
    counters: Map<u32, XdpCounters>,
}

/// One map: a key and a value of plain bytes.
#[derive(Debug)]
pub struct Map<K, V> {
    fd: OwnedFd,
    types: PhantomData<(K, V)>,
}

impl Maps {
    /// Takes the descriptors, in the order of [`MAP_NAMES`].
    ///
    /// # Errors
    /// One of them is not a map with keys and values of the expected sizes.
    pub fn from_fds(fds: [OwnedFd; MAP_COUNT]) -> io::Result<Self> {
        let [ports, relay4, local6, served6, xsks, counters] = fds;
        Ok(Self {
            ports: Map::over(ports)?,
            relay4: Map::over(relay4)?,
            local6: Map::over(local6)?,
            served6: Map::over(served6)?,
            xsks: Map::over(xsks)?,
            counters: Map::over(counters)?,
        })
    }

    /// The descriptors, in the order of [`MAP_NAMES`].
    #[must_use]
    pub fn fds(&self) -> [BorrowedFd<'_>; MAP_COUNT] {
        [
            self.ports.fd.as_fd(),
            self.relay4.fd.as_fd(),
            self.local6.fd.as_fd(),
            self.served6.fd.as_fd(),
            self.xsks.fd.as_fd(),
            self.counters.fd.as_fd(),
        ]
    }

    /// Makes frames of the interface (with that VLAN tag, if any) those of a port.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_port(&self, ifindex: u32, vlan: Option<u16>, port: Port) -> io::Result<()> {
        let tag = vlan.map_or(0, |id| id | TAGGED);
        self.ports.set(&PortKey { ifindex, tag, reserved: 0 }, &port)
    }

    /// Adds or changes a relay address; `services` are the `SERVES_` bits.
    ///
    /// # Errors
    /// The kernel's; the set is full.
    pub fn add_relay4(&self, address: Ipv4Addr, services: u32) -> io::Result<()> {
        self.relay4.set(&address.octets(), &services)
    }

    /// Removes a relay address; one that is not there is removed already.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove_relay4(&self, address: Ipv4Addr) -> io::Result<()> {
        self.relay4.remove(&address.octets())
    }

    /// Adds an IPv6 address of the box.
    ///
    /// # Errors
    /// The kernel's; the set is full.
    pub fn add_local6(&self, address: Ipv6Addr) -> io::Result<()> {
        self.local6.set(&address.octets(), &0)
    }

    /// Removes an IPv6 address of the box.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove_local6(&self, address: Ipv6Addr) -> io::Result<()> {
        self.local6.remove(&address.octets())
    }

    /// Adds a served prefix of `length` bits.
    ///
    /// # Errors
    /// The kernel's; the set is full.
    pub fn add_served6(&self, network: Ipv6Addr, length: u8) -> io::Result<()> {
        self.served6.set(&Prefix6 { length: length.into(), address: network.octets() }, &0)
    }

    /// Removes a served prefix.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove_served6(&self, network: Ipv6Addr, length: u8) -> io::Result<()> {
        self.served6.remove(&Prefix6 { length: length.into(), address: network.octets() })
    }

    /// Gives the frames of a port's queue to a socket. From now on none of them is dropped for
    /// want of one.
    ///
    /// # Errors
    /// The kernel's; `queue` is [`QUEUES_MAX`] or more.
    pub fn set_socket(&self, port: u8, queue: u16, socket: BorrowedFd<'_>) -> io::Result<()> {
        let fd = u32::try_from(socket.as_raw_fd()).unwrap_or(u32::MAX);
        self.xsks.set(&socket_slot(port, queue)?, &fd)
    }

    /// Takes the socket of a port's queue out: its frames are dropped and counted.
    ///
    /// # Errors
    /// The kernel's; `queue` is [`QUEUES_MAX`] or more.
    pub fn clear_socket(&self, port: u8, queue: u16) -> io::Result<()> {
        self.xsks.remove(&socket_slot(port, queue)?)
    }

    /// Counters of one port ([`crate::uapi::NO_PORT`]: frames on no port), summed over CPUs.
    ///
    /// # Errors
    /// The kernel's.
    pub fn counters(&self, port: u32) -> io::Result<XdpCounters> {
        let per_cpu = self.counters.get_per_cpu(&port)?;
        let mut sum = XdpCounters::default();
        for cpu in per_cpu {
            sum.seen += cpu.seen;
            sum.passed += cpu.passed;
            sum.redirected += cpu.redirected;
            sum.no_socket += cpu.no_socket;
            sum.not_our_mac += cpu.not_our_mac;
        }
        Ok(sum)
    }
}

fn socket_slot(port: u8, queue: u16) -> io::Result<u32> {
    if u32::from(queue) >= QUEUES_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(u32::from(port) * QUEUES_MAX + u32::from(queue))
}

impl<K, V> Map<K, V>
where
    K: FromBytes + IntoBytes + Immutable,
    V: FromBytes + IntoBytes + Immutable,
{
    /// Invariant: the map's keys and values have the sizes of K and V.
    fn over(fd: OwnedFd) -> io::Result<Self> {
        let mut info = libbpf_sys::bpf_map_info::default();
        let mut len = size_of_val(&info) as u32;
        // SAFETY: the kernel writes at most `len` bytes of integers into `info`.
        let code = unsafe { libbpf_sys::bpf_map_get_info_by_fd(fd.as_raw_fd(), &raw mut info, &raw mut len) };
        outcome(code)?;
        let sizes = (info.key_size as usize, info.value_size as usize);
        if sizes != (size_of::<K>(), size_of::<V>()) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(Self { fd, types: PhantomData })
    }

    /// Adds or replaces an entry.
    ///
    /// # Errors
    /// The kernel's, among them `E2BIG` or `ENOSPC`: the map is full.
    pub fn set(&self, key: &K, value: &V) -> io::Result<()> {
        let (key, value) = (key.as_bytes().as_ptr(), value.as_bytes().as_ptr());
        // SAFETY: the map has keys and values of the sizes of K and V (checked in `over`), and the
        // kernel reads just as many bytes.
        let code =
            unsafe { libbpf_sys::bpf_map_update_elem(self.fd.as_raw_fd(), key.cast(), value.cast(), 0) };
        outcome(code)
    }

    /// Removes an entry, if it is there.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove(&self, key: &K) -> io::Result<()> {
        let key = key.as_bytes().as_ptr();
        // SAFETY: as in `set`.
        let code = unsafe { libbpf_sys::bpf_map_delete_elem(self.fd.as_raw_fd(), key.cast()) };
        match outcome(code) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        }
    }

    /// The value of an entry.
    ///
    /// # Errors
    /// The kernel's.
    pub fn get(&self, key: &K) -> io::Result<Option<V>> {
        let mut value = V::new_zeroed();
        let (key, bytes) = (key.as_bytes().as_ptr(), (&raw mut value).cast());
        // SAFETY: as in `set`; the kernel writes `size_of::<V>()` bytes, any of which make a V.
        let code = unsafe { libbpf_sys::bpf_map_lookup_elem(self.fd.as_raw_fd(), key.cast(), bytes) };
        match outcome(code) {
            Ok(()) => Ok(Some(value)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All keys.
    ///
    /// # Errors
    /// The kernel's.
    pub fn keys(&self) -> io::Result<Vec<K>> {
        let mut keys: Vec<K> = Vec::new();
        loop {
            let mut next = K::new_zeroed();
            let previous = keys.last().map_or(std::ptr::null(), |key| key.as_bytes().as_ptr());
            // SAFETY: as in `get`, for keys; a null key asks for the first.
            let code = unsafe {
                libbpf_sys::bpf_map_get_next_key(self.fd.as_raw_fd(), previous.cast(), (&raw mut next).cast())
            };
            match outcome(code) {
                Ok(()) => keys.push(next),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(keys),
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes `entries` the whole content: adds what is missing before it removes what is not
    /// wanted, so that an entry that stays is there all the time.
    ///
    /// # Errors
    /// The kernel's; what was done until then stays.
    pub fn replace(&self, entries: &[(K, V)]) -> io::Result<()> {
        let mut wanted = HashSet::with_capacity(entries.len());
        for (key, value) in entries {
            self.set(key, value)?;
            wanted.insert(key.as_bytes());
        }
        for key in self.keys()? {
            if !wanted.contains(key.as_bytes()) {
                self.remove(&key)?;
            }
        }
        Ok(())
    }

    fn get_per_cpu(&self, key: &K) -> io::Result<Vec<V>> {
        const { assert!(size_of::<V>().is_multiple_of(8)) };
        let cpus = libbpf_rs::num_possible_cpus().map_err(io::Error::other)?;
        let mut values: Vec<V> = (0..cpus).map(|_| V::new_zeroed()).collect();
        let (key, bytes) = (key.as_bytes().as_ptr(), values.as_mut_ptr().cast());
        // SAFETY: for a per-CPU map the kernel writes one value, rounded up to 8 bytes, for each
        // possible CPU; V needs no rounding and there are as many values.
        let code = unsafe { libbpf_sys::bpf_map_lookup_elem(self.fd.as_raw_fd(), key.cast(), bytes) };
        outcome(code).map(|()| values)
    }
}

/// libbpf's wrappers give a negative error number and set `errno` too.
fn outcome(code: i32) -> io::Result<()> {
    if code < 0 { Err(io::Error::from_raw_os_error(-code)) } else { Ok(()) }
}
