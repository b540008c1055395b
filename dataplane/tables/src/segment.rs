//! Shared memory: sealed memfds and the one reservation of address space into which they are mapped.
//!
//! This is the only place that makes a pointer out of an offset. Everything else in the crate asks a
//! [`Region`] for a reference and gets `None` when the bytes do not lie in mapped memory (D10).
#![allow(unsafe_code)] // mmap, and references into what it returned

use core::ffi::c_void;
use core::mem::{align_of, size_of};
use core::ptr::NonNull;
use core::slice;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{MemfdFlags, Mode, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};
use zerocopy::{FromBytes, Immutable};

/// The kind of memory behind a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// Ordinary pages, populated when they are touched.
    Plain,
    /// Pages of 2 MiB from the kernel's pool; creation fails when the pool is too small.
    Huge,
}

/// Why a segment could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The kernel refused one of the calls that make or map a segment.
    #[error("shared memory: {call} failed: {source}")]
    System {
        /// The call's name.
        call: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The descriptor is not of the size that its kind has.
    #[error("shared memory: the segment has {found} bytes where {expected} are needed")]
    Size {
        /// Bytes that the header promises.
        expected: u64,
        /// Bytes that the descriptor has.
        found: u64,
    },
    /// Its owner could still shrink the segment under a reader.
    #[error("shared memory: the segment is not sealed; it does not come from sixlane and is not used")]
    Unsealed,
    /// Magic or layout hash are another version's.
    #[error("shared memory: the segment was written by another version of sixlane and is left alone")]
    ForeignLayout,
    /// A segment of another kind, set or place in the set.
    #[error("shared memory: the segment does not belong here (another set, kind or place)")]
    Misplaced,
    /// The reservation has no room for another segment.
    #[error("shared memory: the arena has its greatest size")]
    NoRoom,
    /// The layout asked for needs more memory than a segment may have.
    #[error("shared memory: the requested sizes do not fit into a segment")]
    TooLarge,
}

impl SegmentError {
    fn system(call: &'static str) -> impl FnOnce(rustix::io::Errno) -> Self {
        move |errno| Self::System { call, source: errno.into() }
    }
}

/// The seals of a published segment: nobody, its writer included, can map it for writing again,
/// write to it, or change its size or seals. Mappings that exist stay writable.
const SEALS: SealFlags =
    SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::FUTURE_WRITE).union(SealFlags::SEAL);

/// A memfd whose size is final.
#[derive(Debug)]
pub struct Segment {
    fd: OwnedFd,
    bytes: usize,
}

impl Segment {
    /// Makes an unsealed segment of `bytes` bytes, all zero. `name` is what `/proc` shows.
    ///
    /// # Errors
    /// [`SegmentError::System`] with the call that the kernel refused.
    pub fn create(name: &str, bytes: usize, pages: Pages) -> Result<Self, SegmentError> {
        let mut flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        if pages == Pages::Huge {
            flags |= MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB;
        }
        let fd = rustix::fs::memfd_create(name, flags).map_err(SegmentError::system("memfd_create"))?;
        // Without this another user that holds the read-only descriptor could open it anew through
        // /proc with the memfd's default mode of 0777 (security.md D3).
        rustix::fs::fchmod(&fd, Mode::RUSR | Mode::WUSR).map_err(SegmentError::system("fchmod"))?;
        rustix::fs::ftruncate(&fd, bytes as u64).map_err(SegmentError::system("ftruncate"))?;
        Ok(Self { fd, bytes })
    }

    /// Accepts a descriptor from another process: it must be sealed against shrinking, because
    /// touching a page that its owner cut off would kill the reader.
    ///
    /// # Errors
    /// [`SegmentError::Unsealed`], or what the kernel said about the descriptor.
    pub fn accept(fd: OwnedFd) -> Result<Self, SegmentError> {
        let seals = rustix::fs::fcntl_get_seals(&fd).map_err(|_| SegmentError::Unsealed)?;
        if !seals.contains(SEALS) {
            return Err(SegmentError::Unsealed);
        }
        let size = rustix::fs::fstat(&fd).map_err(SegmentError::system("fstat"))?.st_size;
        let bytes = usize::try_from(size).map_err(|_| SegmentError::TooLarge)?;
        Ok(Self { fd, bytes })
    }

