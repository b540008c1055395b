//! Asks control, by the reading admin protocol. A control that is late, stopped or dead costs a scrape
//! a moment and its own figures, nothing else.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as Plain;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// How long a control that has answered so far may take for all questions of a scrape.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long one that owes answers may.
const PATIENCE_LATE: Duration = Duration::from_millis(100);
/// Most bytes of an answer.
const ANSWER_MAX: u64 = 1 << 20;
/// What is asked.
const QUESTIONS: [&str; 2] = ["status", "counters"];

/// What control knows.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Known {
    pub(crate) status: Value,
    pub(crate) counters: Value,
}

/// The connection.
#[derive(Debug, Default)]
pub(crate) struct Control {
    stream: Option<BufReader<UnixStream>>,
    /// Lines that were asked for and have not come.
    owed: usize,
    /// The part of a line that has come.
    part: Vec<u8>,
}

impl Control {
    /// Takes a new connection.
    ///
    /// # Errors
    /// The socket's.
    pub(crate) fn connected(&mut self, fd: OwnedFd) -> io::Result<()> {
        let plain = Plain::from(fd);
        plain.set_nonblocking(true)?;
        *self = Self { stream: Some(BufReader::new(UnixStream::from_std(plain)?)), ..Self::default() };
        Ok(())
    }

    /// Asks; `None` if control does not answer in time.
    pub(crate) async fn ask(&mut self) -> Option<Known> {
        self.stream.as_ref()?;
        let patience = if self.owed == 0 { PATIENCE } else { PATIENCE_LATE };
        match timeout(patience, self.exchange()).await {
            Ok(Ok(known)) => Some(known),
            // Its answers come with the next scrape, and are thrown away there.
            Err(_) => None,
            Ok(Err(_)) => {
                self.stream = None;
                None
            }
        }
    }

    async fn exchange(&mut self) -> io::Result<Known> {
        while self.owed > 0 {
            self.line().await?;
        }
        let mut request = String::new();
        for question in QUESTIONS {
            request.push_str(&format!("{{\"v\":1,\"get\":\"{question}\"}}\n"));
        }
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        // A fresh or drained socket takes so little at once; owed from the first byte on.
        self.owed = QUESTIONS.len();
        stream.get_mut().write_all(request.as_bytes()).await?;
        Ok(Known { status: self.line().await?, counters: self.line().await? })
    }

    /// The next line. Cancelled, it goes on where it was.
    async fn line(&mut self) -> io::Result<Value> {
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let room = ANSWER_MAX.saturating_sub(u64::try_from(self.part.len()).unwrap_or(u64::MAX));
        stream.take(room).read_until(b'\n', &mut self.part).await?;
        if self.part.last() != Some(&b'\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.owed = self.owed.saturating_sub(1);
        Ok(serde_json::from_slice(&std::mem::take(&mut self.part))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answer(theirs: &mut BufReader<UnixStream>, number: u64) {
        for question in QUESTIONS {
            let mut line = String::new();
            theirs.read_line(&mut line).await.unwrap();
            assert!(line.contains(question), "{line}");
            let answer = format!("{{\"v\":1,\"get\":\"{question}\",\"number\":{number}}}\n");
            theirs.get_mut().write_all(answer.as_bytes()).await.unwrap();
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn late_answers_are_not_taken_for_those_of_the_next_question() {
        let (ours, theirs) = Plain::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let mut theirs = BufReader::new(UnixStream::from_std(theirs).unwrap());
        let mut control = Control::default();
        assert_eq!(control.ask().await, None, "nobody to ask");
        control.connected(ours.into()).unwrap();
        let (known, ()) = tokio::join!(control.ask(), answer(&mut theirs, 1));
        assert_eq!(known.unwrap().counters["number"], 1);
        for _ in 0..50 {
            assert_eq!(control.ask().await, None, "control is stopped");
        }
        let (known, ()) = tokio::join!(control.ask(), async {
            answer(&mut theirs, 2).await;
            answer(&mut theirs, 3).await;
        });
        assert_eq!(known.unwrap().status["number"], 3, "it was asked once while it was stopped");
        drop(theirs);
        assert_eq!(control.ask().await, None, "control is dead");
    }
}
