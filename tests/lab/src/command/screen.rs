//! What the demonstration looks like: lines that stay, and below them a picture that lives.
//!
//! On a terminal the picture is redrawn in place; in a pipe it is printed once and the rest is
//! calm lines. `NO_COLOR` (no-color.org) is respected.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

/// Columns of the picture: a narrower terminal gets lines only.
const WIDTH: usize = 78;

/// What stands in the picture.
#[derive(Debug, Clone, Default)]
pub(super) struct Picture {
    /// Packets a second from the native host to the relay.
    pub(super) native_out: u64,
    /// Packets a second from the relay to the native host.
    pub(super) native_in: u64,
    /// Packets a second from the relay into the IPv4 network.
    pub(super) tunnel_out: u64,
    /// Packets a second from the IPv4 network to the relay.
    pub(super) tunnel_in: u64,
    /// One or two words about the relay's control process.
    pub(super) control: String,
    /// One or two words about the relay's data plane.
    pub(super) data_plane: String,
    /// What the far end is.
    pub(super) far_end: String,
}

/// The standard output of the demonstration.
#[derive(Debug)]
pub(super) struct Screen {
    live: bool,
    colour: bool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    picture: Option<Picture>,
    drawn_lines: usize,
}

/// Which colour a piece of text has.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ink {
    /// A heading.
    Bold,
    /// A success.
    Green,
    /// A process that was killed.
    Red,
    /// An aside.
    Dim,
}

impl Screen {
    /// Standard output; `plain` forces lines also on a terminal.
    pub(super) fn new(plain: bool) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let wide = rustix::termios::tcgetwinsize(std::io::stdout())
            .is_ok_and(|size| usize::from(size.ws_col) >= WIDTH);
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            live: terminal && wide && !plain && !dumb,
            colour: terminal && !dumb && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            inner: Mutex::default(),
        }
    }

    /// Text in a colour, where colours are welcome.
    pub(super) fn ink(&self, ink: Ink, text: &str) -> String {
        let code = match ink {
            Ink::Bold => 1,
            Ink::Green => 32,
            Ink::Red => 31,
            Ink::Dim => 2,
        };
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// The heading of a step.
    pub(super) fn step(&self, text: &str) {
        self.say(&format!("\n{}", self.ink(Ink::Bold, text)));
    }

    /// A line that stays (or several).
    pub(super) fn say(&self, text: &str) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = String::new();
        inner.erase(&mut out);
        out.push_str(text);
        out.push('\n');
        if self.live {
            inner.draw(&mut out, true);
        }
        put(&out);
    }

    /// Changes the picture; on a terminal it is redrawn, else only the first is printed.
    pub(super) fn update(&self, change: impl FnOnce(&mut Picture)) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let first = inner.picture.is_none();
        change(inner.picture.get_or_insert_default());
        let mut out = String::new();
        if self.live {
            inner.erase(&mut out);
            inner.draw(&mut out, true);
        } else if first {
            inner.draw(&mut out, false);
            inner.drawn_lines = 0;
        }
        put(&out);
    }

    /// Leaves the picture as it is and goes on below it.
    pub(super) fn freeze(&self) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.drawn_lines = 0;
        inner.picture = None;
    }
}

impl Inner {
    fn erase(&mut self, out: &mut String) {
        if self.drawn_lines > 0 {
            out.push_str(&format!("\x1b[{}A\x1b[J", self.drawn_lines));
            self.drawn_lines = 0;
        }
    }

    fn draw(&mut self, out: &mut String, rates: bool) {
        if let Some(picture) = &self.picture {
            let text = picture.render(rates);
            self.drawn_lines = text.lines().count();
            out.push_str(&text);
        }
    }
}

impl Picture {
    /// The lab, at most [`WIDTH`] columns wide. Without rates where it is drawn only once.
    fn render(&self, rates: bool) -> String {
        let rate = |value: u64| {
            let text = if rates { format!("{value} pps") } else { String::new() };
            format!("{text:^11}")
        };
        let (no, ni) = (rate(self.native_out), rate(self.native_in));
        let (to, ti) = (rate(self.tunnel_out), rate(self.tunnel_in));
        let (control, data, far) = (&self.control, &self.data_plane, &self.far_end);
        format!(
            "\n\
             \x20native IPv6              the relay               IPv4 only  6to4 site\n\
             ┌───────────┐{no}┌─────────────────┐{to}┌───┐ ┌────────────────┐\n\
             │host6      │ ────────► │wan6         wan4│ ────────► │isp├─┤{far:<16}│\n\
             │2001:600::1│{ni}│control {control:<9}│{ti}│   │ │192.1.2.3       │\n\
             └───────────┘ ◄──────── │data    {data:<9}│ ◄──────── └───┘ │2002:c001:203::1│\n\
             {:24}└─────────────────┘{:17}└────────────────┘\n",
            "", ""
        )
    }
}

/// A reader that went away (`| head`) is no failure.
fn put(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::{Picture, WIDTH};

    #[test]
    fn the_picture_is_straight() {
        let picture = Picture {
            native_out: 12_345,
            control: "pid 4711".to_owned(),
            far_end: "Linux sit".to_owned(),
            ..Picture::default()
        };
        let text = picture.render(true);
        let right_edges: Vec<usize> = text
            .lines()
            .filter(|line| line.ends_with(['┐', '│', '┘']))
            .map(|line| line.chars().count())
            .collect();
        assert_eq!(right_edges, [WIDTH; 5], "{text}");
        let still = picture.render(false);
        assert!(!still.contains("pps") && still.lines().count() == text.lines().count(), "{still}");
    }
}
