//! What a killed run left behind is removed at the next start.

#![allow(clippy::expect_used, clippy::panic, reason = "the helpers of a test may fail it")]

use sixlane_lab::{Deadline, Lab};
use std::process::{Command, Stdio};

/// Names this test's own process when it plays the run that is killed.
const VICTIM: &str = "SIXLANE_LAB_TEST_VICTIM";

fn namespaces() -> String {
    let output = Command::new("ip").args(["netns", "list"]).output().expect("ip");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_killed_run_is_cleaned_up_by_the_next() {
    if std::env::var_os(VICTIM).is_some() {
        play_the_victim();
    }
    let this = std::env::current_exe().expect("this test");
    let mut victim = Command::new(this)
        .args(["--exact", "a_killed_run_is_cleaned_up_by_the_next", "--nocapture"])
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("a second run");
    let output = victim.stdout.take().expect("a pipe");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(output));
    let prefix = lines
        .find_map(|line| line.ok()?.split_once("laboratory ").map(|(_, rest)| rest.to_owned()))
        .expect("the laboratory's name");
    // While it lives: the next laboratory of anybody on this machine removes what it leaves.
    assert!(namespaces().contains(&prefix), "there is nothing to clean up");
    victim.kill().expect("killed");
    let _ = victim.wait();

    let lab = Lab::new().expect("a laboratory");
    let after = namespaces();
    assert!(!after.contains(&prefix), "{after}");
    assert_ne!(lab.prefix(), prefix);
}

/// Builds a laboratory with a process in it, says its name and waits for the end.
fn play_the_victim() -> ! {
    let lab = Lab::new().expect("a laboratory");
    let host = lab.host("victim").expect("a host");
    let mut busy = host.command("sleep").arg("1000").spawn().expect("a process");
    sixlane_lab::eventually("the process", Deadline::seconds(5), || {
        (!host.processes().is_empty()).then_some(())
    })
    .expect("it runs");
    println!("laboratory {}", lab.prefix());
    let status = busy.wait();
    panic!("the process ended before its killer came: {status:?}");
}

#[test]
fn two_laboratories_stand_side_by_side() {
    let (one, other) = (Lab::new().expect("one"), Lab::new().expect("another"));
    let (a, b) = (one.host("twin").expect("a host"), other.host("twin").expect("a host"));
    assert_ne!(a.namespace(), b.namespace());
    drop(one);
    let left = namespaces();
    assert!(!left.contains(a.namespace()) && left.contains(b.namespace()), "{left}");
}
