use sixlane_keeper::protocol::{Link, Segment};

use super::*;

fn parcel(key: u64) -> Keep {
    let message = Message::Link(Link { what: Link::ATTACHMENT, port: 3 });
    Keep::put(key, &message).unwrap()
}

fn fd() -> OwnedFd {
    std::fs::File::open("/dev/null").unwrap().into()
}

fn ends() -> (Channel, Channel) {
    let (ours, theirs) = Channel::pair().unwrap();
    rustix::io::ioctl_fionbio(&theirs, true).unwrap();
    (ours, Channel::over(theirs))
}

fn ask(channel: &Channel, after: u64) {
    channel.send(&Message::Keep(Keep::about(Keep::ASK, after)), &[]).unwrap();
}

/// The state of a control that has been waiting when a keeper connected.
fn handing(channel: Channel) -> Side {
    Side::Handing(fd(), channel)
}

#[test]
fn parcels_are_handed_out_in_the_order_of_their_keys() {
    let mut estate = Estate::default();
    for key in [7, u64::MAX, 2, 5] {
        estate.note(parcel(key), vec![fd()]);
    }
    estate.note(Keep::about(Keep::DROP, 5), Vec::new());
    estate.note(parcel(2), vec![fd(), fd()]);
    let (successor, control) = ends();
    let mut side = handing(control);
    let (mut after, mut found) = (0, Vec::new());
    while after != u64::MAX {
        ask(&successor, after);
        side = side.advance(&estate).0;
        let (message, fds) = successor.receive().unwrap();
        let Message::Keep(keep) = message else { panic!("{message:?}") };
        assert_eq!(keep.message(), Ok(Message::Link(Link { what: Link::ATTACHMENT, port: 3 })));
        found.push((keep.key, fds.len()));
        after = keep.key;
    }
    assert_eq!(found, [(2, 2), (7, 1), (u64::MAX, 1)]);
    successor.send(&Message::Ready(Ready::new(Ready::ADOPTED)), &[]).unwrap();
    let (side, adopted) = side.advance(&estate);
    assert!(adopted && matches!(side, Side::Keeper(_)));
}

#[test]
fn whoever_says_anything_else_or_leaves_gets_nothing_more() {
    let estate = Estate::default();
    let listener = || {
        rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )
        .unwrap()
    };
    let waits = |side: &Side| matches!(side, Side::Waiting(_));
    let strange = [
        Message::Segment(Segment::new(Segment::TABLES)),
        Message::Ready(Ready::new(Ready::START)),
        Message::Keep(parcel(1)),
        Message::Keep(Keep::about(Keep::DROP, 1)),
        // Nothing is there, and nothing comes after the last key.
        Message::Keep(Keep::about(Keep::ASK, 0)),
        Message::Keep(Keep::about(Keep::ASK, u64::MAX)),
    ];
    for message in strange {
        let (successor, control) = ends();
        successor.send(&message, &[]).unwrap();
        let (side, adopted) = Side::Handing(listener(), control).advance(&estate);
        assert!(waits(&side) && !adopted, "{message:?}");
    }
    let (successor, control) = ends();
    drop(successor);
    let (side, adopted) = Side::Handing(listener(), control).advance(&estate);
    assert!(waits(&side) && !adopted);
}

#[test]
fn what_is_kept_has_an_end() {
    let mut estate = Estate::default();
    for key in 0..20_000 {
        estate.note(parcel(key), Vec::new());
    }
    assert_eq!(estate.parcels.len(), PARCELS_MAX);
    estate.note(parcel(0), vec![fd()]);
    assert_eq!(estate.parcels[&0].1.len(), 1, "a known key may always change");
}

#[test]
fn the_socket_is_for_root_and_its_owner() {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join(KEEPER_SOCKET);
    std::fs::write(&path, "left behind").unwrap();
    let listener = listen(&path).unwrap();
    let found = std::fs::metadata(&path).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    assert_eq!(Side::accept(&listener).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    let _successor = Channel::connect(&path).unwrap();
    let root = rustix::process::geteuid().is_root();
    assert_eq!(Side::accept(&listener).is_ok(), root, "only root is let in");
}