    /// Closes the segment for good: no new writable mapping, no write, no new size, no new seal.
    /// The mappings that the caller holds stay writable.
    ///
    /// # Errors
    /// [`SegmentError::System`] when the kernel refuses.
    pub fn seal(&self) -> Result<(), SegmentError> {
        rustix::fs::fcntl_add_seals(&self.fd, SEALS).map_err(SegmentError::system("F_ADD_SEALS"))
    }

    /// Size in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A duplicate of the descriptor, to hand to another process.
    ///
    /// # Errors
    /// The kernel's answer, when there are no descriptors left.
    pub fn share(&self) -> io::Result<OwnedFd> {
        self.fd.try_clone()
    }
}

impl AsFd for Segment {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What a mapping allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    ReadOnly,
    Writable,
}

/// An arena is not reserved with less than this.
const RESERVED_LEAST: usize = 1 << 30;

/// Segments of [`Pages::Huge`] can be mapped at multiples of this only.
const ALIGNMENT: usize = 2 << 20;

/// A reservation of address space into which segments are mapped one behind the other. Offsets count
/// bytes from its base, so growing never moves anything.
///
/// Invariants: `[base, base + reserved)` lies in the one mapping `[start, start + reserved + ALIGNMENT)` of
/// this process, made by [`Region::reserve`] and given back only by `Drop`; its first `mapped` bytes are backed by sealed segments (or, while
/// their writer prepares them, unsealed ones that only it holds), readable, and writable if `access`
/// says so; `mapped` only grows.
#[derive(Debug)]
pub(crate) struct Region {
    start: NonNull<u8>,
    base: NonNull<u8>,
    reserved: usize,
    mapped: AtomicUsize,
    /// Held while a segment is appended.
    growing: Mutex<()>,
    access: Access,
}

// SAFETY: the region owns its mapping, which belongs to the process and not to a thread; what can be
// reached through a shared reference are atomics and bytes that nobody writes (see `Region::record`).
unsafe impl Send for Region {}
// SAFETY: as for `Send`; `mapped`, the only field that changes through `&self`, is an atomic, and changes
// under a lock.
unsafe impl Sync for Region {}

/// Structs that consist of atomics only: they may be written by a live process while we look.
pub(crate) trait Atomics: FromBytes {}
impl Atomics for AtomicU32 {}
impl Atomics for AtomicU64 {}
impl Atomics for core::sync::atomic::AtomicU8 {}
impl<T: Atomics, const N: usize> Atomics for [T; N] where [T; N]: FromBytes {}

impl Region {
    /// Reserves `bytes` of address space (no memory) for mappings with `access`. Where there is not as much
    /// (an address-space limit, a tool that watches memory), an arena gets by with less and grows less.
    pub(crate) fn reserve(bytes: usize, access: Access) -> Result<Self, SegmentError> {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        let mut bytes = bytes;
        let start = loop {
            let whole = bytes.checked_add(ALIGNMENT).ok_or(SegmentError::NoRoom)?;
            // SAFETY: a new anonymous mapping at an address of the kernel's choice; it touches nothing that exists.
            let start = unsafe {
                rustix::mm::mmap_anonymous(core::ptr::null_mut(), whole, ProtFlags::empty(), flags)
            };
            if start.is_ok() || bytes <= RESERVED_LEAST {
                break start;
            }
            bytes /= 2;
        };
        let start = start.map_err(SegmentError::system("mmap"))?;
        let start = NonNull::new(start.cast::<u8>()).ok_or(SegmentError::NoRoom)?;
        let gap = start.addr().get().wrapping_neg() % ALIGNMENT;
        // SAFETY: gap < ALIGNMENT, by which the mapping at `start` is longer than `bytes`.
        let base = unsafe { start.add(gap) };
        Ok(Self {
            start,
            base,
            reserved: bytes,
            mapped: AtomicUsize::new(0),
            growing: Mutex::new(()),
            access,
        })
    }

