//! What the generator sends and the sink waits for, by case.

use crate::rig::{self, Case};
use crate::wire::sink::Wish;

/// Bytes of IPv4 in front of a packet in the tunnel.
const OUTER: u32 = 20;

/// Most destinations of a generator.
pub const DESTINATIONS_MAX: u32 = 65_536;

/// The packets of a case.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// The case.
    pub case: Case,
    /// Destinations, taken in turn: 1 to [`DESTINATIONS_MAX`].
    pub destinations: u32,
}

impl Traffic {
    /// The first frame, with destination and number yet to come.
    #[must_use]
    pub fn template(&self) -> Vec<u8> {
        rig::packet(self.case, 0)
    }

    /// Whether the frames come in the tunnel.
    #[must_use]
    pub fn tunnelled(&self) -> bool {
        self.case == Case::Decap
    }

    /// The IPv6 destinations. A packet out of the tunnel comes from one site, whose address is in both of its
    /// headers, and goes to many hosts.
    pub fn addresses(&self) -> impl Iterator<Item = [u8; 16]> {
        let case = self.case;
        (0..self.destinations.clamp(1, DESTINATIONS_MAX) as usize).map(move |index| {
            let address = match case {
                Case::Native | Case::Decap => rig::native(index),
                Case::Encap => rig::sixtofour(rig::site(index)),
            };
            address.to_be_bytes()
        })
    }

    /// What arrives: from the relay in one form, from the forwarder that changes nothing in the other.
    #[must_use]
    pub fn wish(&self) -> Wish {
        let len = self.template().len() as u32;
        match self.case {
            Case::Native => Wish { plain: len, ..Wish::default() },
            Case::Encap => Wish { plain: len, tunnelled: len + OUTER, ..Wish::default() },
            Case::Decap => Wish { plain: len - OUTER, tunnelled: len, ..Wish::default() },
        }
    }
}
