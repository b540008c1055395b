//! What a worker says to control through its punt ring.

use crate::spsc::{MESSAGE_WORDS, Message};

/// Kind of a message in the low byte of its first word.
const NEIGHBOUR_WANTED: u64 = 1;

/// A packet was dropped because the link-layer address of its next hop is not known: please resolve it
/// (NTF_USE). The worker limits the rate of these; control spends them within its own budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighbourWanted {
    /// Index of the egress port.
    pub port: u8,
    /// The kernel's interface behind it.
    pub ifindex: u32,
    /// The address to resolve, IPv4-mapped (`::ffff:a.b.c.d`) for IPv4.
    pub next_hop: [u8; 16],
}

impl NeighbourWanted {
    /// The message as it travels.
    #[must_use]
    pub const fn encode(&self) -> Message {
        let mut message = [0; MESSAGE_WORDS];
        message[0] = NEIGHBOUR_WANTED | (self.port as u64) << 8 | (self.ifindex as u64) << 32;
        let address = u128::from_be_bytes(self.next_hop);
        message[1] = (address >> 64) as u64;
        message[2] = address as u64;
        message
    }

    /// The message, if it is one of these. What comes from a worker is hostile input: any value of the
    /// fields is possible.
    #[must_use]
    pub const fn decode(message: &Message) -> Option<Self> {
        if message[0] & 0xff != NEIGHBOUR_WANTED {
            return None;
        }
        let address = (message[1] as u128) << 64 | message[2] as u128;
        Some(Self {
            port: (message[0] >> 8) as u8,
            ifindex: (message[0] >> 32) as u32,
            next_hop: address.to_be_bytes(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::NeighbourWanted;

    #[test]
    fn survives_the_ring() {
        let wanted = NeighbourWanted { port: 63, ifindex: u32::MAX, next_hop: *b"0123456789abcdef" };
        assert_eq!(NeighbourWanted::decode(&wanted.encode()), Some(wanted));
    }

    #[test]
    fn foreign_kinds_are_not_read() {
        assert_eq!(NeighbourWanted::decode(&[0; 8]), None);
        assert_eq!(NeighbourWanted::decode(&[2; 8]), None);
    }
}
