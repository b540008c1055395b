//! The protocol over a socket pair.

use std::io::{IoSliceMut, Read, Seek, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use proptest::prelude::*;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::{Map, Value, json};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::orders::Order;
use super::protocol::{Query, Reply};
use super::server::{Asked, DESCRIPTORS_MAX, Request, converse, serve};
use super::socket::{Access, listen};
use super::{CLIENTS_MAX, PATIENCE};

/// Only root and ourselves, as where the group is missing.
const OWN: Access = Access { group: None, own: true };

/// Runs a client against an event loop that answers every question with its own name, and `tables`
/// with a descriptor.
fn with_server(client: impl FnOnce(std::os::unix::net::UnixStream) + Send + 'static) {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let thread = std::thread::spawn(move || client(theirs));
    runtime.block_on(async {
        let (asks, mut questions) = mpsc::channel::<Asked>(4);
        let server =
            tokio::spawn(converse::<Query>(UnixStream::from_std(ours).unwrap(), asks, Some(PATIENCE)));
        while let Some((query, reply)) = questions.recv().await {
            let mut body = Map::new();
            body.insert("echo".into(), json!(query.name()));
            let descriptors = if query == Query::Tables { vec![a_file("tables")] } else { Vec::new() };
            reply.send(Reply { body, descriptors }).unwrap();
        }
        let _ = server.await.unwrap();
    });
    thread.join().unwrap();
}

fn a_file(text: &str) -> OwnedFd {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.rewind().unwrap();
    file.into()
}

fn line(stream: &mut std::os::unix::net::UnixStream) -> Value {
    let mut text = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
        text.push(byte[0]);
    }
    serde_json::from_slice(&text).unwrap()
}

#[test]
fn questions_are_answered_in_order_on_one_connection() {
    with_server(|mut stream| {
        stream.write_all(b"{\"v\":1,\"get\":\"status\"}\n{\"v\":1,\"get\":\"dro").unwrap();
        assert_eq!(line(&mut stream), json!({"v": 1, "get": "status", "echo": "status"}));
        stream.write_all(b"ps\"}\n").unwrap();
        assert_eq!(line(&mut stream), json!({"v": 1, "get": "drops", "echo": "drops"}));
    });
}

#[test]
fn what_is_no_question_gets_a_sentence_and_the_connection_stays() {
    with_server(|mut stream| {
        for bad in [
            "nonsense",
            "{}",
            "{\"v\":2,\"get\":\"status\"}",
            "{\"v\":1,\"get\":\"secrets\"}",
            "{\"v\":1,\"get\":\"status\",\"x\":1}",
        ] {
            stream.write_all(bad.as_bytes()).unwrap();
            stream.write_all(b"\n").unwrap();
            let answer = line(&mut stream);
            assert_eq!(answer["v"], 1, "{bad}");
            assert!(answer["error"].as_str().unwrap().contains(": "), "{answer}");
        }
        stream.write_all(b"{\"v\":1,\"get\":\"counters\"}\n").unwrap();
        assert_eq!(line(&mut stream)["echo"], "counters");
    });
}

#[test]
fn an_endless_line_is_cut_off() {
    with_server(|mut stream| {
        let mut sent = 0;
        while sent < 1 << 20 && stream.write_all(&[b' '; 4096]).is_ok() {
            sent += 4096;
        }
        assert!(sent < 1 << 20, "the connection was closed");
    });
}

#[test]
fn tables_come_with_their_descriptors() {
    with_server(|mut stream| {
        stream.write_all(b"{\"v\":1,\"get\":\"tables\"}\n").unwrap();
        let mut bytes = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received =
            recvmsg(&stream, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)
                .unwrap();
        let answer: Value = serde_json::from_slice(&bytes[..received.bytes]).unwrap();
        assert_eq!(answer["get"], "tables");
        let mut files: Vec<OwnedFd> = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                files.extend(fds);
            }
        }
        assert_eq!(files.len(), 1);
        let mut text = String::new();
        std::fs::File::from(files.remove(0)).read_to_string(&mut text).unwrap();
        assert_eq!(text, "tables");
    });
}

#[test]
fn the_socket_is_for_owner_and_group_and_seats_are_counted() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("admin.sock");
    std::fs::write(&path, "left from a dead instance").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = runtime.enter();
    let listener = listen(&path, None).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    let (asks, mut questions) = mpsc::channel::<Asked>(4);
    runtime.spawn(serve::<Query>(listener, OWN, asks));
    let connect = move || std::os::unix::net::UnixStream::connect(&path).unwrap();
    let client = std::thread::spawn(move || {
        let mut clients: Vec<_> = (0..CLIENTS_MAX).map(|_| connect()).collect();
        for client in &mut clients {
            client.write_all(b"{\"v\":1,\"get\":\"status\"}\n").unwrap();
            assert_eq!(line(client)["get"], "status");
        }
        let refused = line(&mut connect());
        assert!(refused["error"].as_str().unwrap().starts_with("too many clients"), "{refused}");
    });
    runtime.block_on(async {
        for _ in 0..CLIENTS_MAX {
            let (_, reply) = questions.recv().await.unwrap();
            reply.send(Reply::plain(Map::new())).unwrap();
        }
        tokio::task::spawn_blocking(|| client.join().unwrap()).await.unwrap();
    });
}

