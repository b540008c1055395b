//! The guest is a real Linux: what its `sit` sends is protocol 41 on its wire.

use sixlane_lab::{Deadline, FarEnd, World};
use socket2::{Domain, Protocol, Socket, Type};
use std::mem::MaybeUninit;

#[test]
fn sit_sends_protocol_41_to_its_relay() {
    let mut world = World::first_light(FarEnd::Linux).expect("the laboratory stands");
    let relay = world.host("relay").expect("relay").clone();
    let socket = relay
        .within(|| Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(41))))
        .expect("namespace")
        .expect("raw socket");
    let answer = world
        .guest()
        .expect("guest")
        .shell("ping6 -c 1 -W 1 2001:600::1", Deadline::seconds(10))
        .expect("the guest answers");
    assert_ne!(answer.status, 0, "nobody relays yet: {}", answer.text);
    assert!(sixlane_lab::readable(&socket, &Deadline::seconds(5)).expect("poll"));
    let mut buffer = [MaybeUninit::new(0_u8); 2048];
    let length = socket.recv(&mut buffer).expect("packet");
    assert_eq!(length, 20 + 40 + 64, "outer header, inner header, echo request");
}
