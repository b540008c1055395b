//! Reading the configuration again. The keeper parses nothing: it looks whether the file may be a
//! configuration at all, and hands control its bytes.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::rc::Rc;

use crate::held::sealed;
use crate::protocol::{Message, Ready, Segment, Text};
use crate::store::Parcel;

/// The largest file that is read: 64 MiB, as for the start.
const BYTES_MAX: u64 = 64 << 20;
/// Texts that may wait for a control that does not judge them: each is memory and a descriptor.
const CANDIDATES_MAX: usize = 4;

/// Texts that control has not judged yet, and the last refusal.
#[derive(Debug, Default)]
pub(crate) struct Reloads {
    last: u32,
    candidates: VecDeque<(u32, Rc<OwnedFd>)>,
    /// A signal came while control could not hear of it.
    wanted: bool,
    /// Why the last text was refused, if none was accepted since.
    refusal: Option<String>,
}

impl Reloads {
    /// A reload by a signal waits until control is at work.
    pub(crate) fn wait(&mut self) {
        self.wanted = true;
    }

    /// Whether control has a text to judge. A signal that comes meanwhile waits: however many come, the file
    /// is read once more, after the last of them.
    pub(crate) fn judging(&self) -> bool {
        !self.candidates.is_empty()
    }

    /// Whether one was waiting; it waits no longer.
    pub(crate) fn take_wanted(&mut self) -> bool {
        std::mem::take(&mut self.wanted)
    }

    /// Reads the file for an order (0: a signal); what control has to hear.
    pub(crate) fn read(&mut self, path: &Path, order: u64) -> Parcel {
        let read = if self.candidates.len() < CANDIDATES_MAX {
            text(path)
        } else {
            Err(format!("{CANDIDATES_MAX} earlier reloads are not done yet: try again when they are"))
        };
        match read {
            Ok(text) => {
                self.last = self.last.wrapping_add(1);
                let text = Rc::new(text);
                self.candidates.push_back((self.last, Rc::clone(&text)));
                let segment =
                    Segment { set: order, index: self.last, ..Segment::new(Segment::CONFIGURATION) };
                (Message::Segment(segment), vec![text])
            }
            Err(sentence) => {
                self.refusal = Some(sentence.clone());
                let text = Text::new(&sentence);
                (Message::Ready(Ready { set: order, text, ..Ready::new(Ready::UNREADABLE) }), Vec::new())
            }
        }
    }

    /// Control has put a text in force: it is what the next control gets.
    pub(crate) fn accepted(&mut self, number: u32) -> Option<Rc<OwnedFd>> {
        self.refusal = None;
        self.judged(number)
    }

    /// Control has refused a text.
    pub(crate) fn refused(&mut self, number: u32, sentence: String) {
        self.refusal = Some(sentence);
        self.judged(number);
    }

    fn judged(&mut self, number: u32) -> Option<Rc<OwnedFd>> {
        let at = self.candidates.iter().position(|(candidate, _)| *candidate == number)?;
        self.candidates.remove(at).map(|(_, text)| text)
    }

    /// Control has died. Says whether it had a text to judge.
    pub(crate) fn abandon(&mut self) -> bool {
        let any = !self.candidates.is_empty();
        self.candidates.clear();
        any
    }

    /// What a new control has to hear: the last text was refused.
    pub(crate) fn refusal(&self) -> Option<Message> {
        let text = Text::new(self.refusal.as_ref()?);
        Some(Message::Ready(Ready { text, ..Ready::new(Ready::RELOAD_REFUSED) }))
    }
}

/// The bytes of the file in memory that nobody can change. Everything is judged on the open descriptor.
fn text(path: &Path) -> Result<OwnedFd, String> {
    let name = path.display();
    let unreadable = |error: io::Error| {
        let remedy = if error.kind() == io::ErrorKind::PermissionDenied {
            "it must belong to root, because the running keeper has no right to the files of others"
        } else {
            "check that it is there"
        };
        format!("cannot read {name}: {error}: {remedy}")
    };
    // A pipe of that name must not block.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(unreadable)?;
    let meta = file.metadata().map_err(unreadable)?;
    if !meta.is_file() {
        return Err(format!("{name} is not a regular file: name a TOML file"));
    }
    if meta.mode() & 0o002 != 0 {
        return Err(format!("{name} can be written by any user: chmod o-w {name}"));
    }
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(format!("{name} is larger than 64 MiB: that is not a configuration of sixlane"));
    }
    sealed(&bytes).map_err(|error| format!("{name} cannot be copied: {error}: free memory or descriptors"))
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::*;

    fn content(fd: &OwnedFd) -> String {
        let mut text = String::new();
        let mut file = File::from(fd.try_clone().unwrap());
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn what_was_read_is_kept_when_it_is_accepted_and_cannot_be_changed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.toml");
        let mut reloads = Reloads::default();
        std::fs::write(&path, "one").unwrap();
        let (Message::Segment(first), fds) = reloads.read(&path, 7) else { panic!("a text") };
        assert_eq!((first.what, first.set, first.index), (Segment::CONFIGURATION, 7, 1));
        std::fs::write(&path, "two").unwrap();
        assert_eq!(content(&fds[0]), "one");
        File::from(fds[0].try_clone().unwrap()).write_all(b"x").unwrap_err();
        let (Message::Segment(second), _) = reloads.read(&path, 0) else { panic!("a text") };
        reloads.refused(second.index, "no".into());
        assert!(reloads.refusal().is_some());
        assert_eq!(content(&reloads.accepted(first.index).unwrap()), "one");
        assert!(reloads.refusal().is_none());
        assert!(reloads.accepted(second.index).is_none() && !reloads.abandon(), "each is judged once");
    }

    #[test]
    fn a_control_that_judges_nothing_does_not_fill_the_keeper() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.toml");
        std::fs::write(&path, "one").unwrap();
        let mut reloads = Reloads::default();
        for order in 1..=4 {
            let (Message::Segment(_), _) = reloads.read(&path, order) else { panic!("a text") };
        }
        let (Message::Ready(ready), _) = reloads.read(&path, 5) else { panic!("a sentence") };
        assert!(ready.what == Ready::UNREADABLE && ready.text.get().contains("not done yet"));
        assert!(reloads.judging() && reloads.abandon() && !reloads.judging());
        let (Message::Segment(_), _) = reloads.read(&path, 6) else { panic!("a text") };
    }

    #[test]
    fn what_is_no_file_of_ours_is_a_sentence() {
        let directory = tempfile::tempdir().unwrap();
        let open = directory.path().join("open.toml");
        std::fs::write(&open, "").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        std::fs::set_permissions(&open, mode).unwrap();
        for (path, word) in [
            (directory.path().to_path_buf(), "not a regular file"),
            (directory.path().join("missing"), "check that it is there"),
            (open, "chmod o-w"),
        ] {
            let mut reloads = Reloads::default();
            let (Message::Ready(ready), _) = reloads.read(&path, 3) else { panic!("a sentence") };
            assert_eq!((ready.what, ready.set), (Ready::UNREADABLE, 3));
            assert!(ready.text.get().contains(word), "{}", ready.text.get());
            assert!(reloads.refusal().is_some() && !reloads.abandon());
        }
    }
}
