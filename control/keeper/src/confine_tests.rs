use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

use super::*;

/// Runs the test `name` of this file again in a process of its own, where it does `what`: filters
/// cannot be taken off again.
fn again(name: &str, what: &str) -> Option<ExitStatus> {
    if std::env::var("SIXLANE_CONFINE").is_ok_and(|asked| asked == what) {
        return None;
    }
    let own = std::env::current_exe().unwrap();
    let status = Command::new(own)
        .args(["--exact", "--nocapture", &format!("confine::tests::{name}")])
        .env("SIXLANE_CONFINE", what)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    Some(status.unwrap())
}

#[test]
fn a_worker_may_write_and_end() {
    match again("a_worker_may_write_and_end", "write") {
        Some(status) => assert!(status.success(), "{status}"),
        None => {
            let (done, wait) = std::sync::mpsc::channel();
            std::thread::spawn(move || {
                worker_thread().unwrap();
                let _ = rustix::io::write(rustix::stdio::stderr(), b"x");
                done.send(()).unwrap();
                loop {
                    std::thread::park();
                }
            });
            wait.recv().unwrap();
            std::process::exit(0);
        }
    }
}

#[test]
fn a_worker_that_opens_a_socket_is_killed() {
    match again("a_worker_that_opens_a_socket_is_killed", "socket") {
        Some(status) => assert_eq!(status.signal(), Some(libc::SIGSYS), "{status}"),
        None => {
            worker_thread().unwrap();
            let _ = std::net::UdpSocket::bind("127.0.0.1:0");
            std::process::exit(0);
        }
    }
}

#[test]
fn the_attach_thread_may_allocate_but_not_open_files() {
    match again("the_attach_thread_may_allocate_but_not_open_files", "open") {
        Some(status) => assert_eq!(status.signal(), Some(libc::SIGSYS), "{status}"),
        None => {
            attach_thread().unwrap();
            let block = vec![1_u8; 64 << 20];
            assert_eq!(block[block.len() / 2], 1);
            drop(block);
            let _ = std::fs::File::open("/etc/passwd");
            std::process::exit(0);
        }
    }
}

#[test]
fn a_worker_has_at_most_twelve_calls() {
    let different: std::collections::BTreeSet<i64> = WORKER_CALLS.into_iter().collect();
    assert!(different.len() <= 12);
    assert!(ATTACH_CALLS.iter().all(|call| !different.contains(call)));
}
