//! Clients of both sockets.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::protocol::{Query, Reply, refusal};
use super::seats::Seats;
use super::socket::Access;
use super::{LINE_MAX, PATIENCE};

/// Most descriptors of one answer: below the kernel's limit of 253 for one message.
pub(super) const DESCRIPTORS_MAX: usize = 250;

/// What a socket is asked: how a line becomes a request, and its outcome a line.
pub(crate) trait Request: Sized + Send + 'static {
    /// What the event loop answers.
    type Answer: Send + 'static;
    /// How long the answer may take; `None`: the event loop answers at once.
    const PATIENCE: Option<Duration>;

    /// Reads a line.
    ///
    /// # Errors
    /// A sentence for the client.
    fn parse(line: &[u8]) -> Result<Self, String>;

    /// Its name in the protocol.
    fn name(&self) -> &'static str;

    /// The line that answers a request of this name, and what travels with it.
    fn line(name: &'static str, answer: Self::Answer) -> (String, Vec<OwnedFd>);
}

/// A request on its way to the event loop, and where the answer goes.
pub(crate) type Asks<R> = mpsc::Sender<(R, oneshot::Sender<<R as Request>::Answer>)>;

/// A question on its way to the event loop, and where the answer goes.
pub(crate) type Asked = (Query, oneshot::Sender<Reply>);

/// Accepts clients for ever; each is a task that sends its requests to `asks`.
pub(crate) async fn serve<R: Request>(listener: UnixListener, access: Access, asks: Asks<R>) {
    let seats = Seats::default();
    let mut spare = spare();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(_) => {
                // Out of descriptors. The one that is kept for this tells the client, who would
                // otherwise stay in the queue and keep this loop busy.
                drop(spare.take());
                if let Ok(Ok((stream, _))) = timeout(PATIENCE / 50, listener.accept()).await {
                    refuse(&stream, "control has no file descriptor left: raise its limit, or close clients");
                }
                spare = self::spare();
                tokio::time::sleep(PATIENCE / 100).await;
                continue;
            }
        };
        let Some(uid) = access.admit(&stream) else {
            refuse(&stream, "you may not ask: become a member of the admin group");
            continue;
        };
        let Some(seat) = seats.take(uid) else {
            refuse(&stream, "too many clients: close some or try again in five seconds");
            continue;
        };
        let asks = asks.clone();
        tokio::spawn(async move {
            // What ends a client (gone, slow, too long a line) is no matter of ours.
            let _ = converse::<R>(stream, asks, Some(PATIENCE)).await;
            drop(seat);
        });
    }
}

/// Answers the observer on a connection that the keeper made. It may be silent between scrapes.
pub(crate) fn attend(socket: OwnedFd, asks: Asks<Query>) {
    let plain = std::os::unix::net::UnixStream::from(socket);
    match plain.set_nonblocking(true).and_then(|()| UnixStream::from_std(plain)) {
        Ok(stream) => drop(tokio::spawn(async move {
            // Its end is noticed by nobody here: the keeper makes another connection.
            let _ = converse::<Query>(stream, asks, None).await;
        })),
        Err(error) => tracing::warn!("the observer cannot be answered: {error}"),
    }
}

/// A descriptor to give up when there is no other.
fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Says no without waiting: a fresh socket's buffer takes a line.
fn refuse(stream: &UnixStream, sentence: &str) {
    let _ = stream.try_write(refusal(sentence).as_bytes());
}

/// Answers one client until it goes, or takes longer than `patience` over a line.
pub(super) async fn converse<R: Request>(
    mut stream: UnixStream,
    asks: Asks<R>,
    patience: Option<Duration>,
) -> io::Result<()> {
    let mut pending = Vec::new();
    loop {
        let reading = read_line(&mut stream, &mut pending);
        let line = match patience {
            None => reading.await?,
            Some(patience) => match timeout(patience, reading).await {
                Ok(line) => line?,
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            },
        };
        let Some(line) = line else { return Ok(()) };
        let (text, descriptors) = answer::<R>(&line, &asks).await;
        match timeout(PATIENCE, send(&mut stream, text.as_bytes(), &descriptors)).await {
            Ok(sent) => sent?,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

async fn answer<R: Request>(line: &[u8], asks: &Asks<R>) -> (String, Vec<OwnedFd>) {
    let refused = |sentence: &str| (refusal(sentence), Vec::new());
    let request = match R::parse(line) {
        Ok(request) => request,
        Err(sentence) => return refused(&sentence),
    };
    let name = request.name();
    let (to_us, reply) = oneshot::channel();
    if asks.send((request, to_us)).await.is_err() {
        return refused("control is stopping");
    }
    let reply = match R::PATIENCE {
        None => reply.await,
        Some(patience) => match timeout(patience, reply).await {
            Ok(reply) => reply,
            Err(_) => return refused("it is not done yet and may still be: see the relay's log"),
        },
    };
    match reply {
        Ok(reply) => R::line(name, reply),
        Err(_) => refused("control is stopping"),
    }
}

/// The next line without its end; `None` when the client has gone between lines.
async fn read_line(stream: &mut UnixStream, pending: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    let mut chunk = [0; 4096];
    let mut looked = 0;
    loop {
        let fresh = pending.get(looked..).unwrap_or(&[]);
        if let Some(end) = fresh.iter().position(|&byte| byte == b'\n') {
            let mut line: Vec<u8> = pending.drain(..=looked + end).collect();
            line.pop();
            return Ok(Some(line));
        }
        looked = pending.len();
        if looked >= LINE_MAX {
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
