//! Packets that wait until a client has proved where it is: one ring for all.

use std::collections::{HashMap, VecDeque};

use sixlane_wire::ipv6::Address;

/// How many packets wait in all.
pub(super) const ALL_MAX: usize = 1024;
/// How many packets wait of one source /64.
pub(super) const SOURCE_MAX: u16 = 64;

/// A packet that waits.
#[derive(Debug)]
pub(super) struct Packet {
    /// The client that it is for.
    pub(super) client: Address,
    /// The first half of its source.
    pub(super) source: u64,
    /// Its bytes.
    pub(super) bytes: Box<[u8]>,
}

/// Where a packet waits, for who took it in.
pub(super) type Place = u16;

/// The ring. When it is full the oldest packet makes room: who sends without end displaces mostly himself.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Packets by place, each with its serial number.
    places: Vec<Option<(u64, Packet)>>,
    free: Vec<Place>,
    /// Serial numbers and places in the order of arrival, with those that have left.
    order: VecDeque<(u64, Place)>,
    serial: u64,
    /// How many wait of each source /64. `HashMap` is keyed: strangers choose sources.
    sources: HashMap<u64, u16>,
}

impl Waiting {
    /// An empty ring.
    pub(super) fn new() -> Waiting {
        Waiting {
            places: (0..ALL_MAX).map(|_| None).collect(),
            free: (0..ALL_MAX as Place).rev().collect(),
            order: VecDeque::with_capacity(2 * ALL_MAX),
            serial: 0,
            sources: HashMap::new(),
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        ALL_MAX - self.free.len()
    }

    /// Whether a source /64 has as many as it may have.
    pub(super) fn is_full_for(&self, source: u64) -> bool {
        self.sources.get(&source).is_some_and(|&count| count >= SOURCE_MAX)
    }

    /// Takes the oldest packet out if there is no room for another one.
    pub(super) fn make_room(&mut self) -> Option<(Place, Packet)> {
        if !self.free.is_empty() {
            return None;
        }
        while let Some((serial, place)) = self.order.pop_front() {
            if self.is_there(serial, place) {
                return self.take(place).map(|packet| (place, packet));
            }
        }
        None
    }

    /// Takes a packet in. `None` if there is no room ([`Waiting::make_room`]).
    pub(super) fn put(&mut self, packet: Packet) -> Option<Place> {
        let place = self.free.pop()?;
        *self.sources.entry(packet.source).or_default() += 1;
        self.serial += 1;
        self.places[usize::from(place)] = Some((self.serial, packet));
        self.order.push_back((self.serial, place));
        if self.order.len() >= 2 * ALL_MAX {
            let order = std::mem::take(&mut self.order);
            self.order = order.into_iter().filter(|&(serial, place)| self.is_there(serial, place)).collect();
        }
        Some(place)
    }

    /// Takes a packet out.
    pub(super) fn take(&mut self, place: Place) -> Option<Packet> {
        let (_, packet) = self.places.get_mut(usize::from(place))?.take()?;
        self.free.push(place);
        if let Some(count) = self.sources.get_mut(&packet.source) {
            *count -= 1;
            if *count == 0 {
                self.sources.remove(&packet.source);
            }
        }
        Some(packet)
    }

    fn is_there(&self, serial: u64, place: Place) -> bool {
        matches!(self.places.get(usize::from(place)), Some(Some((there, _))) if *there == serial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(number: u64, source: u64) -> Packet {
        Packet { client: Address { hi: 0, lo: number }, source, bytes: number.to_be_bytes().into() }
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut waiting = Waiting::new();
        for number in 0..ALL_MAX as u64 {
            assert!(waiting.make_room().is_none());
            assert!(waiting.put(packet(number, number)).is_some());
        }
        assert!(waiting.put(packet(0, 0)).is_none());
        for number in 0..3 {
            let (place, oldest) = waiting.make_room().unwrap();
            assert_eq!(oldest.client.lo, number);
            assert_eq!(waiting.put(packet(9999 + number, 9999)), Some(place));
        }
    }

    proptest! {
        /// Against a list: the same packets, in the same order, with the same counts of sources.
        #[test]
        fn it_is_a_list(steps in proptest::collection::vec((0..4_u8, 0..5_u64, any::<usize>()), 0..3000)) {
            let mut waiting = Waiting::new();
            let mut list: Vec<(u64, u64, Place)> = Vec::new();
            for (number, (what, source, at)) in steps.into_iter().enumerate() {
                if what > 0 {
                    let full = list.iter().filter(|entry| entry.1 == source).count() >= usize::from(SOURCE_MAX);
                    prop_assert_eq!(waiting.is_full_for(source), full);
                    if let Some((place, oldest)) = waiting.make_room() {
                        prop_assert_eq!((oldest.client.lo, oldest.source, place), list.remove(0));
                    }
                    let place = waiting.put(packet(number as u64, source)).unwrap();
                    list.push((number as u64, source, place));
                } else if !list.is_empty() {
                    let (number, source, place) = list.remove(at % list.len());
                    let taken = waiting.take(place).unwrap();
                    prop_assert_eq!((taken.client.lo, taken.source), (number, source));
                    prop_assert!(waiting.take(place).is_none());
                }
                prop_assert_eq!(waiting.len(), list.len());
                prop_assert!(waiting.order.len() <= 2 * ALL_MAX);
            }
        }
    }
}
