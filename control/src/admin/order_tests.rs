//! The changing socket's protocol, with an order of the test's own.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as Client;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

use super::PATIENCE;
use super::orders::{Done, Order};
use super::server::{Request, converse};

/// Any word is an order.
struct Word(String);

impl Request for Word {
    type Answer = Done;
    const PATIENCE: Option<Duration> = Some(Duration::from_millis(50));

    fn parse(line: &[u8]) -> Result<Self, String> {
        Ok(Self(String::from_utf8_lossy(line).into_owned()))
    }

    fn name(&self) -> &'static str {
        "word"
    }

    fn line(name: &'static str, outcome: Done) -> (String, Vec<OwnedFd>) {
        Order::line(name, outcome)
    }
}

#[test]
fn orders_are_answered_when_they_are_done_and_refused_with_a_sentence() {
    let (ours, theirs) = Client::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = std::thread::spawn(move || {
        let mut answers = BufReader::new(theirs.try_clone().unwrap());
        let mut order = |word: &str| -> Value {
            (&theirs).write_all(format!("{word}\n").as_bytes()).unwrap();
            let mut line = String::new();
            answers.read_line(&mut line).unwrap();
            serde_json::from_str(&line).unwrap()
        };
        assert_eq!(order("fetch"), json!({"v": 1, "done": true, "what": "fetch"}));
        assert_eq!(order("bad"), json!({"v": 1, "error": "it cannot be done: do something else"}));
        let late = order("forget")["error"].as_str().unwrap().to_owned();
        assert!(late.contains("not done yet"), "{late}");
    });
    runtime.block_on(async {
        let (asks, mut orders) = mpsc::channel::<(Word, oneshot::Sender<Done>)>(4);
        let server = tokio::spawn(converse(UnixStream::from_std(ours).unwrap(), asks, Some(PATIENCE)));
        let mut never = Vec::new();
        while let Some((Word(word), outcome)) = orders.recv().await {
            let answer = match word.as_str() {
                "bad" => Err("it cannot be done: do something else".to_owned().into()),
                "forget" => {
                    never.push(outcome);
                    continue;
                }
                _ => Ok(Map::from_iter([("what".to_owned(), json!(word))])),
            };
            outcome.send(answer).unwrap();
        }
        let _ = server.await.unwrap();
    });
    client.join().unwrap();
}

#[test]
fn what_is_no_order_gets_a_sentence() {
    for bad in [
        "nonsense",
        "{}",
        "{\"v\":2,\"do\":\"reload\"}",
        "{\"v\":1,\"do\":\"x\"}",
        "{\"v\":1,\"get\":\"status\"}",
    ] {
        let sentence = Order::parse(bad.as_bytes()).unwrap_err();
        assert!(sentence.contains(": "), "{bad}: {sentence}");
    }
}
