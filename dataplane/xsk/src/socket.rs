//! Making AF_XDP sockets (the keeper, with CAP_NET_RAW) and mapping their rings (anyone who was
//! given the descriptor).
#![allow(unsafe_code)] // one socket option that rustix does not know

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::sockopt::{
    set_socket_send_buffer_size_force, set_xdp_rx_ring_size, set_xdp_tx_ring_size,
    set_xdp_umem_completion_ring_size, set_xdp_umem_fill_ring_size, set_xdp_umem_reg, xdp_mmap_offsets,
    xdp_options,
};
use rustix::net::xdp::{
    SocketAddrXdp, SocketAddrXdpFlags, SocketAddrXdpWithSharedUmem, XdpMmapOffsets, XdpOptionsFlags,
    XdpRingOffset, XdpUmemReg, XdpUmemRegFlags,
};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};

use crate::area::Area;
use crate::diagnose::{SetupError, Step};
use crate::queue::Rings;
use crate::ring::{Consumer, Producer, RingLayout, RingMemory, Slot};
use crate::uapi::Descriptor;
use crate::umem::{FRAME_BYTES, Umem};

/// How long a queue may stay busy after its previous owner has gone: the kernel takes 7–10 ms to
/// take a socket down.
const BUSY_PATIENCE: Duration = Duration::from_secs(3);
/// Pause between two attempts.
const BUSY_PAUSE: Duration = Duration::from_millis(1);
/// `XDP_MAX_TX_SKB_BUDGET` (kernel 6.18 and later): descriptors that one wake-up call may send.
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;
/// The budget asked for. The kernel allows 32 up to the size of the TX ring.
const TX_BUDGET: u32 = 256;
/// Memory that the kernel charges for one packet being sent in copy mode, in bytes.
const SEND_BUFFER_PER_PACKET: usize = 4096;

/// Offsets at which the rings of a socket are mapped (`linux/if_xdp.h`).
const PGOFF_RX: u64 = 0;
const PGOFF_TX: u64 = 0x8000_0000;
const PGOFF_FILL: u64 = 0x1_0000_0000;
const PGOFF_COMPLETION: u64 = 0x1_8000_0000;

/// Entries of the four rings of a socket: powers of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingSizes {
    /// Received packets that may wait for the worker.
    pub rx: u32,
    /// Packets that may wait for the kernel.
    pub tx: u32,
    /// Free frames given to the kernel.
    pub fill: u32,
    /// Sent frames that may wait for the worker.
    pub completion: u32,
}

impl Default for RingSizes {
    fn default() -> Self {
        Self { rx: 2048, tx: 2048, fill: 4096, completion: 4096 }
    }
}

impl RingSizes {
    /// Frames that one socket can have outside the pool without zero-copy, and a batch. What is being sent
    /// has its place in the completion ring already, so a port that stalls (FAIL-12) has that many besides
    /// its TX ring.
    #[must_use]
    pub fn frames_needed(&self) -> u32 {
        self.fill + self.rx + self.tx + self.completion + 64
    }
}

/// Which way of moving packets is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Zero-copy if every queue of the worker takes it, else copy.
    Auto,
    /// Zero-copy or nothing.
    ZeroCopy,
    /// Copy.
    Copy,
}

/// The queue of an interface that a socket is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Name of the interface, for sentences.
    pub interface: String,
    /// Index of the interface.
    pub ifindex: u32,
    /// Number of its RX queue.
    pub queue: u32,
}

/// The sockets of one worker, in the order of the targets.
#[derive(Debug)]
pub struct Opened {
    /// Bound sockets on one arena.
    pub sockets: Vec<OwnedFd>,
    /// True if the driver works on the frames themselves.
    pub zero_copy: bool,
    /// With [`Mode::Auto`] and copy: what kept zero-copy from being used.
    pub copy_because: Option<SetupError>,
}

