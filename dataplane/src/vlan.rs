//! Frames with a VLAN tag (IEEE 802.1Q): on arrival the tag is taken out and says which port it is; what
//! leaves by a port with a VLAN gets its tag in [`crate::rewrite`]. In between a frame has none.

use crate::batch::Slot;
use crate::rewrite::untag;
use crate::scene::Scene;
use crate::tally::Tally;

/// The worker's memory of the tag it saw last, so that a row of frames of one VLAN is one search.
#[derive(Debug, Default)]
pub(crate) struct Vlans {
    /// Generation, port of the socket and VLAN id that `port` stands for.
    seen: (u64, u8, u16),
    port: Option<u8>,
}

impl Vlans {
    /// Takes the tag out of a frame that has exactly one, and makes it a frame of the port whose it is.
    /// Whether there is such a port.
    #[inline(never)] // so that frames without tags pay for nothing
    pub(crate) fn arrive(&mut self, slot: &mut Slot, scene: &Scene<'_>, tally: &mut Tally) -> bool {
        let (socket, bytes) = (slot.extent.ingress, slot.extent.len);
        let Some(vlan) = untag(slot, scene.umem) else { return false };
        let seen = (scene.settings.generation, socket, vlan);
        if self.seen != seen {
            *self = Self { seen, port: scene.settings.port_of_tag(socket, vlan) };
        }
        let Some(port) = self.port else { return false };
        if port != socket {
            tally.belongs(socket, port, bytes);
        }
        slot.extent.ingress = port;
        slot.extent.egress = port;
        true
    }

    /// The settings of the next batch are of another set of tables, whose generations count anew.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }
}
