//! What a worker counts: 64-bit words with one writer, read by anyone.
//!
//! The identity of the design, in packets, at any moment when the worker holds no batch:
//! `received + injected + generated = transmitted + local + punted + dropped + consumed + held`.

use sixlane_tunnel::Reason;
use zerocopy::FromBytes;

use crate::sync::{AtomicU64, Ordering};

/// One figure. Its segment's owner adds; a plain load and store suffice because nobody else writes.
#[repr(transparent)]
#[derive(Debug, Default, FromBytes)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Owner only.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Takes `n` away: for `held`, the one figure that falls. Owner only.
    #[inline]
    pub fn subtract(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(n), Ordering::Relaxed);
    }

    /// Follows a figure that somebody else counts. Owner only.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The figure now.
    #[inline]
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($name:ident: $text:literal,)+) => {
        /// The figures of one worker, in packets unless said otherwise.
        #[repr(C, align(64))]
        #[derive(Debug, FromBytes)]
        pub struct Counters {
            $(#[doc = $text] pub $name: Counter,)+
            /// Packets dropped, by reason.
            pub dropped: [Counter; Reason::COUNT],
        }

        /// The figures at one moment, of one worker or a sum over several.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct CounterSnapshot {
            $(#[doc = $text] pub $name: u64,)+
            /// Packets dropped, by reason.
            pub dropped: [u64; Reason::COUNT],
        }

        impl Default for CounterSnapshot {
            fn default() -> Self {
                Self { $($name: 0,)+ dropped: [0; Reason::COUNT] }
            }
        }

        impl Default for Counters {
            fn default() -> Self {
                Self { $($name: Counter::default(),)+ dropped: [const { Counter(AtomicU64::new(0)) }; Reason::COUNT] }
            }
        }

        impl Counters {
            /// The figures now. Those of a running worker may be those of different moments of one batch.
            #[must_use]
            pub fn snapshot(&self) -> CounterSnapshot {
                let mut dropped = [0; Reason::COUNT];
                for (to, from) in dropped.iter_mut().zip(&self.dropped) {
                    *to = from.get();
                }
                CounterSnapshot { $($name: self.$name.get(),)+ dropped }
            }
        }

        impl CounterSnapshot {
            /// Names of the figures that are not drop reasons, each with its meaning in one sentence.
            pub const TEXTS: &[(&'static str, &'static str)] = &[$((stringify!($name), $text),)+];

            /// Adds another worker's figures, or those of a worker that is no more.
            pub fn add(&mut self, other: &Self) {
                $(self.$name = self.$name.wrapping_add(other.$name);)+
                for (to, from) in self.dropped.iter_mut().zip(&other.dropped) {
                    *to = to.wrapping_add(*from);
                }
            }

            /// Names and values of the figures that are not drop reasons, in their fixed order.
            #[must_use]
            pub fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)+]
            }
        }
    };
}

counters! {
    received: "Taken from RX rings.",
    injected: "Taken from the inject ring.",
    generated: "Made here: ICMPv6 errors and other replies.",
    transmitted: "Put into TX rings.",
    local: "For this box: given to its kernel by the punt ring.",
    punted: "Given to control by the punt ring, or back to the kernel because it is not ours.",
    consumed: "Answered or merged and gone.",
    held: "Kept at the moment: queues, reassembly.",
    icmp_suppressed: "ICMPv6 errors not sent because the packet was not trusted, or must not be answered (outside the identity).",
    icmp_rate_limited: "ICMPv6 errors not sent because the budget was spent (outside the identity).",
    neighbour_requests: "Requests for a neighbour sent to control (outside the identity).",
    neighbour_limited: "Requests for a neighbour not sent: ring full or budget spent (outside the identity).",
    punt_lost: "Requests and packets that nobody has read because a process was replaced (outside the identity).",
}

/// The identity of the design does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("counters: {taken} packets came in or were made, but {settled} are accounted for")]
pub struct Imbalance {
    /// received + injected + generated.
    pub taken: u64,
    /// transmitted + local + punted + dropped + consumed + held.
    pub settled: u64,
}

impl Counters {
    /// The counter of a drop reason.
    #[inline]
    #[must_use]
    pub fn drop_reason(&self, reason: Reason) -> &Counter {
        // One counter per reason, so the index is always inside; `get` keeps the path free of panics.
        self.dropped.get(reason as usize).unwrap_or(&self.dropped[0])
    }
}

impl CounterSnapshot {
    /// All drops together.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().fold(0, |sum, n| sum.wrapping_add(*n))
    }

    /// The drops of one reason.
    #[must_use]
    pub fn dropped_for(&self, reason: Reason) -> u64 {
        self.dropped.get(reason as usize).copied().unwrap_or(0)
    }

    /// Checks the identity.
    ///
    /// # Errors
    /// Both sides, when they differ.
    pub fn identity(&self) -> Result<(), Imbalance> {
        let taken = self.received.wrapping_add(self.injected).wrapping_add(self.generated);
        let settled =
            [self.transmitted, self.local, self.punted, self.consumed, self.held, self.dropped_total()]
                .into_iter()
                .fold(0, u64::wrapping_add);
        if taken == settled { Ok(()) } else { Err(Imbalance { taken, settled }) }
    }
}

