//! Loading the XDP program and attaching it to interfaces.
#![allow(unsafe_code)] // link creation and queries that libbpf-rs has no safe form of

use std::error::Error as _;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libbpf_rs::{MapCore, Object, ObjectBuilder};

use crate::diagnose::{Cause, SetupError, Step};
use crate::maps::{MAP_NAMES, Maps};

/// The compiled program, built from `bpf/relay.bpf.c`.
const OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/relay.bpf.o"));

/// Name of the program in the object and in `bpftool prog`.
pub(crate) const PROGRAM: &str = "sixlane_relay";

/// Where in the stack of an interface the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachMode {
    /// In the driver. Never falls back.
    Native,
    /// In the kernel's generic path, for every driver and slow; only on request.
    Generic,
}

/// A loaded program and its maps.
#[derive(Debug)]
pub struct Program {
    fd: OwnedFd,
    maps: Maps,
}

/// Loads the program. Kernel BTF is not needed.
///
/// # Errors
/// Missing CAP_BPF or CAP_NET_ADMIN, or a kernel that refuses it.
pub fn load() -> Result<Program, SetupError> {
    load_quietly().map_err(|error| SetupError::step(Step::LoadProgram, "", error))
}

fn load_quietly() -> io::Result<Program> {
    libbpf_rs::set_print(None);
    let object = ObjectBuilder::default()
        .open_memory(OBJECT)
        .and_then(libbpf_rs::OpenObject::load)
        .map_err(|error| os_error(&error))?;
    let missing = || io::Error::from(io::ErrorKind::NotFound);
    let program = object.progs().find(|program| program.name() == PROGRAM).ok_or_else(missing)?;
    let fd = program.as_fd().try_clone_to_owned()?;
    let fds = MAP_NAMES.map(|name| map_fd(&object, name));
    let [Some(a), Some(b), Some(c), Some(d), Some(e), Some(f)] = fds else {
        return Err(missing());
    };
    Ok(Program { fd, maps: Maps::from_fds([a, b, c, d, e, f])? })
}

fn map_fd(object: &Object, name: &str) -> Option<OwnedFd> {
    object.maps().find(|map| map.name() == name)?.as_fd().try_clone_to_owned().ok()
}

/// The system's error behind one of libbpf.
fn os_error(error: &libbpf_rs::Error) -> io::Error {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(code) = inner.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return io::Error::from_raw_os_error(code);
        }
        source = inner.source();
    }
    io::Error::other(error.to_string())
}

impl Program {
    /// A program that another process loaded, by its descriptors.
    #[must_use]
    pub fn from_parts(fd: OwnedFd, maps: Maps) -> Self {
        Self { fd, maps }
    }

    /// The maps of the program.
    #[must_use]
    pub fn maps(&self) -> &Maps {
        &self.maps
    }

    /// Descriptor of the program.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Attaches the program to an interface by a link: exclusive, and detached when the last
    /// descriptor of the link is closed.
    ///
    /// # Errors
    /// No native XDP, another program is attached (with its id, and name if readable), or a
    /// missing privilege.
    pub fn attach(&self, interface: &str, ifindex: u32, mode: AttachMode) -> Result<OwnedFd, SetupError> {
        let flags = match mode {
            AttachMode::Native => libbpf_sys::XDP_FLAGS_DRV_MODE,
            AttachMode::Generic => libbpf_sys::XDP_FLAGS_SKB_MODE,
        };
        create_link(&self.fd, ifindex, flags).map_err(|error| {
            let occupied = matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EEXIST));
            match occupant(ifindex) {
                Some((id, name)) if occupied => {
                    SetupError::known(Step::AttachProgram, interface, Cause::Occupied { id, name }, error)
                }
                _ => SetupError::step(Step::AttachProgram, interface, error),
            }
        })
    }
}

fn create_link(program: &OwnedFd, ifindex: u32, flags: u32) -> io::Result<OwnedFd> {
    let options = libbpf_sys::bpf_link_create_opts {
        sz: size_of::<libbpf_sys::bpf_link_create_opts>() as libbpf_sys::size_t,
        flags,
        ..Default::default()
    };
    let target = i32::try_from(ifindex).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?;
    // SAFETY: `options` is initialised, names its own size and outlives the call.
    let code = unsafe {
        libbpf_sys::bpf_link_create(program.as_raw_fd(), target, libbpf_sys::BPF_XDP, &raw const options)
    };
    owned(code)
}

/// A descriptor just made by libbpf, or its negative error number.
fn owned(code: i32) -> io::Result<OwnedFd> {
    if code < 0 {
        return Err(io::Error::from_raw_os_error(-code));
    }
    // SAFETY: the callee has just opened this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(code) })
}

/// Id, and name if it can be read, of the program attached to an interface.
pub(crate) fn occupant(ifindex: u32) -> Option<(u32, Option<String>)> {
    let found = query(ifindex)?;
    let ids = [found.prog_id, found.drv_prog_id, found.skb_prog_id, found.hw_prog_id];
    let id = ids.into_iter().find(|&id| id != 0)?;
    Some((id, program_name(id)))
}

/// What the kernel tells of XDP on an interface.
pub(crate) fn query(ifindex: u32) -> Option<libbpf_sys::bpf_xdp_query_opts> {
    let mut options = libbpf_sys::bpf_xdp_query_opts {
        sz: size_of::<libbpf_sys::bpf_xdp_query_opts>() as libbpf_sys::size_t,
        prog_id: 0,
        drv_prog_id: 0,
        hw_prog_id: 0,
        skb_prog_id: 0,
        attach_mode: 0,
        __bindgen_padding_0: [0; 7],
        feature_flags: 0,
        xdp_zc_max_segs: 0,
        __bindgen_padding_1: [0; 4],
    };
    // SAFETY: `options` is initialised, names its own size and outlives the call, which writes
    // integers into it.
    let code = unsafe { libbpf_sys::bpf_xdp_query(i32::try_from(ifindex).ok()?, 0, &raw mut options) };
    (code == 0).then_some(options)
}

fn program_name(id: u32) -> Option<String> {
    // SAFETY: takes and gives integers only.
    let fd = owned(unsafe { libbpf_sys::bpf_prog_get_fd_by_id(id) }).ok()?;
    let mut info = libbpf_sys::bpf_prog_info::default();
    let mut len = u32::try_from(size_of_val(&info)).ok()?;
    // SAFETY: the call writes at most `len` bytes of integers into `info`; all its pointers are
    // null, which asks for nothing behind them.
    let code = unsafe { libbpf_sys::bpf_prog_get_info_by_fd(fd.as_raw_fd(), &raw mut info, &raw mut len) };
    if code < 0 {
        return None;
    }
    let bytes = info.name.map(|c| c.cast_unsigned());
    let name = CStr::from_bytes_until_nul(&bytes).ok()?;
    Some(name.to_string_lossy().into_owned()).filter(|name| !name.is_empty())
}
