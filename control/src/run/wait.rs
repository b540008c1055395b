//! Descriptors in the event loop.

use std::io;
use std::os::fd::AsRawFd;

use tokio::io::unix::AsyncFd;

/// A descriptor that is owned by what it is wrapped in, and so stays the same and open while it is
/// waited for.
pub(super) trait Owned: AsRawFd {}
impl Owned for std::os::fd::OwnedFd {}
impl Owned for crate::netlink::socket::Listener {}

/// Lets the event loop wait for a descriptor.
///
/// # Errors
/// The kernel's: no room for another descriptor.
pub(super) fn watch<T: Owned>(inner: T) -> io::Result<AsyncFd<T>> {
    // The successor of this function is unsafe, because a type may give another descriptor each time
    // it is asked; the types that are [`Owned`] do not, and control has no unsafe code.
    #[expect(deprecated, reason = "sound for the types that are Owned")]
    AsyncFd::new(inner)
}
