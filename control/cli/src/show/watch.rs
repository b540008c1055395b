//! `--watch`: the same question again and again. On a terminal the answer is redrawn in place, in a
//! pipe it is a block each time, with `--json` a line. Ctrl-C is the ordinary end.

use std::io::{self, ErrorKind, IsTerminal, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};

use super::people::Since;
use crate::failure::Failure;

/// How long a relay that has answered may be silent: longer than a restart takes.
const PATIENCE: Duration = Duration::from_secs(10);
/// Other screen, no cursor, long lines are cut.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
/// All that back.
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
/// Rows of a terminal that does not say.
const ROWS: u16 = 24;

/// Reads an interval.
///
/// # Errors
/// A sentence for the command line.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: Option<f64> = text.parse().ok();
    match seconds.filter(|seconds| (0.1..=3600.0).contains(seconds)) {
        Some(seconds) => Ok(Duration::from_secs_f64(seconds)),
        None => Err("an interval is 0.1 to 3600 seconds".to_owned()),
    }
}

/// Asks every `interval` until Ctrl-C, TERM, HUP or a reader that has gone.
///
/// # Errors
/// The first question failed, or all of the last ten seconds, or the output cannot be written.
pub(super) fn run(
    interval: Duration,
    json: bool,
    title: &str,
    look: impl Fn() -> Result<Value, Failure>,
    text: impl Fn(&Value, Option<Since<'_>>) -> String,
) -> Result<(), Failure> {
    let mut signals = Signals::new().map_err(|error| {
        Failure::failed(format!("cannot watch for Ctrl-C ({error}): raise the limit of open files"))
    })?;
    // Nothing has been drawn yet: a relay that is not there is an ordinary failure.
    let mut answer = Ok(look()?);
    let mut output = Output::new(json, title)?;
    let mut before: Option<(Value, Instant)> = None;
    let mut heard = Instant::now();
    loop {
        let now = Instant::now();
        match answer {
            Ok(value) => {
                let since =
                    before.as_ref().map(|(before, at)| Since { before, seconds: (now - *at).as_secs_f64() });
                let shown = if json { value.to_string() } else { text(&value, since) };
                if !output.show(&shown)? {
                    return Ok(());
                }
                (before, heard) = (Some((value, now)), now);
            }
            Err(failure) if heard.elapsed() > PATIENCE => return Err(failure),
            Err(failure) => output.silent(failure)?,
        }
        let due = now + interval;
        while let Some(told) = signals.wait(due) {
            match told {
                Told::End => return Ok(()),
                Told::Redraw => drop(output.redraw()?),
            }
        }
        answer = look();
    }
}

/// Where the answers go.
enum Output<'a> {
    /// In place; with the last text.
    Terminal(&'a str, String),
    /// One after the other, divided by an empty line.
    Blocks,
    /// One line each.
    Lines,
}

impl<'a> Output<'a> {
    fn new(json: bool, title: &'a str) -> Result<Self, Failure> {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if json {
            return Ok(Self::Lines);
        }
        if !io::stdout().is_terminal() || dumb {
            return Ok(Self::Blocks);
        }
        put(ENTER)?;
        Ok(Self::Terminal(title, String::new()))
    }

    /// Shows an answer; whether anybody reads.
    fn show(&mut self, text: &str) -> Result<bool, Failure> {
        match self {
            Self::Lines => put(&format!("{text}\n")),
            Self::Blocks => put(&format!("{text}\n")),
            Self::Terminal(title, last) => {
                *last = format!("{title} (Ctrl-C ends)\n\n{text}");
                put(&frame(last, rows()))
            }
        }
    }

    fn redraw(&self) -> Result<bool, Failure> {
        match self {
            Self::Terminal(_, last) => put(&frame(last, rows())),
            Self::Blocks | Self::Lines => Ok(true),
        }
    }

    /// The relay did not answer this time.
    fn silent(&mut self, failure: Failure) -> Result<(), Failure> {
        match self {
            Self::Terminal(..) => drop(self.show(failure.text())?),
            Self::Blocks | Self::Lines => drop(failure.report()),
        }
        Ok(())
    }
}

impl Drop for Output<'_> {
    fn drop(&mut self) {
        if let Self::Terminal(..) = self {
            // There is nobody to tell when the terminal has gone.
            let _ = put(LEAVE);
        }
    }
}

/// One picture: from the upper left corner, each line to its end, then nothing below. What stood there is
/// never cleared first, so that nothing flickers.
fn frame(text: &str, rows: u16) -> String {
    let mut out = String::from("\x1b[H");
    for (at, line) in text.lines().take(rows.into()).enumerate() {
        if at > 0 {
            out.push_str("\r\n");
        }
        out.push_str(line);
        out.push_str("\x1b[K");
    }
    out.push_str("\x1b[J");
    out
}

fn rows() -> u16 {
    rustix::termios::tcgetwinsize(io::stdout())
        .map_or(ROWS, |size| if size.ws_row == 0 { ROWS } else { size.ws_row })
}

/// Writes at once; whether anybody reads.
fn put(text: &str) -> Result<bool, Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::failed(format!(
            "cannot write the output ({error}): free space or choose another file"
        ))),
    }
}

/// What a signal says.
enum Told {
    End,
    Redraw,
}

/// Signals as bytes in a pipe, so that waiting for them and for time is one wait.
struct Signals {
    pipe: UnixStream,
    end: Arc<AtomicBool>,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let (pipe, theirs) = UnixStream::pair()?;
        pipe.set_nonblocking(true)?;
        let end = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&end))?;
            signal_hook::low_level::pipe::register(signal, theirs.try_clone()?)?;
        }
        signal_hook::low_level::pipe::register(SIGWINCH, theirs)?;
        Ok(Self { pipe, end })
    }

    /// Waits for a signal; `None` when it is `due`.
    fn wait(&mut self, due: Instant) -> Option<Told> {
        let left = due.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).unwrap_or_default();
        let mut fds = [PollFd::new(&self.pipe, PollFlags::IN)];
        // A signal may interrupt the wait; its byte is there then.
        let ready = poll(&mut fds, Some(&timeout));
        let told = !matches!(ready, Ok(0));
        let _ = self.pipe.read(&mut [0; 64]);
        if self.end.load(Ordering::Acquire) {
            return Some(Told::End);
        }
        told.then_some(Told::Redraw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_drawn_over_the_last_one_and_not_below_the_screen() {
        assert_eq!(frame("a\nbc\n", 9), "\x1b[Ha\x1b[K\r\nbc\x1b[K\x1b[J");
        assert_eq!(frame("a\nbc\nd\n", 2), "\x1b[Ha\x1b[K\r\nbc\x1b[K\x1b[J");
    }

    #[test]
    fn intervals_are_bounded() {
        assert_eq!(seconds("1"), Ok(Duration::from_secs(1)));
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        for wrong in ["0", "-1", "3601", "inf", "NaN", "fast", ""] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
