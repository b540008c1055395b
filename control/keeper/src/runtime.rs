//! The runtime directory: one instance per directory, shown by a locked file; and the list of
//! children, by which the next keeper finds those of a keeper that was killed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Gid, Mode, OFlags};

/// Name of the lock file.
const LOCK: &str = "lock";
/// Name of the list of children.
const CHILDREN: &str = "children";
/// Name of the socket at which a control without a keeper waits for the next one.
pub const KEEPER_SOCKET: &str = "keeper.sock";
/// The next list, while it is written.
const CHILDREN_FRESH: &str = "children.new";

/// Stands behind the pid in the lock file when the directory was made with it: whoever stops in order
/// after a keeper that was killed takes the directory away.
const MADE: &str = " (made this directory)";

/// Why the directory cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// Another keeper holds the lock.
    #[error(
        "sixlane is already running in {path} (pid {pid}): stop it first, or give this one another directory with --runtime"
    )]
    Running {
        /// The directory.
        path: PathBuf,
        /// The other keeper's process id.
        pid: String,
    },
    /// It is somebody else's.
    #[error(
        "the runtime directory {path} belongs to uid {owner}, who could replace our sockets in it: name another with --runtime"
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Who owns it.
        owner: u32,
    },
    /// The directory or a file in it cannot be made.
    #[error("cannot use the runtime directory {path} ({cause}): name a writable one with --runtime")]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// The system's answer.
        cause: io::Error,
    },
}

/// The locked runtime directory. Dropping it frees the lock; [`RuntimeDirectory::remove`] takes the
/// files away as well.
#[derive(Debug)]
pub struct RuntimeDirectory {
    path: PathBuf,
    lock: File,
    created: bool,
}

impl RuntimeDirectory {
    /// Makes the directory if need be and locks it.
    ///
    /// # Errors
    /// [`RuntimeError`].
    pub fn open(path: &Path) -> Result<Self, RuntimeError> {
        let unusable = |cause: io::Error| RuntimeError::Unusable { path: path.to_path_buf(), cause };
        let created = match fs::DirBuilder::new().mode(0o755).create(path) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(unusable(error)),
        };
        // Whoever owns a directory may put what he likes in the place of our files.
        let owner = fs::metadata(path).map_err(unusable)?.uid();
        if owner != rustix::process::geteuid().as_raw() {
            return Err(RuntimeError::Foreign { path: path.to_path_buf(), owner });
        }
        let mut lock = loop {
            let lock = Self::lock(path)?;
            // An instance that ends removes its file: what we locked may have been that one.
            if is_named(&path.join(LOCK), &lock) {
                break lock;
            }
        };
        let mut before = String::new();
        // What is no text was not written by us.
        let _ = lock.read_to_string(&mut before);
        let created = created || before.trim_end().ends_with(MADE);
        let made = if created { MADE } else { "" };
        lock.set_len(0).map_err(unusable)?;
        lock.rewind().map_err(unusable)?;
        writeln!(lock, "{}{made}", std::process::id()).map_err(unusable)?;
        Ok(Self { path: path.to_path_buf(), lock, created })
    }

    /// Opens the lock file and locks it.
    fn lock(path: &Path) -> Result<File, RuntimeError> {
        let unusable = |cause: io::Error| RuntimeError::Unusable { path: path.to_path_buf(), cause };
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(path.join(LOCK))
            .map_err(unusable)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(lock),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                let read = lock.read_to_string(&mut pid);
                Err(RuntimeError::Running {
                    path: path.to_path_buf(),
                    pid: read.map_or_else(|_| "unknown".into(), |_| pid.trim().trim_end_matches(MADE).into()),
                })
            }
            Err(error) => Err(unusable(error.into())),
        }
    }

    /// Lets the group of control make its socket in the directory. Others may pass through; the
    /// sticky bit keeps control from removing the lock.
    ///
    /// # Errors
    /// [`RuntimeError::Unusable`].
    pub fn admit(&self, group: u32) -> Result<(), RuntimeError> {
        let unusable = |cause: io::Error| RuntimeError::Unusable { path: self.path.clone(), cause };
        // A file's owner may give it to a group of his own: so this needs CAP_SETGID, which the
        // keeper has, and not CAP_CHOWN, which it has not.
        let group = Gid::from_raw(group);
        let given = rustix::thread::set_thread_groups(&[group])
            .and_then(|()| rustix::fs::chown(&self.path, None, Some(group)))
            .and_then(|()| rustix::thread::set_thread_groups(&[]));
        given.map_err(|error| unusable(error.into()))?;
        rustix::fs::chmod(&self.path, Mode::from_raw_mode(0o1771)).map_err(|error| unusable(error.into()))
    }

    /// Where a control without a keeper waits for the next one.
    pub fn keeper_socket(&self) -> PathBuf {
        self.path.join(KEEPER_SOCKET)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes down who our children are.
    ///
    /// # Errors
    /// The file system's error.
    pub fn note_children(&self, children: &[NotedChild]) -> io::Result<()> {
        let line = |child: &NotedChild| {
            let Noted { pid, started } = child.process;
            format!("{pid} {started} {} {}\n", child.role, child.number)
        };
        let text: String = children.iter().map(line).collect();
        // A fresh file that takes the place of the old one: a keeper that is killed meanwhile leaves a
        // whole list, and a link that control has put there is replaced, never followed.
        let fresh = self.path.join(CHILDREN_FRESH);
        let _ = fs::remove_file(&fresh);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&fresh, self.path.join(CHILDREN))
    }

    /// The children that a keeper before us wrote down. A list by anybody else is not believed: its
    /// processes would be killed.
    pub fn noted_children(&self) -> Vec<NotedChild> {
        let read = || -> io::Result<String> {
            let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
            let file = OpenOptions::new().read(true).custom_flags(flags).open(self.path.join(CHILDREN))?;
            let ours = file.metadata()?.uid() == rustix::process::geteuid().as_raw();
            if ours { io::read_to_string(file) } else { Ok(String::new()) }
        };
        // No list: the keeper before us stopped in order, or there was none.
        read().unwrap_or_default().lines().filter_map(NotedChild::parse).collect()
    }

    /// Removes our files, and the directory if we made it.
    pub fn remove(self) {
        let _ = fs::remove_file(self.path.join(CHILDREN));
        let _ = fs::remove_file(self.path.join(CHILDREN_FRESH));
        let _ = fs::remove_file(self.path.join("admin.sock"));
        let _ = fs::remove_file(self.path.join("change.sock"));
        let _ = fs::remove_file(self.keeper_socket());
        let _ = fs::remove_file(self.path.join(LOCK));
        if self.created {
            let _ = fs::remove_dir(&self.path);
        }
        drop(self.lock);
    }
}