/// Opens the sockets of one worker on its arena. They share it (`XDP_SHARED_UMEM`), so they are
/// all zero-copy or all copy.
///
/// # Errors
/// The first queue that cannot be had, in a sentence with cause and remedy.
pub fn open_worker(
    umem: &Umem,
    targets: &[Target],
    mode: Mode,
    sizes: RingSizes,
) -> Result<Opened, SetupError> {
    let all = |mode| {
        let mut sockets: Vec<OwnedFd> = Vec::with_capacity(targets.len());
        for target in targets {
            let first = sockets.first().map(AsFd::as_fd);
            sockets.push(open(umem, target, mode, sizes, first)?);
        }
        Ok(sockets)
    };
    let copy_because = match mode {
        Mode::Copy => None,
        Mode::ZeroCopy => return opened(all(SocketAddrXdpFlags::XDP_ZEROCOPY)?, None),
        Mode::Auto => match all(SocketAddrXdpFlags::XDP_ZEROCOPY) {
            Ok(sockets) => return opened(sockets, None),
            Err(error) if error.is_unsupported() => Some(error),
            Err(error) => return Err(error),
        },
    };
    opened(all(SocketAddrXdpFlags::XDP_COPY)?, copy_because)
}

/// Opens a socket for a worker that has others: its memory is shared with the first of `others` that
/// still works, else registered anew (all interfaces of the worker were deleted).
///
/// # Errors
/// The queue cannot be had, or not in the mode of the others.
pub fn open_beside(
    umem: &Umem,
    target: &Target,
    others: &[BorrowedFd<'_>],
    zero_copy: bool,
    sizes: RingSizes,
) -> Result<OwnedFd, SetupError> {
    let mode = if zero_copy { SocketAddrXdpFlags::XDP_ZEROCOPY } else { SocketAddrXdpFlags::XDP_COPY };
    for other in others {
        match open(umem, target, mode, sizes, Some(*other)) {
            // That one's interface has gone as well.
            Err(error) if error.raw_os_error() == Some(Errno::BADF.raw_os_error()) => {}
            outcome => return outcome,
        }
    }
    open(umem, target, mode, sizes, None)
}

fn opened(sockets: Vec<OwnedFd>, copy_because: Option<SetupError>) -> Result<Opened, SetupError> {
    let zero_copy = match sockets.first() {
        Some(first) => {
            is_zero_copy(first.as_fd()).map_err(|error| SetupError::step(Step::OpenSocket, "", error))?
        }
        None => false,
    };
    Ok(Opened { sockets, zero_copy, copy_because })
}

/// True if the bound socket works without copying.
///
/// # Errors
/// The descriptor is not an AF_XDP socket.
pub fn is_zero_copy(socket: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(xdp_options(socket)?.contains(XdpOptionsFlags::XDP_OPTIONS_ZEROCOPY))
}

/// Opens and binds one socket.
fn open(
    umem: &Umem,
    target: &Target,
    mode: SocketAddrXdpFlags,
    sizes: RingSizes,
    shared_with: Option<BorrowedFd<'_>>,
) -> Result<OwnedFd, SetupError> {
    let interface = target.interface.as_str();
    let socket = socket_with(AddressFamily::XDP, SocketType::RAW, SocketFlags::CLOEXEC, None)
        .map_err(|errno| SetupError::step(Step::OpenSocket, interface, errno.into()))?;
    if shared_with.is_none() {
        register(&socket, umem)
            .map_err(|errno| SetupError::step(Step::RegisterFrames, interface, errno.into()))?;
    }
    size_rings(&socket, sizes).map_err(|errno| SetupError::step(Step::SizeRings, interface, errno.into()))?;
    widen_sending(&socket, sizes.tx);
    bind_patiently(&socket, target, mode, shared_with).map_err(|errno| {
        SetupError::step(Step::BindQueue { queue: target.queue }, interface, errno.into())
    })?;
    Ok(socket)
}

fn register(socket: &OwnedFd, umem: &Umem) -> Result<(), Errno> {
    let (addr, len) = umem.registration();
    let registration = XdpUmemReg {
        addr,
        len,
        chunk_size: FRAME_BYTES as u32,
        headroom: 0,
        flags: XdpUmemRegFlags::empty(),
        tx_metadata_len: 0,
    };
    set_xdp_umem_reg(socket, registration)
}

fn size_rings(socket: &OwnedFd, sizes: RingSizes) -> Result<(), Errno> {
    set_xdp_umem_fill_ring_size(socket, sizes.fill)?;
    set_xdp_umem_completion_ring_size(socket, sizes.completion)?;
    set_xdp_rx_ring_size(socket, sizes.rx)?;
    set_xdp_tx_ring_size(socket, sizes.tx)
}

/// Lets one call send more. Both settings only save calls, so a refusal is no failure.
fn widen_sending(socket: &OwnedFd, tx_ring: u32) {
    let budget = TX_BUDGET.min(tx_ring);
    // SAFETY: the option reads four bytes at the address, which are those of `budget`.
    let _ = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_XDP,
            XDP_MAX_TX_SKB_BUDGET,
            (&raw const budget).cast(),
            size_of_val(&budget) as libc::socklen_t,
        )
    };
    let _ = set_socket_send_buffer_size_force(socket, tx_ring as usize * SEND_BUFFER_PER_PACKET);
}

