//! The door: the TUN device `sixlane0`, through which the kernel and the data plane exchange packets of
//! the box itself. The keeper makes it and holds it; control reads and writes it. It is not persistent:
//! it lives as long as some process holds it.
//!
//! One `unsafe` operation, the request TUNSETIFF: no library that we use already has a safe form of it.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Setter, opcode};

use crate::error::KeeperError;
use crate::protocol::{Link, Message};
use crate::store::Parcel;

/// Name of the interface.
const NAME: &str = "sixlane0";
/// Where the kernel makes TUN devices.
const DEVICE: &str = "/dev/net/tun";
/// Major and minor number of that device, the same on every Linux.
const NUMBER: (u32, u32) = (10, 200);
/// A device whose holder was killed a moment ago goes a little later.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(10);

/// `TUNSETIFF` of `linux/if_tun.h`: gives an open `/dev/net/tun` its interface. Its number names an `int`
/// for historical reasons; it takes a `struct ifreq`.
const TUNSETIFF: Opcode = opcode::write::<i32>(b'T', 202);
/// IP packets, not Ethernet frames.
const IFF_TUN: u16 = 0x0001;
/// No header before the packet.
const IFF_NO_PI: u16 = 0x1000;
/// Refuse a name that is taken, also by a device that nobody holds.
const IFF_TUN_EXCL: u16 = 0x8000;

/// `struct ifreq` as TUNSETIFF reads it: a name that ends with a zero, flags, and nothing more.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Request {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

const _: () = assert!(size_of::<Request>() == 40);

/// The device.
#[derive(Debug)]
pub(crate) struct Door {
    device: Rc<OwnedFd>,
    ifindex: u32,
}

impl Door {
    /// Makes the device in the network namespace of this process. It is down and has no address.
    ///
    /// # Errors
    /// [`KeeperError::Door`]: one sentence with cause and remedy.
    pub(crate) fn open() -> Result<Self, KeeperError> {
        let begin = Instant::now();
        loop {
            match create() {
                Ok((device, ifindex)) => return Ok(Self { device: Rc::new(device), ifindex }),
                Err(error) if taken(&error) && begin.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
                Err(error) => return Err(KeeperError::Door(sentence(&error))),
            }
        }
    }

    /// Takes over what another keeper held.
    ///
    /// # Errors
    /// The descriptor is no TUN device, or nothing is known of it.
    pub(crate) fn adopt(device: OwnedFd, ifindex: u32) -> io::Result<Self> {
        let number = rustix::fs::fstat(&device)?.st_rdev;
        if number != rustix::fs::makedev(NUMBER.0, NUMBER.1) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no TUN device"));
        }
        Ok(Self { device: Rc::new(device), ifindex })
    }

    /// A duplicate for control.
    pub(crate) fn parcel(&self) -> Parcel {
        let link = Link { what: Link::DOOR, port: self.ifindex };
        (Message::Link(link), vec![Rc::clone(&self.device)])
    }
}

/// Reads and writes of the device never wait: the flag belongs to what all duplicates share.
fn create() -> io::Result<(OwnedFd, u32)> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let device = rustix::fs::open(DEVICE, flags, Mode::empty())?;
    let mut request = Request { name: [0; 16], flags: IFF_TUN | IFF_NO_PI | IFF_TUN_EXCL, rest: [0; 22] };
    request.name[..NAME.len()].copy_from_slice(NAME.as_bytes());
    // SAFETY: TUNSETIFF takes a `struct ifreq`, whose size, name and flags `Request` has.
    let setter = unsafe { Setter::<TUNSETIFF, Request>::new(request) };
    // SAFETY: the setter points at its own request, which it owns for the whole call; the kernel reads
    // and writes back no more than a `struct ifreq` there.
    unsafe { rustix::ioctl::ioctl(&device, setter) }?;
    let probe = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    let ifindex = rustix::net::netdevice::name_to_index(&probe, NAME)?;
    Ok((device, ifindex))
}

/// The name is in use, by an interface of whatever kind.
fn taken(error: &io::Error) -> bool {
    [Errno::BUSY, Errno::EXIST].map(|errno| Some(errno.raw_os_error())).contains(&error.raw_os_error())
}

fn sentence(error: &io::Error) -> String {
    if taken(error) {
        return format!(
            "an interface named {NAME} exists already in this network namespace, and sixlane needs the name for \
             its own: remove it with `ip link del {NAME}`, or stop the process that holds it"
        );
    }
    if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) {
        return format!(
            "{DEVICE} is not there ({error}), and the interface {NAME} is made with it: load the module with \
             `modprobe tun`, or give the container this device"
        );
    }
    format!("the interface {NAME} cannot be made ({error}): allow this process {DEVICE} and CAP_NET_ADMIN")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_names_its_remedy() {
        let of = |errno: Errno| sentence(&io::Error::from(errno));
        assert!(of(Errno::BUSY).contains("ip link del sixlane0"));
        assert!(of(Errno::NOENT).contains("modprobe tun"));
        assert!(of(Errno::PERM).contains("CAP_NET_ADMIN"));
    }

    #[test]
    fn what_is_no_tun_device_is_not_adopted() {
        let null = std::fs::File::open("/dev/null").unwrap();
        assert!(Door::adopt(null.into(), 5).is_err());
    }

    #[test]
    fn the_request_has_the_number_of_the_kernels_header() {
        assert_eq!(TUNSETIFF, 0x4004_54ca);
    }
}
