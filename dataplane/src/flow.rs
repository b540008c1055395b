//! Which of several next hops a packet takes: a keyed hash of its flow (RFC 2992, RFC 6438). Packets of a
//! flow go one way; without the key nobody can choose flows that all go the same (security.md D6).

use crate::batch::Slot;
use crate::classify::Packet;
use crate::ident::fold;
use crate::scene::Scene;
use sixlane_wire::ipv6;
use zerocopy::FromBytes;

/// Next headers whose first four bytes are two ports: TCP, UDP, DCCP, SCTP. (No fragment has one of them
/// here, so all fragments of a packet go the same way.)
const WITH_PORTS: [u8; 4] = [6, 17, 33, 132];

/// The hash of a packet's flow: its own addresses, whatever is or will be around it, its protocol, its flow
/// label and its ports.
#[inline(never)] // only packets with several next hops pay for it
pub(crate) fn hash(packet: &Packet, slot: &Slot, scene: &Scene<'_>) -> u64 {
    let [first, second] = scene.settings.hash_key;
    let bytes = slot.chunk(scene.umem).and_then(|chunk| chunk.get(usize::from(packet.start)..));
    let Ok((header, rest)) = ipv6::Header::ref_from_prefix(bytes.unwrap_or_default()) else { return 0 };
    let ports = match rest.first_chunk::<4>() {
        Some(ports) if packet.len >= 44 && WITH_PORTS.contains(&header.next_header) => {
            u32::from_be_bytes(*ports)
        }
        _ => 0,
    };
    let (source, destination) = (header.source(), header.destination());
    let mut hash = fold(source.hi ^ first, source.lo ^ second);
    hash = fold(destination.hi ^ hash ^ first, destination.lo ^ second.rotate_left(32));
    let label = u64::from(header.version_class_flow.get() & 0xf_ffff) << 8 | u64::from(header.next_header);
    fold(label ^ hash ^ first, u64::from(ports) ^ second.rotate_left(17))
}