/// Whether `path` is (still) the name of the open file.
fn is_named(path: &Path, file: &File) -> bool {
    let same = |a: fs::Metadata, b: fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    fs::symlink_metadata(path).is_ok_and(|named| file.metadata().is_ok_and(|open| same(named, open)))
}

/// A process that cannot be mistaken for a later one of the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noted {
    /// Process id.
    pub pid: i32,
    /// When it started: clock ticks after boot.
    pub started: u64,
}

impl Noted {
    /// Notes a process that lives now.
    pub fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some(Self { pid, started: start_time(&stat)? })
    }

    /// Whether this very process still lives (or is a zombie).
    pub fn lives(self) -> bool {
        Self::of(self.pid) == Some(self)
    }
}

/// A child as it stands in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotedChild {
    /// The process.
    pub process: Noted,
    /// What it is: the word behind `sixlane internal`.
    pub role: String,
    /// Which start of its kind it is, from 1.
    pub number: u32,
}

impl NotedChild {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let pid = words.next()?.parse().ok().filter(|pid| *pid > 1)?;
        let process = Noted { pid, started: words.next()?.parse().ok()? };
        // A list of a build before this one ends here: its processes can be ended, not taken over.
        let role = words.next().unwrap_or_default().to_owned();
        let number = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        Some(Self { process, role, number })
    }
}

