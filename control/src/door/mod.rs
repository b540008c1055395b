//! The door: packets of the box itself between the kernel and the data plane, through the TUN device
//! `sixlane0` that the keeper made.
//!
//! What workers hand over is hostile input: [`packet`] says what the kernel may see of it. What the kernel
//! sends to a tunnel prefix goes to a worker. [`health`] says when the kernel is told that the tunnel
//! prefixes are behind the door, and so when routing protocols may announce them (6TO4-21).

pub(crate) mod health;
pub(crate) mod packet;

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;

use ipnet::Ipv6Net;
use rustix::io::Errno;
use sixlane_tables::packets::PACKET_MAX;

use health::Health;
use packet::Own;

/// Packets taken from the kernel before other events have their turn (TGT-14).
const READS: usize = 64;
/// How long after a packet the door is looked at more often.
const BUSY_NS: u64 = 100_000_000;

/// What went through, in packets, since this control started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Given to the kernel.
    pub(crate) to_kernel: u64,
    /// From workers, and nothing that the kernel may see by this way.
    pub(crate) to_kernel_refused: u64,
    /// Not taken by the kernel.
    pub(crate) to_kernel_failed: u64,
    /// From the kernel, handed to a worker.
    pub(crate) from_kernel: u64,
    /// From the kernel, to no tunnel prefix: its own multicast on the interface, above all.
    pub(crate) from_kernel_ignored: u64,
    /// From the kernel, with no worker that could take it.
    pub(crate) from_kernel_dropped: u64,
}

/// The device, and what is known of it.
#[derive(Debug)]
pub(crate) struct Door {
    device: OwnedFd,
    pub(crate) ifindex: u32,
    pub(crate) counts: Counts,
    pub(crate) health: Health,
    /// The interface has been deleted: the descriptor is good for nothing.
    pub(crate) lost: bool,
    /// It could not be set up; tried again every second.
    pub(crate) unset: bool,
    /// Routes that the kernel refused are asked for again then.
    pub(crate) retry_ns: u64,
    /// The traffic when it was last looked at, and when it last changed.
    traffic: u64,
    moved_ns: u64,
    buffer: Vec<u8>,
}

impl Door {
    /// Over the descriptor of the device, which never waits.
    pub(crate) fn new(device: OwnedFd, ifindex: u32) -> Self {
        Self {
            device,
            ifindex,
            counts: Counts::default(),
            health: Health::default(),
            lost: false,
            unset: true,
            retry_ns: 0,
            traffic: 0,
            moved_ns: 0,
            // One byte more than a packet may have: a longer one must be seen as such.
            buffer: vec![0; PACKET_MAX + 1],
        }
    }

    /// A second hold of the device, to wait on.
    ///
    /// # Errors
    /// Too many open files.
    pub(crate) fn share(&self) -> io::Result<OwnedFd> {
        self.device.try_clone()
    }

    /// Gives the kernel what a worker handed over, if it may see it.
    pub(crate) fn give(&mut self, bytes: &[u8], own: &Own<'_>) {
        let Some(packet) = packet::for_kernel(bytes, own) else {
            self.counts.to_kernel_refused += 1;
            return;
        };
        match rustix::io::write(&self.device, packet) {
            Ok(_) => self.counts.to_kernel += 1,
            Err(_) => self.counts.to_kernel_failed += 1,
        }
    }

    /// Takes what the kernel sends, a bounded number of packets; `inject` hands one to a worker and says
    /// whether it was taken. `false`: nothing more waits.
    pub(crate) fn take(&mut self, served: &BTreeSet<Ipv6Net>, mut inject: impl FnMut(&[u8]) -> bool) -> bool {
        for _ in 0..READS {
            let length = match rustix::io::read(&self.device, self.buffer.as_mut_slice()) {
                Ok(length) => length,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return false,
                // The interface is gone (EBADFD), and with it all that could come.
                Err(_) => {
                    self.lost = true;
                    return false;
                }
            };
            let packet = self.buffer.get(..length).unwrap_or_default();
            if !packet::for_tunnel(packet, served) {
                self.counts.from_kernel_ignored += 1;
            } else if inject(packet) {
                self.counts.from_kernel += 1;
            } else {
                self.counts.from_kernel_dropped += 1;
            }
        }
        true
    }

    /// Whether packets went through a moment ago.
    pub(crate) const fn is_busy(&mut self, now: u64) -> bool {
        let traffic = self.counts.to_kernel.wrapping_add(self.counts.from_kernel);
        if traffic != self.traffic {
            (self.traffic, self.moved_ns) = (traffic, now);
        }
        traffic != 0 && now.saturating_sub(self.moved_ns) < BUSY_NS
    }
}

#[cfg(test)]
mod tests;