    /// Maps `segment` behind what is mapped already.
    pub(crate) fn append(&self, segment: &Segment) -> Result<(), SegmentError> {
        let _alone = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        let mapped = self.mapped.load(Ordering::Acquire);
        let end = mapped.checked_add(segment.bytes).ok_or(SegmentError::NoRoom)?;
        if end > self.reserved {
            return Err(SegmentError::NoRoom);
        }
        let protection = match self.access {
            Access::ReadOnly => ProtFlags::READ,
            Access::Writable => ProtFlags::READ | ProtFlags::WRITE,
        };
        // SAFETY: mapped < reserved, so the address lies in the reservation that this region owns.
        let address = unsafe { self.base.add(mapped) }.as_ptr().cast::<c_void>();
        // SAFETY: [address, address + segment.bytes) is the part of our own reservation behind `mapped`, which
        // the lock keeps where it is and to which no reference exists, so replacing its mapping (MAP_FIXED)
        // disturbs nobody.
        let result = unsafe {
            rustix::mm::mmap(
                address,
                segment.bytes,
                protection,
                MapFlags::SHARED | MapFlags::FIXED,
                &segment.fd,
                0,
            )
        };
        result.map_err(SegmentError::system("mmap"))?;
        self.mapped.store(end, Ordering::Release);
        Ok(())
    }

    /// Bytes that are mapped now; never shrinks.
    pub(crate) fn mapped(&self) -> usize {
        self.mapped.load(Ordering::Acquire)
    }

    /// The address of `count` values of `T` at `offset`, if they lie aligned in mapped memory.
    #[inline]
    fn locate<T>(&self, offset: usize, count: usize) -> Option<NonNull<T>> {
        let bytes = size_of::<T>().checked_mul(count)?;
        let end = offset.checked_add(bytes)?;
        if end > self.mapped() || !offset.is_multiple_of(align_of::<T>()) {
            return None;
        }
        // SAFETY: offset <= mapped <= reserved, hence inside the one mapping that starts at base.
        let address = unsafe { self.base.add(offset) };
        Some(address.cast::<T>())
    }

    /// A struct of atomics.
    #[inline]
    pub(crate) fn atomics<T: Atomics>(&self, offset: usize) -> Option<&T> {
        let at = self.locate::<T>(offset, 1)?;
        // SAFETY: `locate` proved that the bytes are mapped and aligned (base is page-aligned); they stay
        // mapped while `self` is borrowed. Any bits are a T (FromBytes), and T is nothing but atomics, so
        // concurrent writers are allowed.
        Some(unsafe { at.as_ref() })
    }

    /// A slice of atomics.
    #[inline]
    pub(crate) fn atomic_slice<T: Atomics>(&self, offset: usize, count: usize) -> Option<&[T]> {
        let at = self.locate::<T>(offset, count)?;
        // SAFETY: as in `atomics`, for `count` values; their total size was checked not to overflow.
        Some(unsafe { slice::from_raw_parts(at.as_ptr(), count) })
    }

