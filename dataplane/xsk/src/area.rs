//! One stretch of memory that the kernel or another process shares, and its release.
#![allow(unsafe_code)] // mapping and unmapping memory

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::{NonNull, null_mut};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};

/// Alignment of heap areas: that of a mapping, so that both behave alike.
const PAGE_BYTES: usize = 4096;

/// Zeroed memory at a fixed address until dropped.
///
/// Invariant: `base .. base + len` is readable and writable, belongs to this value alone within
/// this process, and stays where it is until `Drop`.
pub(crate) struct Area {
    base: NonNull<u8>,
    len: usize,
    origin: Origin,
}

enum Origin {
    Mapping,
    Heap(Layout),
}

// SAFETY: an `Area` is an address range that it owns; nothing in it is tied to a thread. What is
// done with the bytes is the business of the types that hold an `Area` and prove it themselves.
unsafe impl Send for Area {}
// SAFETY: as for `Send`: a shared reference to an `Area` gives out an address and a length only.
unsafe impl Sync for Area {}

impl Area {
    /// Private memory of this process.
    pub(crate) fn heap(len: usize) -> io::Result<Self> {
        let layout = Layout::from_size_align(len, PAGE_BYTES)
            .ok()
            .filter(|layout| layout.size() > 0)
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        // SAFETY: the layout has a non-zero size (checked above).
        let base = unsafe { alloc_zeroed(layout) };
        let base = NonNull::new(base).ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))?;
        Ok(Self { base, len, origin: Origin::Heap(layout) })
    }

    /// `len` bytes of `fd` from `offset` on, shared with whoever else maps them.
    pub(crate) fn map(fd: BorrowedFd<'_>, offset: u64, len: usize) -> io::Result<Self> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::SHARED | MapFlags::POPULATE;
        // SAFETY: the kernel chooses a fresh address, so no existing memory is replaced.
        let base = unsafe { mmap(null_mut(), len, protection, flags, fd, offset) }?;
        let base = NonNull::new(base.cast::<u8>())
            .ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
        Ok(Self { base, len, origin: Origin::Mapping })
    }

    /// Keeps the bytes out of core dumps: they are other people's packets.
    pub(crate) fn exclude_from_dumps(&self) {
        if matches!(self.origin, Origin::Mapping) {
            // SAFETY: the range is a mapping of ours; this advice does not change its contents.
            let _ = unsafe { madvise(self.base.as_ptr().cast(), self.len, Advice::LinuxDontDump) };
        }
    }

    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// The address `offset` bytes into the area, if `size` bytes from there lie inside it.
    pub(crate) fn at(&self, offset: usize, size: usize) -> Option<NonNull<u8>> {
        let end = offset.checked_add(size)?;
        if end > self.len {
            return None;
        }
        // SAFETY: offset <= len (checked above), so the result is inside the area or at its end.
        Some(unsafe { self.base.add(offset) })
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        match self.origin {
            Origin::Mapping => {
                // SAFETY: base and len are those of `mmap`; holders keep the `Area` as long as
                // they keep addresses into it.
                let _ = unsafe { munmap(self.base.as_ptr().cast(), self.len) };
            }
            Origin::Heap(layout) => {
                // SAFETY: base came from `alloc_zeroed` with this very layout.
                unsafe { dealloc(self.base.as_ptr(), layout) };
            }
        }
    }
}
