//! Packets to and from the workers: the rings behind the door.

use sixlane_tables::TableWriter;
use sixlane_tables::packets::{Injector, PACKET_MAX, PuntedPacket};

use super::Workers;

/// Most packets that are taken from one worker at a time (TGT-14).
const PACKETS_MAX: usize = 64;

impl Workers {
    /// Takes control's end of a worker's inject ring.
    pub(crate) fn inject_by(&mut self, worker: u16, injector: Injector) {
        self.injectors.insert(worker, injector);
    }

    /// What the workers handed over for the kernel, a bounded number from each, oldest first. `false`:
    /// nothing is left.
    pub(crate) fn take_packets(
        &mut self,
        writer: &TableWriter,
        mut give: impl FnMut(PuntedPacket<'_>),
    ) -> bool {
        let mut buffer = [0; PACKET_MAX];
        let mut more = false;
        for (&number, worker) in &mut self.workers {
            let Some(line) = writer.packet_partner(number) else { continue };
            let mut left = PACKETS_MAX;
            while left > 0
                && let Some(packet) = worker.packets.pop(worker.view.packet_ring(), line, &mut buffer)
            {
                left -= 1;
                // What is no packet at all was written by no honest worker.
                packet.into_iter().for_each(&mut give);
            }
            more |= left == 0;
        }
        more
    }

    /// Hands a packet to a worker that lives; packets of one pair of addresses all go to the same. `false`:
    /// there is none, or it has no room.
    pub(crate) fn inject(&mut self, packet: &[u8]) -> bool {
        let Self { workers, injectors, .. } = self;
        let living = workers.iter().filter(|(_, worker)| worker.alive).count();
        // Source and destination of an IPv6 header.
        let sum = packet.get(8..40).unwrap_or_default().iter().map(|byte| usize::from(*byte)).sum::<usize>();
        let Some(nth) = sum.checked_rem(living) else { return false };
        let mut chosen = workers.iter().filter(|(_, worker)| worker.alive);
        chosen.nth(nth).is_some_and(|(number, worker)| {
            let injector = injectors.get_mut(number);
            injector.is_some_and(|injector| injector.push(worker.view.inject_partner(), packet).is_ok())
        })
    }
}
