//! A guest's process and its serial line: a pair of pipes that carry commands and answers.

use super::Answer;
use crate::{Deadline, LabError, run};
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

/// A running guest. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Serial {
    child: Child,
    commands: ChildStdin,
    answers: Receiver<String>,
    console: PathBuf,
    count: u32,
    kept: bool,
}

impl Serial {
    /// Starts a guest whose serial line is its standard input and output, and waits until it says that it
    /// is up. What it writes besides goes to the file `console`.
    ///
    /// # Errors
    /// It did not start, or was not up in a minute (with its console).
    pub(super) fn start(command: &mut Command, console: PathBuf) -> Result<Self, LabError> {
        let log = File::options().create(true).append(true).open(&console);
        let log = log.map_err(|error| LabError::io("making the guest's console", error))?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0)
            .spawn()
            .map_err(|error| LabError::io(format!("starting `{}`", run::line(command)), error))?;
        let (Some(commands), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(LabError::Topology("the guest has no pipes".to_owned()));
        };
        let mut guest = Self { child, commands, answers: lines(output), console, count: 0, kept: false };
        guest.answer(0, Deadline::seconds(60))?;
        Ok(guest)
    }

    /// Runs a shell line inside.
    ///
    /// # Errors
    /// The guest is gone or did not answer in time (with its console).
    pub(super) fn shell(&mut self, line: &str, deadline: Deadline) -> Result<Answer, LabError> {
        self.count += 1;
        let number = self.count;
        if writeln!(self.commands, "{number} {line}").is_err() {
            return Err(self.failed("takes no more commands"));
        }
        self.answer(number, deadline)
    }

    /// Leaves it running when the value is dropped: it goes on without its serial line.
    pub(super) fn keep(mut self) {
        self.kept = true;
    }

    fn answer(&mut self, number: u32, deadline: Deadline) -> Result<Answer, LabError> {
        let mut text = String::new();
        loop {
            match self.answers.recv_timeout(deadline.left().min(std::time::Duration::from_millis(100))) {
                Ok(line) => {
                    let Some((of, status)) = line.strip_prefix("@@ ").and_then(|rest| rest.split_once(' '))
                    else {
                        text.push_str(&line);
                        text.push('\n');
                        continue;
                    };
                    if of.parse() == Ok(number) {
                        return Ok(Answer {
                            status: status.trim().parse().unwrap_or(-1),
                            text: text.trim().to_owned(),
                        });
                    }
                    text.clear(); // of a command that was given up
                }
                Err(RecvTimeoutError::Timeout) => {
                    crate::interrupt::check()?;
                    // On a busy machine the guest can sleep through an interrupt; the next wakes it.
                    // An empty line is no command.
                    let _ = self.commands.write_all(b"\n");
                    if deadline.passed() {
                        return Err(self.failed(&format!("did not answer in {:?}", deadline.waited())));
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return Err(self.failed("has ended")),
            }
        }
    }

    fn failed(&self, what: &str) -> LabError {
        let console = std::fs::read(&self.console).unwrap_or_default();
        LabError::Guest { what: what.to_owned(), console: String::from_utf8_lossy(&console).into_owned() }
    }
}

impl Drop for Serial {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        // Its helper processes are in its group; what escapes ends with the namespace.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = run::wait(&mut self.child, &Deadline::seconds(5));
    }
}

fn lines(output: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            let text = String::from_utf8_lossy(&line);
            if sender.send(text.trim_end_matches(['\r', '\n']).to_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
    receiver
}
