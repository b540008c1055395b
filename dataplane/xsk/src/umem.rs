//! The frame arena that a worker and the kernel share, and the token that is the right to touch
//! one frame of it.
#![allow(unsafe_code)] // references into memory shared with the kernel

use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create};

use crate::area::Area;

/// Size of a frame in bytes. Received data starts 256 bytes into it, which leaves room to prepend
/// an outer header without moving the payload.
pub const FRAME_BYTES: usize = 2048;

/// Bytes of a 2 MiB huge page: the granularity of [`Memory::MemfdHuge`].
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Where the bytes of an arena lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// A sealed memfd, which another process can map.
    Memfd,
    /// The same on 2 MiB huge pages.
    MemfdHuge,
    /// Private memory: in-memory ports, tests, `sixlane explain`.
    Heap,
}

/// Names arenas within a process, so that a token is never used with a foreign one.
static NEXT_ID: AtomicU32 = AtomicU32::new(0);

/// An arena of frames of [`FRAME_BYTES`] each.
///
/// Invariant: frame `i` is the bytes `i * FRAME_BYTES ..` of the area, for `i < frames`. A frame is
/// touched by this process only through a [`Frame`], and at most one exists for each frame: tokens are
/// made by the one owner of the arena, which [`Umem::own`] lets be one.
pub struct Umem {
    area: Area,
    frames: u32,
    id: NonZeroU32,
    fd: Option<OwnedFd>,
    owned: AtomicBool,
}

/// The right to touch one frame: owned, neither cloned nor copied, made only by this crate when
/// the ledger says that the frame is the worker's.
///
/// A token that is dropped instead of being released or submitted leaks its frame until the next
/// hand-over.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a dropped token leaks its frame"]
pub struct Frame {
    index: u32,
    /// Identity of the arena; not zero, so that an `Option<Frame>` is no bigger.
    umem: NonZeroU32,
}

impl Frame {
    /// Number of the frame in its arena.
    #[inline]
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }
}

impl Umem {
    /// Makes an arena of `frames` frames.
    ///
    /// # Errors
    /// No memory, no huge pages, or `frames` is 0.
    pub fn create(frames: u32, memory: Memory) -> io::Result<Self> {
        let len = frames as usize * FRAME_BYTES;
        if frames == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let (len, huge) = match memory {
            Memory::Heap => return Ok(Self::over(Area::heap(len)?, frames, None)),
            Memory::Memfd => (len, MemfdFlags::empty()),
            Memory::MemfdHuge => {
                (len.next_multiple_of(HUGE_PAGE_BYTES), MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB)
            }
        };
        let fd = memfd_create("sixlane-umem", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | huge)?;
        ftruncate(&fd, len as u64)?;
        fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Self::attach(fd, frames)
    }

    /// Maps an arena that another process created.
    ///
    /// # Errors
    /// The mapping fails, or `fd` is shorter than `frames` frames or could become so.
    pub fn attach(fd: OwnedFd, frames: u32) -> io::Result<Self> {
        let fixed = fcntl_get_seals(&fd)?.contains(SealFlags::SHRINK);
        let size = usize::try_from(fstat(&fd)?.st_size).unwrap_or(0);
        if frames == 0 || !fixed || size < frames as usize * FRAME_BYTES {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let area = Area::map(fd.as_fd(), 0, size)?;
        area.exclude_from_dumps();
        Ok(Self::over(area, frames, Some(fd)))
    }

    fn over(area: Area, frames: u32, fd: Option<OwnedFd>) -> Self {
        let id = NonZeroU32::MIN.saturating_add(NEXT_ID.fetch_add(1, Ordering::Relaxed));
        Self { area, frames, id, fd, owned: AtomicBool::new(false) }
    }

    /// The memfd of the arena; `None` on the heap.
    #[must_use]
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }

    /// Number of frames.
    #[must_use]
    pub fn frames(&self) -> u32 {
        self.frames
    }

    /// Address and length in bytes of the frames in this process, as the kernel is told.
    pub(crate) fn registration(&self) -> (u64, u64) {
        (self.area.base().as_ptr() as u64, u64::from(self.frames) * FRAME_BYTES as u64)
    }

    /// Makes the caller the one that makes tokens; `false` if there is one already.
    #[must_use]
    pub(crate) fn own(&self) -> bool {
        !self.owned.swap(true, Ordering::Relaxed)
    }

    /// The owner and its tokens are gone, as when its process dies: for the tests of that.
    #[cfg(test)]
    pub(crate) fn disown(&self) {
        self.owned.store(false, Ordering::Relaxed);
    }

    /// The token of a frame.
    ///
    /// The caller is the owner's pool, has just made the frame the worker's in the ledger and no other token of it
    /// exists. `index` is below [`Umem::frames`].
    #[inline]
    pub(crate) fn token(&self, index: u32) -> Frame {
        debug_assert!(index < self.frames);
        Frame { index, umem: self.id }
    }

    /// True if the token is of this arena.
    #[inline]
    pub(crate) fn owns(&self, frame: &Frame) -> bool {
        frame.umem == self.id
    }

    /// The whole frame.
    ///
    /// # Panics
    /// If the token belongs to another arena.
    #[inline]
    #[must_use]
    pub fn bytes<'f>(&'f self, frame: &'f Frame) -> &'f [u8; FRAME_BYTES] {
        // SAFETY: `chunk` gives a valid, aligned address of FRAME_BYTES initialised bytes; the
        // token is borrowed, so nobody writes them as long as the reference lives, and the kernel
        // does not own a frame whose token exists.
        unsafe { &*self.chunk(frame) }
    }

    /// The whole frame, to write.
    ///
    /// # Panics
    /// If the token belongs to another arena.
    #[inline]
    #[must_use]
    pub fn bytes_mut<'f>(&'f self, frame: &'f mut Frame) -> &'f mut [u8; FRAME_BYTES] {
        // SAFETY: as in `bytes`; the token is unique and borrowed mutably, so this is the only
        // reference to the frame.
        unsafe { &mut *self.chunk(frame) }
    }

    /// Asks the cache for the line that holds byte `offset` of the frame.
    #[inline]
    pub fn prefetch(&self, frame: &Frame, offset: usize) {
        let address = self.chunk(frame).cast::<i8>().wrapping_add(offset);
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch is a hint; it does not fault, whatever the address.
        unsafe {
            std::arch::x86_64::_mm_prefetch(address, std::arch::x86_64::_MM_HINT_T0);
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = address;
    }

    /// What the kernel sees of a frame it owns: eight bytes at an address, for the tests.
    #[cfg(test)]
    pub(crate) fn kernel_word(&self, address: u64) -> *mut u64 {
        assert!(address + 8 <= self.registration().1 && address.is_multiple_of(8));
        // SAFETY: the offset was just checked to lie inside the area.
        unsafe { self.area.base().as_ptr().add(address as usize) }.cast()
    }

    #[inline]
    fn chunk(&self, frame: &Frame) -> *mut [u8; FRAME_BYTES] {
        assert!(self.owns(frame), "a frame was used with another arena");
        let offset = frame.index as usize * FRAME_BYTES;
        // SAFETY: tokens are made with index < frames, and the area holds at least `frames`
        // frames, so the offset lies inside it.
        unsafe { self.area.base().as_ptr().add(offset) }.cast()
    }
}