/// Field 22 of `/proc/PID/stat`; the name before it may hold anything, so count from its bracket.
fn start_time(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted() -> NotedChild {
        let process = Noted::of(std::process::id().cast_signed()).unwrap();
        NotedChild { process, role: "dataplane".into(), number: 7 }
    }

    #[test]
    fn the_second_instance_is_told_the_pid_of_the_first() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("run");
        let first = RuntimeDirectory::open(&path).unwrap();
        let error = RuntimeDirectory::open(&path).unwrap_err().to_string();
        let pid = std::process::id().to_string();
        assert!(error.contains(&format!("pid {pid}")), "{error}");
        first.remove();
        assert!(!path.exists());
    }

    #[test]
    fn a_directory_of_somebody_else_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        if std::os::unix::fs::chown(parent.path(), Some(65_534), None).is_err() {
            // Only root can give a directory away; as another user the root of the tree is foreign.
            assert!(RuntimeDirectory::open(Path::new("/")).is_err());
            return;
        }
        let error = RuntimeDirectory::open(parent.path()).unwrap_err().to_string();
        assert!(error.contains("belongs to uid 65534") && error.contains("--runtime"), "{error}");
        assert!(!parent.path().join(LOCK).exists(), "nothing was made in it");
    }

    #[test]
    fn a_stale_lock_does_not_stop_the_next_start() {
        let parent = tempfile::tempdir().unwrap();
        fs::write(parent.path().join(LOCK), "4194305\nlong old text").unwrap();
        let held = RuntimeDirectory::open(parent.path()).unwrap();
        let text = fs::read_to_string(parent.path().join(LOCK)).unwrap();
        assert_eq!(text, format!("{}\n", std::process::id()));
        held.remove();
        assert!(parent.path().exists(), "the directory was not ours to remove");
    }

    #[test]
    fn a_directory_that_a_killed_keeper_had_made_is_removed_by_the_next() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("run");
        drop(RuntimeDirectory::open(&path).unwrap());
        assert!(path.join(LOCK).exists(), "as if it had been killed");
        RuntimeDirectory::open(&path).unwrap().remove();
        assert!(!path.exists());
    }

    #[test]
    fn a_missing_parent_is_a_sentence() {
        let error = RuntimeDirectory::open(Path::new("/nonexistent/a/b")).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/a/b"));
        assert!(error.to_string().contains("--runtime"));
    }

    #[test]
    fn a_link_in_place_of_the_lock_is_not_followed() {
        let parent = tempfile::tempdir().unwrap();
        let target = parent.path().join("precious");
        fs::write(&target, "keep me").unwrap();
        std::os::unix::fs::symlink(&target, parent.path().join(LOCK)).unwrap();
        RuntimeDirectory::open(parent.path()).unwrap_err();
        assert_eq!(fs::read_to_string(&target).unwrap(), "keep me");
    }

    #[test]
    fn a_lock_whose_name_was_taken_away_is_none() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join(LOCK);
        let file = File::create(&path).unwrap();
        assert!(is_named(&path, &file));
        fs::remove_file(&path).unwrap();
        assert!(!is_named(&path, &file));
        File::create(&path).unwrap();
        assert!(!is_named(&path, &file), "another file of the same name");
    }

    #[test]
    fn a_link_in_place_of_the_list_is_neither_read_nor_written_through() {
        let parent = tempfile::tempdir().unwrap();
        let held = RuntimeDirectory::open(parent.path()).unwrap();
        let target = parent.path().join("precious");
        for link in [CHILDREN, CHILDREN_FRESH] {
            fs::write(&target, "5 6\n").unwrap();
            std::os::unix::fs::symlink(&target, parent.path().join(link)).unwrap();
            assert_eq!(held.noted_children(), []);
            let own = noted();
            held.note_children(std::slice::from_ref(&own)).unwrap();
            assert_eq!(held.noted_children(), [own]);
            assert_eq!(fs::read_to_string(&target).unwrap(), "5 6\n");
            fs::remove_file(parent.path().join(CHILDREN)).unwrap();
        }
    }

    #[test]
    fn children_are_noted_by_pid_and_start() {
        let parent = tempfile::tempdir().unwrap();
        let held = RuntimeDirectory::open(parent.path()).unwrap();
        assert_eq!(held.noted_children(), []);
        let child = noted();
        held.note_children(std::slice::from_ref(&child)).unwrap();
        assert_eq!(held.noted_children(), std::slice::from_ref(&child));
        let own = child.process;
        assert!(own.lives());
        let other = Noted { started: own.started + 1, ..own };
        assert!(!other.lives());
    }

    #[test]
    fn garbage_in_the_list_is_skipped() {
        for line in ["", "x 1", "1 5", "-4 5", "12", "12 x"] {
            assert_eq!(NotedChild::parse(line), None, "{line}");
        }
        let old = NotedChild::parse("12 34").unwrap();
        assert_eq!((old.process, old.role.as_str(), old.number), (Noted { pid: 12, started: 34 }, "", 0));
        let name = "7 (a b) c) R 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 99 20";
        assert_eq!(start_time(name), Some(99));
    }
}
