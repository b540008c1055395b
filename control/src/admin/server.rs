//! Sockets and clients.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rustix::net::sockopt::socket_peercred;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::protocol::{Query, Reply, refusal};
use super::{CLIENTS_MAX, LINE_MAX, PATIENCE};

/// Most descriptors of one answer: below the kernel's limit of 253 for one message.
const DESCRIPTORS_MAX: usize = 250;

/// A question on its way to the event loop, and where the answer goes.
pub(crate) type Asked = (Query, oneshot::Sender<Reply>);

/// Opens the socket, readable and writable for the owner and for `group`.
///
/// # Errors
/// A sentence with cause and remedy.
pub(crate) fn listen(path: &Path, group: Option<u32>) -> Result<UnixListener, String> {
    let explain = |error: io::Error| {
        format!("cannot open the admin socket {}: {error}; check who owns the directory", path.display())
    };
    // The keeper's lock makes this the only instance: what lies here is left from a dead one.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(explain(error)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(explain)?;
    if let Some(group) = group {
        std::os::unix::fs::chown(path, None, Some(group)).map_err(|error| {
            format!(
                "cannot give the admin socket {} to group {group}: {error}; make control's user a member of it",
                path.display()
            )
        })?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(explain)?;
    Ok(listener)
}

/// Accepts clients for ever; each is a task that sends its questions to `asks`.
pub(crate) async fn serve(listener: UnixListener, group: Option<u32>, asks: mpsc::Sender<Asked>) {
    let seats = Arc::new(Semaphore::new(CLIENTS_MAX));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors: the clients that are there will go.
            tokio::time::sleep(PATIENCE / 50).await;
            continue;
        };
        let Ok(seat) = Arc::clone(&seats).try_acquire_owned() else {
            refuse(&stream, "too many clients: close some or try again in five seconds");
            continue;
        };
        if !may_ask(&stream, group) {
            refuse(&stream, "you may not ask: become a member of the admin group");
            continue;
        }
        let asks = asks.clone();
        tokio::spawn(async move {
            // What ends a client (gone, slow, too long a line) is no matter of ours.
            let _ = converse(stream, asks).await;
            drop(seat);
        });
    }
}

/// Says no without waiting: a fresh socket's buffer takes a line.
fn refuse(stream: &UnixStream, sentence: &str) {
    let _ = stream.try_write(refusal(sentence).as_bytes());
}

/// The file's mode has let the peer in; its credentials must say the same (root, our own user, or the
/// group).
fn may_ask(stream: &UnixStream, group: Option<u32>) -> bool {
    let Ok(peer) = socket_peercred(stream.as_fd()) else { return false };
    let own = rustix::process::geteuid();
    if peer.uid.is_root() || peer.uid == own {
        return true;
    }
    let Some(group) = group else { return false };
    peer.gid.as_raw() == group || has_group(peer.pid.as_raw_nonzero().get(), group)
}

/// Whether a process has a supplementary group.
fn has_group(pid: i32, group: u32) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else { return false };
    status
        .lines()
        .find_map(|line| line.strip_prefix("Groups:"))
        .is_some_and(|groups| groups.split_whitespace().any(|word| word.parse() == Ok(group)))
}

/// Answers one client until it goes.
pub(super) async fn converse(mut stream: UnixStream, asks: mpsc::Sender<Asked>) -> io::Result<()> {
    let mut pending = Vec::new();
    loop {
        let line = match timeout(PATIENCE, read_line(&mut stream, &mut pending)).await {
            Ok(line) => line?,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        };
        let Some(line) = line else { return Ok(()) };
        let (text, descriptors) = answer(&line, &asks).await;
        match timeout(PATIENCE, send(&mut stream, text.as_bytes(), &descriptors)).await {
            Ok(sent) => sent?,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

async fn answer(line: &[u8], asks: &mpsc::Sender<Asked>) -> (String, Vec<OwnedFd>) {
    let query = match Query::parse(line) {
        Ok(query) => query,
        Err(sentence) => return (refusal(&sentence), Vec::new()),
    };
    let (to_us, reply) = oneshot::channel();
    if asks.send((query, to_us)).await.is_err() {
        return (refusal("control is stopping"), Vec::new());
    }
    match reply.await {
        Ok(reply) => (query.line(reply.body), reply.descriptors),
        Err(_) => (refusal("control is stopping"), Vec::new()),
    }
}

/// The next line without its end; `None` when the client has gone between lines.
async fn read_line(stream: &mut UnixStream, pending: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    let mut chunk = [0; 4096];
    loop {
        if let Some(end) = pending.iter().position(|&byte| byte == b'\n') {
            let mut line: Vec<u8> = pending.drain(..=end).collect();
            line.pop();
            return Ok(Some(line));
        }
        if pending.len() >= LINE_MAX {
            let _ = stream.try_write(refusal("a request has at most 64 KiB").as_bytes());
            return Err(io::ErrorKind::InvalidData.into());
        }
        let length = stream.read(&mut chunk).await?;
        let Some(read) = chunk.get(..length).filter(|read| !read.is_empty()) else { return Ok(None) };
        pending.extend_from_slice(read);
    }
}

/// Sends a line; the descriptors travel with its first byte.
async fn send(stream: &mut UnixStream, line: &[u8], descriptors: &[OwnedFd]) -> io::Result<()> {
    if descriptors.is_empty() {
        return stream.write_all(line).await;
    }
    let fds: Vec<BorrowedFd<'_>> = descriptors.iter().take(DESCRIPTORS_MAX).map(AsFd::as_fd).collect();
    let sent = loop {
        stream.writable().await?;
        match stream.try_io(Interest::WRITABLE, || send_with_descriptors(stream.as_fd(), line, &fds)) {
            Ok(sent) => break sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    };
    stream.write_all(line.get(sent..).unwrap_or(&[])).await
}

fn send_with_descriptors(socket: BorrowedFd<'_>, line: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = vec![std::mem::MaybeUninit::uninit(); SendAncillaryMessage::ScmRights(fds).size()];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(sendmsg(socket, &[IoSlice::new(line)], &mut control, SendFlags::NOSIGNAL)?)
}
