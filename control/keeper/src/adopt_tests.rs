use std::rc::Rc;

use super::*;
use crate::estate::Mirror;
use crate::protocol::{Port, Rings, Text};

fn fd() -> OwnedFd {
    std::fs::File::open("/dev/null").unwrap().into()
}

fn head() -> Estate {
    Estate { shape: [0; Estate::PARTS], parcels: 0, incarnation: 1, control_incarnation: 1, at_work: 1 }
}

/// What a keeper would have let control keep of these messages.
fn kept(messages: Vec<Message>) -> Vec<Keep> {
    let parcels = messages.into_iter().map(|message| (message, vec![Rc::new(fd())])).collect();
    let keep = |(message, _)| match message {
        Message::Keep(keep) => keep,
        other => panic!("{other:?}"),
    };
    Mirror::default().update(parcels, head()).into_iter().map(keep).collect()
}

/// Asks a control that answers with these, whatever it is asked.
fn asked(answers: Vec<Message>) -> Result<(Vec<Found>, Estate), AdoptError> {
    let (keeper, control) = Channel::pair().unwrap();
    rustix::io::ioctl_fionbio(&keeper, false).unwrap();
    let control = Channel::over(control);
    let answering = std::thread::spawn(move || {
        for answer in answers {
            if control.receive().is_err() || control.send(&answer, &[fd().as_fd()]).is_err() {
                return;
            }
        }
    });
    let outcome = ask_for_all(&keeper);
    drop(keeper);
    answering.join().unwrap();
    outcome
}

fn links() -> Vec<Message> {
    (0..3).map(|port| Message::Link(Link { what: Link::ATTACHMENT, port })).collect()
}

fn lacks(outcome: Result<(Vec<Found>, Estate), AdoptError>) -> bool {
    matches!(outcome, Err(AdoptError::Lacks(_)))
}

#[test]
fn what_was_kept_arrives_whole() {
    let answers = kept(links()).into_iter().map(Message::Keep).collect();
    let (parcels, estate) = asked(answers).unwrap();
    assert_eq!(estate.parcels, 3);
    assert_eq!(parcels.iter().map(|(message, _)| *message).collect::<Vec<_>>(), links());
    assert!(parcels.iter().all(|(_, fds)| fds.len() == 1));
}

#[test]
fn a_list_that_lacks_repeats_or_renames_something_is_refused() {
    let whole = kept(links());
    for missing in 0..3 {
        let mut answers = whole.clone();
        answers.remove(missing);
        assert!(lacks(asked(answers.into_iter().map(Message::Keep).collect())));
    }
    let mut twice = whole.clone();
    twice.insert(1, whole[0]);
    assert!(lacks(asked(twice.into_iter().map(Message::Keep).collect())));
    let mut renamed = whole.clone();
    renamed[0].key += 1;
    assert!(lacks(asked(renamed.into_iter().map(Message::Keep).collect())));
    let mut dropped = whole;
    dropped[0].what = Keep::DROP;
    assert!(lacks(asked(dropped.into_iter().map(Message::Keep).collect())));
    assert!(lacks(asked(vec![links()[0]])));
}

#[test]
fn a_control_that_ends_or_is_silent_is_given_up() {
    assert!(matches!(asked(Vec::new()), Err(AdoptError::Unreachable(_))));
    let (keeper, _silent) = Channel::pair().unwrap();
    let error = answer(&keeper, Instant::now() + Duration::from_millis(5)).unwrap_err();
    assert!(matches!(&error, AdoptError::Unreachable(cause) if cause.kind() == io::ErrorKind::TimedOut));
}

#[test]
fn descriptors_that_are_something_else_are_refused() {
    let mut plan = crate::protocol::Plan {
        workers: 1,
        ports: 1,
        sockets: 1,
        frames: 8,
        spin: 0,
        incarnation: 0,
        stuck_seconds: 1,
        cores: [0; crate::protocol::MAX_WORKERS],
    };
    let port = Port {
        port: 0,
        queue: 0,
        worker: 0,
        queues: 1,
        ifindex: 1,
        flags: 0,
        number: 1,
        rings: Rings { rx: 8, tx: 8, fill: 8, completion: 8 },
        name: Text::new("wan4"),
        driver: Text::new(""),
    };
    let list = |plan: crate::protocol::Plan| {
        let one = |message: Message| (message, vec![fd()]);
        vec![
            one(Message::Plan(plan)),
            one(Message::Link(Link { what: Link::PROGRAM, port: 0 })),
            (Message::Link(Link { what: Link::MAPS, port: 0 }), (0..6).map(|_| fd()).collect()),
            one(Message::Segment(Segment { frames: 8, ..Segment::new(Segment::UMEM) })),
            one(Message::Port(port)),
            one(Message::Link(Link { what: Link::ATTACHMENT, port: 0 })),
        ]
    };
    assert!(matches!(Held::adopt(&[], list(plan)), Err(AdoptError::Descriptor(_))), "maps");
    let mut without_maps = list(plan);
    without_maps.remove(2);
    assert!(matches!(Held::adopt(&[], without_maps), Err(AdoptError::Lacks(_))));
    plan.workers = u16::MAX;
    assert!(Held::adopt(&[], list(plan)).is_err());
    assert!(Held::adopt(&[], Vec::new()).is_err());
}

#[test]
fn a_process_that_has_ended_is_not_living() {
    let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let process = crate::runtime::Noted::of(child.id().cast_signed()).unwrap();
    let noted = NotedChild { process, role: "control".into(), number: 1 };
    assert!(living(&noted).is_some());
    let other = crate::runtime::Noted { started: process.started + 1, ..process };
    assert!(living(&NotedChild { process: other, ..noted.clone() }).is_none());
    child.kill().unwrap();
    // A zombie is not living either: it is still there by its number.
    let dead = Instant::now() + Duration::from_secs(10);
    while living(&noted).is_some() {
        assert!(Instant::now() < dead);
        std::thread::yield_now();
    }
    child.wait().unwrap();
}
