//! The socket in the file system, and who may speak to it.

use std::io;
use std::path::Path;

use rustix::fs::{AtFlags, Gid, Mode};
use tokio::net::{UnixListener, UnixStream};

/// Opens a socket, readable and writable for the owner and for `group`.
///
/// # Errors
/// A sentence with cause and remedy.
pub(crate) fn listen(path: &Path, group: Option<u32>) -> Result<UnixListener, String> {
    let explain = |error: io::Error| {
        format!("cannot open the admin socket {}: {error}; check who owns the directory", path.display())
    };
    // The keeper's lock makes this the only instance: what lies here is left from a dead one. A link is
    // removed, never followed.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(explain(error)),
        _ => {}
    }
    // The socket is never wider than it should be, not even between two calls. Control has one thread.
    let before = rustix::process::umask(Mode::from_raw_mode(0o117));
    let bound = UnixListener::bind(path);
    rustix::process::umask(before);
    let listener = bound.map_err(explain)?;
    if let Some(group) = group {
        let group = Gid::from_raw(group);
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(rustix::fs::CWD, path, None, Some(group), flags).map_err(|error| {
            format!(
                "cannot give the admin socket {} to group {}: {error}; make control's user a member of it",
                path.display(),
                group.as_raw()
            )
        })?;
    }
    Ok(listener)
}

/// Who may speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Access {
    /// Members of this group, if there is such a group. Root always.
    pub(crate) group: Option<u32>,
    /// Control's own user.
    pub(crate) own: bool,
}

impl Access {
    /// The user of a peer that may speak. The file's mode has let it in; its credentials must say the
    /// same.
    pub(super) fn admit(self, stream: &UnixStream) -> Option<u32> {
        let peer = stream.peer_cred().ok()?;
        let (uid, gid) = (peer.uid(), peer.gid());
        let own = self.own && uid == rustix::process::geteuid().as_raw();
        let member = |group| gid == group || peer.pid().is_some_and(|pid| has_group(pid, group));
        (uid == 0 || own || self.group.is_some_and(member)).then_some(uid)
    }
}

/// Whether a process has a supplementary group. One of another pid namespace has the number 0, and is judged
/// by its user and its first group alone.
fn has_group(pid: i32, group: u32) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else { return false };
    status
        .lines()
        .find_map(|line| line.strip_prefix("Groups:"))
        .is_some_and(|groups| groups.split_whitespace().any(|word| word.parse() == Ok(group)))
}
