use proptest::prelude::*;

use super::*;

fn segment() -> Segment {
    Segment {
        what: Segment::TABLES,
        worker: 3,
        set: 0x1122_3344_5566_7788,
        index: 7,
        incarnation: 2,
        frames: 0,
        more: 1,
    }
}

fn port() -> Port {
    Port {
        port: 1,
        queue: 2,
        worker: 3,
        queues: 4,
        ifindex: 5,
        flags: Port::ZERO_COPY,
        number: 6,
        rings: Rings { rx: 2048, tx: 2048, fill: 4096, completion: 2048 },
        name: Text::new("wan4"),
        driver: Text::new("veth"),
    }
}

fn all() -> Vec<Message> {
    let plan = Plan {
        workers: 2,
        ports: 3,
        sockets: 4,
        frames: 8192,
        spin: 1,
        incarnation: 9,
        stuck_seconds: 1,
        cores: [6; MAX_WORKERS],
    };
    vec![
        Message::Plan(plan),
        Message::Port(port()),
        Message::Segment(segment()),
        Message::Link(Link { what: Link::MAPS, port: 0 }),
        Message::Ready(Ready { text: Text::new("no route"), ..Ready::new(Ready::FAILED) }),
        Message::Retire(Retire::new(Retire::STOP)),
        Message::PortReturned(PortReturned { port: 1, queue: 0 }),
        Message::Keep(Keep::put(7, &Message::Port(port())).unwrap()),
        Message::Estate(Estate {
            shape: [1, 2, 3, 4],
            parcels: 5,
            incarnation: 6,
            control_incarnation: 7,
            at_work: 1,
        }),
        Message::Deaths(Deaths { child: Deaths::CONTROL, total: 9, recent: 3, last: Text::new("signal 9") }),
    ]
}

#[test]
fn every_kind_survives_the_wire() {
    for message in all() {
        let bytes = message.encode(2);
        assert_eq!(Message::decode(&bytes, 2), Ok(message));
    }
}

#[test]
fn names_survive_the_wire() {
    let Ok(Message::Port(port)) = Message::decode(&Message::Port(port()).encode(1), 1) else {
        unreachable!("a port was sent")
    };
    assert_eq!((port.name.get().as_str(), port.driver.get().as_str()), ("wan4", "veth"));
}

#[test]
fn other_builds_are_refused() {
    let good = Message::Segment(segment()).encode(0);
    let mut version = good;
    version[4] ^= 1;
    assert_eq!(Message::decode(&version, 0), Err(ProtocolError::Foreign(VERSION ^ 1)));
    let mut layout = good;
    layout[8] ^= 1;
    assert_eq!(Message::decode(&layout, 0), Err(ProtocolError::Foreign(VERSION)));
    let mut magic = good;
    magic[0] ^= 1;
    assert_eq!(Message::decode(&magic, 0), Err(ProtocolError::Magic));
    let mut kind = good;
    kind[6] = 99;
    assert_eq!(Message::decode(&kind, 0), Err(ProtocolError::Kind(99)));
}

#[test]
fn lengths_and_descriptors_are_checked() {
    let good = Message::Segment(segment()).encode(1);
    assert_eq!(Message::decode(&good[1..], 1), Err(ProtocolError::Length(MESSAGE_BYTES - 1)));
    assert_eq!(Message::decode(&good, 2), Err(ProtocolError::Descriptors { told: 1, came: 2 }));
}

#[test]
fn a_long_sentence_is_cut_between_characters() {
    let text = Text::<4>::new("aüüü");
    assert_eq!(text.get(), "aü");
    assert_eq!(Text::<4>::new("").get(), "");
}

proptest! {
    #[test]
    fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600), fds in 0usize..9) {
        let _ = Message::decode(&bytes, fds);
    }

    #[test]
    fn noise_behind_a_good_header_never_panics(
        noise in proptest::collection::vec(any::<u8>(), BODY_BYTES),
        which in 0usize..7,
    ) {
        let mut bytes = all()[which].encode(0);
        bytes[MESSAGE_BYTES - BODY_BYTES..].copy_from_slice(&noise);
        if let Ok(Message::Ready(ready)) = Message::decode(&bytes, 0) {
            let _ = ready.text.get();
        }
    }

    #[test]
    fn any_text_is_a_prefix(text in ".{0,200}") {
        prop_assert!(text.starts_with(&Text::<32>::new(&text).get()));
    }
}

#[test]
fn what_is_kept_comes_out_as_it_went_in() {
    for message in all() {
        let kept = Keep::put(3, &message);
        // A sentence is not kept, nor is a parcel inside of another.
        let long = matches!(message, Message::Ready(_) | Message::Retire(_) | Message::Keep(_));
        assert_eq!(kept.is_none(), long, "{message:?}");
        if let Some(kept) = kept {
            assert_eq!(kept.message(), Ok(message));
        }
    }
    for word in [Keep::DROP, Keep::ASK] {
        assert_eq!(Keep::about(word, 9).message(), Err(ProtocolError::Kind(0)));
    }
}

proptest! {
    #[test]
    fn noise_inside_a_kept_parcel_never_panics(noise in proptest::collection::vec(any::<u8>(), MESSAGE_BYTES)) {
        let mut bytes = Message::Keep(Keep::about(Keep::PUT, 1)).encode(0);
        let body = size_of::<Header>();
        bytes[body..].copy_from_slice(&noise[body..]);
        let Ok(Message::Keep(kept)) = Message::decode(&bytes, 0) else { panic!("the envelope is right") };
        let _ = kept.message();
    }
}