/// The figures of one port at one worker.
#[repr(C, align(32))]
#[derive(Debug, Default, FromBytes)]
pub struct PortCounters {
    /// Packets received.
    pub rx_packets: Counter,
    /// Bytes received, Ethernet header included, FCS not.
    pub rx_bytes: Counter,
    /// Packets put into the TX ring.
    pub tx_packets: Counter,
    /// Their bytes.
    pub tx_bytes: Counter,
    /// Loss that the kernel counts.
    pub sockets: SocketCounters,
}

macro_rules! sockets {
    ($($name:ident: $text:literal,)+) => {
        /// Loss that the kernel counts for the worker's sockets of a port (XDP_STATISTICS), since these
        /// were made; the worker asks once a second. Outside the identity: the worker never had these.
        #[repr(C)]
        #[derive(Debug, Default, FromBytes)]
        pub struct SocketCounters {
            $(#[doc = $text] pub $name: Counter,)+
        }

        /// [`SocketCounters`] at one moment, of one worker or a sum over several.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct SocketSnapshot {
            $(#[doc = $text] pub $name: u64,)+
        }

        impl SocketCounters {
            /// The figures now.
            #[must_use]
            pub fn snapshot(&self) -> SocketSnapshot {
                SocketSnapshot { $($name: self.$name.get(),)+ }
            }

            /// Shows other figures. Owner only.
            pub fn set(&self, figures: &SocketSnapshot) {
                $(self.$name.set(figures.$name);)+
            }
        }

        impl SocketSnapshot {
            /// Adds the figures of other sockets.
            pub fn add(&mut self, other: &Self) {
                $(self.$name = self.$name.wrapping_add(other.$name);)+
            }

            /// The figures with their names.
            #[must_use]
            pub fn named(&self) -> [(&'static str, u64); [$(stringify!($name)),+].len()] {
                [$((stringify!($name), self.$name)),+]
            }
        }
    };
}

sockets! {
    rx_dropped: "Packets that the kernel dropped for want of a frame to receive into, or for their size.",
    rx_ring_full: "Packets that it dropped because the worker was late and the RX ring was full.",
    fill_ring_empty: "How often it found no frame to receive into.",
    rx_invalid: "Fill ring entries that it refused.",
    tx_invalid: "TX ring entries that it refused.",
}

/// [`PortCounters`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortSnapshot {
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets put into the TX ring.
    pub tx_packets: u64,
    /// Their bytes.
    pub tx_bytes: u64,
    /// Loss that the kernel counts.
    pub sockets: SocketSnapshot,
}

impl PortCounters {
    /// The figures now.
    #[must_use]
    pub fn snapshot(&self) -> PortSnapshot {
        PortSnapshot {
            rx_packets: self.rx_packets.get(),
            rx_bytes: self.rx_bytes.get(),
            tx_packets: self.tx_packets.get(),
            tx_bytes: self.tx_bytes.get(),
            sockets: self.sockets.snapshot(),
        }
    }
}

impl PortSnapshot {
    /// Adds another worker's figures for the same port.
    pub fn add(&mut self, other: &Self) {
        self.rx_packets = self.rx_packets.wrapping_add(other.rx_packets);
        self.rx_bytes = self.rx_bytes.wrapping_add(other.rx_bytes);
        self.tx_packets = self.tx_packets.wrapping_add(other.tx_packets);
        self.tx_bytes = self.tx_bytes.wrapping_add(other.tx_bytes);
        self.sockets.add(&other.sockets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_and_sum() {
        let counters = Counters::default();
        counters.received.add(5);
        counters.generated.add(1);
        counters.transmitted.add(3);
        counters.held.add(2);
        counters.held.subtract(1);
        counters.drop_reason(Reason::ALL[1]).add(2);
        let one = counters.snapshot();
        assert_eq!(one.identity(), Ok(()));
        assert_eq!(one.dropped_for(Reason::ALL[1]), 2);
        let mut sum = CounterSnapshot::default();
        sum.add(&one);
        sum.add(&one);
        assert_eq!((sum.received, sum.dropped_total()), (10, 4));
        sum.received += 1;
        assert_eq!(sum.identity(), Err(Imbalance { taken: 13, settled: 12 }));
    }

    #[test]
    fn counters_wrap_without_breaking_the_identity() {
        let counters = Counters::default();
        counters.received.add(u64::MAX);
        counters.received.add(3);
        counters.transmitted.add(u64::MAX);
        counters.transmitted.add(2);
        counters.local.add(1);
        assert_eq!(counters.snapshot().identity(), Ok(()));
    }
}