/// Binds, waiting out the previous owner of the queue.
fn bind_patiently(
    socket: &OwnedFd,
    target: &Target,
    mode: SocketAddrXdpFlags,
    shared_with: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let deadline = Instant::now() + BUSY_PATIENCE;
    loop {
        let outcome = match shared_with {
            // Mode and need-wakeup come from the first socket; any other flag is refused.
            Some(shared_umem_fd) => {
                let flags = SocketAddrXdpFlags::XDP_SHARED_UMEM;
                let addr = SocketAddrXdp::new(flags, target.ifindex, target.queue);
                bind(socket, &SocketAddrXdpWithSharedUmem { addr, shared_umem_fd })
            }
            None => {
                let flags = mode | SocketAddrXdpFlags::XDP_USE_NEED_WAKEUP;
                bind(socket, &SocketAddrXdp::new(flags, target.ifindex, target.queue))
            }
        };
        match outcome {
            Err(Errno::BUSY) if Instant::now() < deadline => std::thread::sleep(BUSY_PAUSE),
            outcome => return outcome,
        }
    }
}

impl Rings {
    /// Maps the rings of a socket that another process opened. Needs no privilege and moves
    /// nothing.
    ///
    /// # Errors
    /// The descriptor is no AF_XDP socket with rings of these sizes.
    pub fn attach(socket: OwnedFd, sizes: RingSizes) -> io::Result<Self> {
        let XdpMmapOffsets { rx, tx, fr, cr } = xdp_mmap_offsets(&socket)?;
        Ok(Self {
            fill: Producer::attach(map_ring(&socket, PGOFF_FILL, &fr, sizes.fill)?),
            tx: Producer::attach(map_ring::<Descriptor>(&socket, PGOFF_TX, &tx, sizes.tx)?),
            rx: Consumer::attach(map_ring::<Descriptor>(&socket, PGOFF_RX, &rx, sizes.rx)?),
            completion: Consumer::attach(map_ring(&socket, PGOFF_COMPLETION, &cr, sizes.completion)?),
            socket: Some(socket),
        })
    }
}

fn map_ring<T: Slot>(
    socket: &OwnedFd,
    page_offset: u64,
    offsets: &XdpRingOffset,
    size: u32,
) -> io::Result<RingMemory<T>> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let at = |offset: u64| usize::try_from(offset).map_err(|_| invalid());
    let layout = RingLayout {
        producer: at(offsets.producer)?,
        consumer: at(offsets.consumer)?,
        flags: at(offsets.flags.ok_or_else(invalid)?)?,
        slots: at(offsets.desc)?,
    };
    let len = layout.slots + size as usize * size_of::<T>();
    let area = Arc::new(Area::map(socket.as_fd(), page_offset, len)?);
    RingMemory::new(area, layout, size).ok_or_else(invalid)
}