    /// The memory that is mapped now, for a reader of many immutable records.
    #[inline]
    pub(crate) fn window(&self) -> Window<'_> {
        Window { base: self.base, bytes: self.mapped(), _mapped: core::marker::PhantomData }
    }

    /// A record that nobody writes while the reference lives: either it was written before the segment
    /// was sealed, or it is immutable from its publication until its reclamation, which quiescence
    /// holds back while the reader is between two quiescent points (docs/UNSAFE.md, tables).
    #[inline]
    pub(crate) fn record<T: FromBytes + Immutable>(&self, offset: usize) -> Option<&T> {
        let at = self.locate::<T>(offset, 1)?;
        // SAFETY: mapped and aligned as `locate` proved, any bits are a T, and nobody writes them (above).
        Some(unsafe { at.as_ref() })
    }

    /// A slice of such records.
    #[inline]
    pub(crate) fn records<T: FromBytes + Immutable>(&self, offset: usize, count: usize) -> Option<&[T]> {
        let at = self.locate::<T>(offset, count)?;
        // SAFETY: as in `record`, for `count` values; their total size was checked not to overflow.
        Some(unsafe { slice::from_raw_parts(at.as_ptr(), count) })
    }

    /// Writes `bytes` at `offset`, in whole words of 8 bytes (the last one filled up with zeros). `None`
    /// when that does not fit or the region is read-only. The words are stored atomically, so that a reader
    /// outside the protocol (a CLI that looks at live tables) sees old or new words and nothing worse.
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) -> Option<()> {
        if self.access != Access::Writable {
            return None;
        }
        let words = self.atomic_slice::<AtomicU64>(offset, bytes.len().div_ceil(8))?;
        let (chunks, rest) = bytes.as_chunks::<8>();
        for (word, chunk) in words.iter().zip(chunks) {
            word.store(u64::from_ne_bytes(*chunk), Ordering::Relaxed);
        }
        if let (Some(word), false) = (words.last(), rest.is_empty()) {
            let mut padded = [0; 8];
            padded.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            word.store(u64::from_ne_bytes(padded), Ordering::Relaxed);
        }
        Some(())
    }

    /// Fills whole words with `byte`, as [`Region::write`] would.
    pub(crate) fn fill(&self, offset: usize, bytes: usize, byte: u8) -> Option<()> {
        if self.access != Access::Writable {
            return None;
        }
        let words = self.atomic_slice::<AtomicU64>(offset, bytes.div_ceil(8))?;
        words.iter().for_each(|word| word.store(u64::from_ne_bytes([byte; 8]), Ordering::Relaxed));
        Some(())
    }
}

/// What of a region was mapped at one moment: its records are found by one comparison each.
#[derive(Clone, Copy)]
pub(crate) struct Window<'a> {
    base: NonNull<u8>,
    bytes: usize,
    _mapped: core::marker::PhantomData<&'a Region>,
}

impl<'a> Window<'a> {
    /// Where the window begins, for vector loads (`fib::simd`).
    #[inline]
    pub(crate) fn base(self) -> *const u8 {
        self.base.as_ptr()
    }

    /// Its size.
    #[inline]
    pub(crate) fn bytes(self) -> usize {
        self.bytes
    }

    /// An immutable record (see [`Region::record`]) that begins at a granule. `None` for one that reaches
    /// out of the window.
    #[inline]
    pub(crate) fn record<T: FromBytes + Immutable>(self, granule: usize) -> Option<&'a T> {
        const { assert!(align_of::<T>() <= crate::layout::GRANULE) };
        let offset = granule.checked_mul(crate::layout::GRANULE)?;
        if offset.checked_add(size_of::<T>())? > self.bytes {
            return None;
        }
        // SAFETY: offset < bytes, which are mapped behind base.
        let at = unsafe { self.base.add(offset) }.cast::<T>();
        // SAFETY: all of the T is mapped (above) while the region is borrowed; base is page-aligned and a
        // granule a multiple of T's alignment; any bits are a T, and nobody writes them (`Region::record`).
        Some(unsafe { at.as_ref() })
    }

    /// Two immutable half-words, `index` half-words from the window's begin. `None` outside of it.
    #[inline]
    pub(crate) fn halves(self, index: usize) -> Option<&'a [u16; 2]> {
        let offset = index.checked_mul(2)?;
        if offset.checked_add(4)? > self.bytes {
            return None;
        }
        // SAFETY: offset < bytes, which are mapped behind base.
        let at = unsafe { self.base.add(offset) }.cast::<[u16; 2]>();
        // SAFETY: both half-words are mapped and aligned (base is page-aligned, offset even), and nobody
        // writes them (`Region::record`).
        Some(unsafe { at.as_ref() })
    }
}

