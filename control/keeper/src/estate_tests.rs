use super::*;
use crate::protocol::{Link, Port, Rings, Segment, Text};

fn fd() -> Rc<OwnedFd> {
    Rc::new(std::fs::File::open("/dev/null").unwrap().into())
}

fn head() -> Estate {
    Estate { shape: [1, 2, 3, 4], parcels: 0, incarnation: 1, control_incarnation: 1, at_work: 1 }
}

fn link(port: u32, fd: &Rc<OwnedFd>) -> Parcel {
    (Message::Link(Link { what: Link::ATTACHMENT, port }), vec![Rc::clone(fd)])
}

/// Keys and whether they are put, of what control is told.
fn told(messages: &[Parcel]) -> Vec<(u64, bool)> {
    let what = |(message, _): &Parcel| match message {
        Message::Keep(keep) => (keep.key, keep.what == Keep::PUT),
        other => panic!("{other:?}"),
    };
    messages.iter().map(what).collect()
}

#[test]
fn only_changes_are_told_and_the_head_comes_last() {
    let mut mirror = Mirror::default();
    let (first, second) = (fd(), fd());
    let (one, two) = (key(&link(0, &first).0), key(&link(1, &first).0));
    let messages = mirror.update(vec![link(0, &first), link(1, &second)], head());
    assert_eq!(told(&messages), [(one, true), (two, true), (LAST, true)]);
    let Some((Message::Keep(last), _)) = messages.last() else { panic!("a head") };
    assert_eq!(last.message(), Ok(Message::Estate(Estate { parcels: 2, ..head() })));
    assert!(mirror.update(vec![link(0, &first), link(1, &second)], head()).is_empty());
    let messages = mirror.update(vec![link(0, &second)], head());
    assert_eq!(told(&messages), [(two, false), (one, true), (LAST, true)], "another descriptor is a change");
    let messages = mirror.update(vec![link(0, &second)], Estate { incarnation: 2, ..head() });
    assert_eq!(told(&messages), [(LAST, true)]);
}

#[test]
fn every_parcel_has_a_name_of_its_own() {
    let port = |port, queue| {
        Message::Port(Port {
            port,
            queue,
            worker: 0,
            queues: 64,
            ifindex: 1,
            flags: 0,
            number: 1,
            rings: Rings { rx: 1, tx: 1, fill: 1, completion: 1 },
            name: Text::new(""),
            driver: Text::new(""),
        })
    };
    let segment =
        |what, incarnation, worker| Message::Segment(Segment { incarnation, worker, ..Segment::new(what) });
    let mut messages = vec![Message::Estate(head())];
    for what in [Link::MAPS, Link::PROGRAM, Link::CHANNEL, Link::NAME] {
        messages.push(Message::Link(Link { what, port: 0 }));
    }
    for number in 0..64 {
        messages.push(Message::Link(Link { what: Link::ATTACHMENT, port: number }));
        messages.push(segment(Segment::UMEM, 0, number));
        messages.extend([1, 2, u32::MAX].map(|incarnation| segment(Segment::WORKER, incarnation, number)));
        messages.extend([0, 1, 63].map(|queue| port(u16::try_from(number).unwrap(), queue)));
    }
    let mut keys: Vec<u64> = messages.iter().map(key).collect();
    keys.sort_unstable();
    let all = keys.len();
    keys.dedup();
    assert_eq!(keys.len(), all);
    assert_eq!(keys.last(), Some(&LAST));
}
