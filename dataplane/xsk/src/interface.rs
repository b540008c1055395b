//! What the keeper has to know of an interface before it attaches anything: queues, driver, whether
//! XDP is possible and free there. And how a link is taken off again.
#![allow(unsafe_code)] // ethtool's ioctl, queries and link detachment through libbpf's thin wrappers

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::diagnose::{Cause, SetupError, Step};
use crate::program::{AttachMode, Program, occupant, query};

/// Commands of `linux/ethtool.h`.
const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GCHANNELS: u32 = 0x3c;
/// `SIOCETHTOOL` of `linux/sockios.h`.
const SIOCETHTOOL: libc::Ioctl = 0x8946;
/// `NETDEV_XDP_ACT_BASIC` of `linux/netdev.h`: the driver runs XDP programs.
const XDP_BASIC: u64 = 1;

/// `struct ethtool_channels`.
#[repr(C)]
#[derive(Default)]
struct Channels {
    cmd: u32,
    max: [u32; 4],
    rx: u32,
    tx: u32,
    other: u32,
    combined: u32,
}

/// `struct ethtool_drvinfo`.
#[repr(C)]
struct DriverInfo {
    cmd: u32,
    driver: [u8; 32],
    rest: [u8; 160],
}

const _: () = assert!(size_of::<Channels>() == 36);
const _: () = assert!(size_of::<DriverInfo>() == 196);

/// A record of integers and bytes that starts with the command it is for, and is as long as the
/// kernel takes that command's record to be.
trait Record {}
impl Record for Channels {}
impl Record for DriverInfo {}

/// Facts about an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Receive queues, at least 1.
    pub queues: u16,
    /// Name of the driver; empty when the driver does not tell.
    pub driver: String,
}

/// Reads queues and driver of the interface called `name` in this network namespace.
///
/// A driver that knows no channels has one queue.
///
/// # Errors
/// No socket could be opened.
pub fn facts(name: &str) -> io::Result<Facts> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let mut channels = Channels { cmd: ETHTOOL_GCHANNELS, ..Channels::default() };
    let queues = match ethtool(&socket, name, &mut channels) {
        Ok(()) => u16::try_from(channels.rx + channels.combined).unwrap_or(u16::MAX).max(1),
        Err(_) => 1,
    };
    let mut info = DriverInfo { cmd: ETHTOOL_GDRVINFO, driver: [0; 32], rest: [0; 160] };
    let driver = match ethtool(&socket, name, &mut info) {
        Ok(()) => CStr::from_bytes_until_nul(&info.driver)
            .map_or_else(|_| String::new(), |driver| driver.to_string_lossy().into_owned()),
        Err(_) => String::new(),
    };
    Ok(Facts { queues, driver })
}

/// One ethtool command.
fn ethtool<T: Record>(socket: &OwnedFd, name: &str, record: &mut T) -> io::Result<()> {
    // SAFETY: an ifreq of zeros is a valid value: it holds integers, bytes and null pointers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_data = (&raw mut *record).cast();
    // SAFETY: `ifru_data` points to a `Record`, whose size is that of its command (asserted above),
    // exclusively borrowed during the call; any bytes the kernel writes are valid integers.
    let code = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    if code < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Looks whether no program is attached to an interface yet.
///
/// # Errors
/// [`Cause::Occupied`], with the name of the program if this process may know it (CAP_SYS_ADMIN).
pub fn unoccupied(name: &str, ifindex: u32) -> Result<(), SetupError> {
    let Some((id, occupant)) = occupant(ifindex) else { return Ok(()) };
    let cause = Cause::Occupied { id, name: occupant };
    let source = io::Error::from_raw_os_error(libc::EBUSY);
    Err(SetupError::known(Step::AttachProgram, name, cause, source))
}

/// Looks whether the program could be attached. Where the driver does not say so (before Linux 6.3,
/// and some drivers after it), the program is attached for a moment: its sets are empty yet, so it
/// passes everything.
///
/// # Errors
/// The interface is occupied, or has no native XDP.
pub fn examine(program: &Program, name: &str, ifindex: u32, mode: AttachMode) -> Result<(), SetupError> {
    unoccupied(name, ifindex)?;
    let told = query(ifindex).is_some_and(|found| found.feature_flags & XDP_BASIC != 0);
    if told || mode == AttachMode::Generic {
        return Ok(());
    }
    program.attach(name, ifindex, mode).map(drop)
}

/// Takes a link off its interface now, whoever else holds descriptors of it.
///
/// # Errors
/// The kernel's; a link whose interface has gone is detached already.
pub fn detach(link: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes and gives integers only.
    match unsafe { libbpf_sys::bpf_link_detach(link.as_raw_fd()) } {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(-code)),
    }
}

/// Looks whether a descriptor from another process is the link of an XDP program.
///
/// # Errors
/// `InvalidInput` for a link of another kind, the kernel's for anything else.
pub fn attached_by(link: BorrowedFd<'_>) -> io::Result<()> {
    attached_to(link).map(drop)
}

/// The number of the interface that an XDP link is attached to; 0 once the interface was deleted.
///
/// # Errors
/// As [`attached_by`].
pub fn attached_to(link: BorrowedFd<'_>) -> io::Result<u32> {
    let mut info = libbpf_sys::bpf_link_info::default();
    let mut len = size_of_val(&info) as u32;
    // SAFETY: the call writes at most `len` bytes of integers into `info`; all its pointers are null,
    // which asks for nothing behind them.
    let code = unsafe { libbpf_sys::bpf_link_get_info_by_fd(link.as_raw_fd(), &raw mut info, &raw mut len) };
    match code {
        // SAFETY: the kernel has filled the member of the union that the type names; it is an integer.
        0 if info.type_ == libbpf_sys::BPF_LINK_TYPE_XDP => Ok(unsafe { info.__bindgen_anon_1.xdp.ifindex }),
        0 => Err(io::ErrorKind::InvalidInput.into()),
        code => Err(io::Error::from_raw_os_error(-code)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_not_a_link() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(attached_by(std::os::fd::AsFd::as_fd(&file)).is_err());
    }

    #[test]
    fn the_loopback_has_one_queue() {
        assert_eq!(facts("lo").unwrap().queues, 1);
    }

    #[test]
    fn a_missing_or_overlong_name_is_no_panic() {
        assert_eq!(facts("sxnothere").unwrap(), Facts { queues: 1, driver: String::new() });
        assert_eq!(facts(&"x".repeat(99)).unwrap().queues, 1);
    }
}