/// Some atomics of a region whose place was checked once; keeps the region mapped.
#[derive(Debug)]
pub(crate) struct Fixed<T: Atomics> {
    at: NonNull<T>,
    count: usize,
    _mapped: Arc<Region>,
}

// SAFETY: it is a shared reference into a region (which may be used from any thread) that also keeps the
// region alive, and T consists of atomics.
unsafe impl<T: Atomics> Send for Fixed<T> {}
// SAFETY: as for `Send`.
unsafe impl<T: Atomics> Sync for Fixed<T> {}

impl<T: Atomics> Fixed<T> {
    /// `count` values at `offset` of `region`.
    pub(crate) fn new(region: &Arc<Region>, offset: usize, count: usize) -> Option<Self> {
        let at = region.locate::<T>(offset, count)?;
        Some(Self { at, count, _mapped: Arc::clone(region) })
    }

    /// All values.
    #[inline]
    pub(crate) fn all(&self) -> &[T] {
        // SAFETY: `locate` proved `count` aligned values in mapped memory; `_mapped` keeps it so, and the
        // mapped part never shrinks. Atomics may be shared with any writer.
        unsafe { slice::from_raw_parts(self.at.as_ptr(), self.count) }
    }
}

/// One such value.
#[derive(Debug)]
pub(crate) struct One<T: Atomics>(Fixed<T>);

impl<T: Atomics> One<T> {
    /// The value at `offset` of `region`.
    pub(crate) fn new(region: &Arc<Region>, offset: usize) -> Option<Self> {
        Fixed::new(region, offset, 1).map(Self)
    }
}