#[test]
fn the_limit_of_routes_is_bounded() {
    let parse = |text: &str| Query::parse(text.as_bytes()).unwrap();
    assert_eq!(parse("{\"v\":1,\"get\":\"routes\",\"limit\":5}"), Query::Routes { limit: 5 });
    assert_eq!(
        parse("{\"v\":1,\"get\":\"routes\",\"limit\":99999999}"),
        parse("{\"v\":1,\"get\":\"routes\"}")
    );
}

#[test]
fn values_that_are_deep_huge_or_double_get_a_sentence() {
    let deep = format!("{{\"v\":1,\"get\":{}{}}}", "[".repeat(20_000), "]".repeat(20_000));
    let lines = [
        deep.as_str(),
        "{\"v\":1e999,\"get\":\"status\"}",
        "{\"v\":-1,\"get\":\"status\"}",
        "{\"v\":4294967297,\"get\":\"status\"}",
        "{\"v\":1,\"get\":\"routes\",\"limit\":-5}",
        "{\"v\":1,\"get\":\"routes\",\"limit\":123456789012345678901234567890}",
        "{\"v\":1,\"v\":1,\"get\":\"status\"}",
        "{\"v\":1,\"get\":\"\\ud800\"}",
        "[1,\"status\",2,3]",
    ];
    for line in lines {
        let sentence = Query::parse(line.as_bytes()).unwrap_err();
        assert!(sentence.contains(": ") && sentence.len() < 400, "{sentence}");
    }
}

#[test]
fn more_descriptors_than_one_message_carries_are_not_sent() {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = std::thread::spawn(move || {
        (&theirs).write_all(b"{\"v\":1,\"get\":\"tables\"}\n").unwrap();
        let mut bytes = [0; 4096];
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        recvmsg(&theirs, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
        let counts = control.drain().map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => fds.count(),
            _ => 0,
        });
        assert_eq!(counts.sum::<usize>(), DESCRIPTORS_MAX);
    });
    runtime.block_on(async {
        let (asks, mut questions) = mpsc::channel::<Asked>(4);
        let server =
            tokio::spawn(converse::<Query>(UnixStream::from_std(ours).unwrap(), asks, Some(PATIENCE)));
        let (_, reply) = questions.recv().await.unwrap();
        let descriptors = (0..DESCRIPTORS_MAX + 50).map(|_| a_file("tables")).collect();
        reply.send(Reply { body: Map::new(), descriptors }).unwrap();
        tokio::task::spawn_blocking(|| client.join().unwrap()).await.unwrap();
        let _ = server.await.unwrap();
    });
}

/// Whoever can write into the directory could lay a trap there; it is not stepped into.
#[test]
fn a_link_in_the_place_of_the_socket_is_replaced_and_never_followed() {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};
    let directory = tempfile::tempdir().unwrap();
    let (path, target) = (directory.path().join("admin.sock"), directory.path().join("target"));
    std::fs::write(&target, "precious").unwrap();
    std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::symlink(&target, &path).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = runtime.enter();
    let listener = listen(&path, None).unwrap();
    assert!(std::fs::symlink_metadata(&path).unwrap().file_type().is_socket());
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "precious");
    assert_eq!(std::fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
    drop(listener);
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let sentence = listen(&path, None).unwrap_err();
    assert!(sentence.contains("check who owns the directory"), "{sentence}");
}

proptest! {
    #[test]
    fn noise_is_refused_with_a_sentence(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for judged in [Query::parse(&bytes).map(drop), Order::parse(&bytes).map(drop)] {
            if let Err(sentence) = judged {
                prop_assert!(!sentence.is_empty());
            }
        }
    }

    /// Words of the grammar in any order: nearer to a request than noise.
    #[test]
    fn near_misses_are_refused_with_a_sentence(words in proptest::collection::vec(
        proptest::sample::select(vec!["{", "}", "[", "]", ":", ",", "\"v\"", "\"get\"", "\"do\"", "1", "2",
            "\"status\"", "\"limit\"", "\"routes\"", "null", "-0", "1e400", "\\"]), 0..14)) {
        let line = words.concat();
        if let Err(sentence) = Query::parse(line.as_bytes()) {
            prop_assert!(sentence.contains(": "), "{sentence}");
        }
    }

    /// However the bytes of two requests arrive, they are two requests.
    #[test]
    fn requests_may_come_in_any_pieces(cuts in proptest::collection::vec(1..30_usize, 1..6)) {
        with_server(move |mut stream| {
            let mut text = &b"{\"v\":1,\"get\":\"status\"}\n{\"v\":1,\"get\":\"drops\"}\n"[..];
            for cut in cuts {
                let (now, later) = text.split_at(cut.min(text.len()));
                stream.write_all(now).unwrap();
                text = later;
            }
            stream.write_all(text).unwrap();
            assert_eq!(line(&mut stream)["echo"], "status");
            assert_eq!(line(&mut stream)["echo"], "drops");
        });
    }
}