impl<T: Atomics> core::ops::Deref for One<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: as in `Fixed::all`; the count is 1.
        unsafe { self.0.at.as_ref() }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours alone and every reference into it borrowed `self`, so none is left.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.reserved + ALIGNMENT) };
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    use super::*;

    const BYTES: usize = 1 << 16;

    fn sealed() -> (Region, Segment) {
        let segment = Segment::create("sixlane-test", BYTES, Pages::Plain).unwrap();
        let region = Region::reserve(2 * BYTES, Access::Writable).unwrap();
        region.append(&segment).unwrap();
        segment.seal().unwrap();
        (region, segment)
    }

    /// Whether `fd` can be mapped shared with `protection`; the mapping is given back at once.
    fn maps(fd: BorrowedFd<'_>, protection: ProtFlags) -> Option<*mut c_void> {
        // SAFETY: a new mapping at an address of the kernel's choice; it touches nothing that exists.
        unsafe { rustix::mm::mmap(core::ptr::null_mut(), BYTES, protection, MapFlags::SHARED, fd, 0) }.ok()
    }

    #[test]
    fn nobody_writes_to_a_sealed_segment_but_its_mapping() {
        let (region, segment) = sealed();
        assert!(maps(segment.as_fd(), ProtFlags::READ | ProtFlags::WRITE).is_none(), "mmap for writing");
        let reading = maps(segment.as_fd(), ProtFlags::READ).expect("mmap for reading");
        // SAFETY: the range is the mapping just made, and no reference into it exists.
        let upgraded = unsafe {
            rustix::mm::mprotect(
                reading,
                BYTES,
                rustix::mm::MprotectFlags::READ | rustix::mm::MprotectFlags::WRITE,
            )
        };
        assert!(upgraded.is_err(), "mprotect to writing");
        // SAFETY: as above.
        unsafe { rustix::mm::munmap(reading, BYTES) }.unwrap();
        assert!(File::from(segment.share().unwrap()).write(&[1]).is_err(), "write(2)");
        for bytes in [0, BYTES as u64 / 2, BYTES as u64 * 2] {
            assert!(rustix::fs::ftruncate(&segment, bytes).is_err(), "ftruncate to {bytes}");
        }
        let punch = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
        assert!(rustix::fs::fallocate(&segment, punch, 0, 4096).is_err(), "a hole");
        assert!(rustix::fs::fcntl_add_seals(&segment, SealFlags::WRITE).is_err(), "another seal");
        region.write(0, &[7; 8]).unwrap();
        assert_eq!(region.record::<u64>(0), Some(&0x0707_0707_0707_0707), "the writer's mapping goes on");
    }

    #[test]
    fn opening_it_anew_gives_no_more_rights() {
        let (_region, segment) = sealed();
        let path = format!("/proc/self/fd/{}", segment.as_fd().as_raw_fd());
        assert_eq!(rustix::fs::fstat(&segment).unwrap().st_mode & 0o777, 0o600);
        if let Ok(mut again) = OpenOptions::new().read(true).write(true).open(&path) {
            assert!(again.write(&[1]).is_err(), "write(2) through a second open");
            assert!(
                maps(again.as_fd(), ProtFlags::READ | ProtFlags::WRITE).is_none(),
                "mmap through a second open"
            );
        }
        if rustix::process::geteuid().is_root() {
            // Another user, who was handed the descriptor, cannot open it in another mode.
            let child = |redirect: &str| {
                let mut command = Command::new("/bin/sh");
                command.args(["-c", &format!("exec 3{redirect}/proc/self/fd/0")]).uid(65_534).gid(65_534);
                command.stdin(Stdio::from(segment.share().unwrap())).stderr(Stdio::null()).status().unwrap()
            };
            assert!(!child("<>").success(), "opened for reading and writing");
            assert!(!child(">>").success(), "opened for writing");
        }
    }

    #[test]
    fn unsealed_and_foreign_descriptors_are_refused() {
        let open = Segment::create("sixlane-test", BYTES, Pages::Plain).unwrap();
        assert!(matches!(Segment::accept(open.share().unwrap()), Err(SegmentError::Unsealed)));
        let file = tempfile::tempfile().unwrap();
        assert!(matches!(Segment::accept(file.into()), Err(SegmentError::Unsealed)));
        assert_eq!(Segment::accept(sealed().1.share().unwrap()).unwrap().bytes(), BYTES);
    }

    #[test]
    fn huge_pages_find_their_alignment() {
        let regions: Vec<_> =
            (1..9).map(|pages| Region::reserve(pages * 4096, Access::ReadOnly).unwrap()).collect();
        assert!(regions.iter().all(|region| region.base.addr().get().is_multiple_of(ALIGNMENT)));
    }

    #[test]
    fn references_end_where_the_memory_ends() {
        let (region, _segment) = sealed();
        assert!(region.record::<u64>(BYTES - 8).is_some());
        assert!(region.record::<u64>(BYTES - 7).is_none(), "crooked");
        assert!(region.record::<u64>(BYTES).is_none(), "reserved, not mapped");
        assert!(region.records::<u64>(8, BYTES / 8).is_none());
        assert!(region.records::<u64>(8, usize::MAX / 4).is_none(), "overflow");
        assert!(region.record::<u64>(usize::MAX - 7).is_none());
        assert!(region.write(BYTES - 8, &[0; 9]).is_none());
    }

    #[test]
    fn a_reader_cannot_write_and_sees_the_writer() {
        let (region, segment) = sealed();
        let reader = Region::reserve(BYTES, Access::ReadOnly).unwrap();
        reader.append(&segment).unwrap();
        assert!(reader.write(0, &[1]).is_none() && reader.fill(0, 8, 1).is_none());
        region.write(64, b"sixlane!").unwrap();
        assert_eq!(reader.record::<[u8; 8]>(64), Some(b"sixlane!"));
        assert!(matches!(reader.append(&segment), Err(SegmentError::NoRoom)));
    }
}
