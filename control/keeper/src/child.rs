//! A child: the same binary executed again, with its channel, its pidfd and what waits to be sent.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitOptions};
use tokio::io::unix::AsyncFd;

use crate::channel::{CHILD_DESCRIPTOR, Channel, watch, watch_channel};
use crate::protocol::Message;
use crate::runtime::Noted;

/// Which child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Policy and protocol.
    Control,
    /// The poll loops.
    DataPlane,
    /// Metrics.
    Observer,
}

impl Role {
    /// The word behind `sixlane internal`, also for messages.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::DataPlane => "dataplane",
            Self::Observer => "observer",
        }
    }
}

/// What a child did.
#[derive(Debug)]
pub(crate) enum ChildEvent {
    /// It sent a message.
    Message(Box<Message>, Vec<OwnedFd>),
    /// It is dead and reaped; how, in words.
    Ended(String),
}

/// A message on its way out; descriptors are shared, not duplicated.
type Outgoing = (Message, Vec<Rc<OwnedFd>>);

/// A running child.
#[derive(Debug)]
pub(crate) struct Child {
    role: Role,
    pid: Pid,
    /// Readable when the process has ended.
    pidfd: AsyncFd<OwnedFd>,
    channel: AsyncFd<Channel>,
    outbox: VecDeque<Outgoing>,
    /// The channel gave its last message.
    closed: bool,
    /// How it ended, when somebody else reaped it.
    reaped: Option<String>,
    started: Instant,
    /// It was started by a keeper before this one, so that its end is told to somebody else.
    adopted: bool,
    /// It and no later process of the same number; `None` where there is no /proc.
    noted: Option<Noted>,
    /// A second hold of our end of the channel, for a successor.
    end: Rc<OwnedFd>,
}

impl Child {
    /// Executes this binary again as `sixlane internal ROLE ARGUMENTS`.
    ///
    /// # Errors
    /// The system's error: too many processes or open files, or the binary is not readable.
    pub(crate) fn start(role: Role, arguments: &[OsString]) -> io::Result<Self> {
        let (channel, theirs) = Channel::pair()?;
        let mapping = FdMapping { parent_fd: theirs, child_fd: CHILD_DESCRIPTOR };
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("sixlane")
            .args(["internal", role.word()])
            .args(arguments)
            .stdin(Stdio::null())
            // Ctrl-C in a terminal is for the keeper alone, which then stops its children in order.
            .process_group(0)
            .fd_mappings(vec![mapping])
            .map_err(io::Error::other)?;
        let process = command.spawn()?;
        let pid = Pid::from_child(&process);
        // The child is ours and not reaped yet, so the number is still its own.
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
        let noted = Noted::of(pid.as_raw_nonzero().get());
        Self::watched(role, pid, noted, pidfd, channel)
    }

    /// Takes over a process that a keeper before this one started, by a hold of it and our end of its
    /// channel.
    ///
    /// # Errors
    /// Too many open files.
    pub(crate) fn adopt(role: Role, noted: Noted, pidfd: OwnedFd, channel: Channel) -> io::Result<Self> {
        let pid = Pid::from_raw(noted.pid).ok_or(io::ErrorKind::InvalidInput)?;
        rustix::io::ioctl_fionbio(&channel, true)?;
        Ok(Self { adopted: true, ..Self::watched(role, pid, Some(noted), pidfd, channel)? })
    }

    fn watched(
        role: Role,
        pid: Pid,
        noted: Option<Noted>,
        pidfd: OwnedFd,
        channel: Channel,
    ) -> io::Result<Self> {
        Ok(Self {
            role,
            pid,
            pidfd: watch(pidfd)?,
            end: Rc::new(channel.as_fd().try_clone_to_owned()?),
            channel: watch_channel(channel)?,
            outbox: VecDeque::new(),
            closed: false,
            reaped: None,
            started: Instant::now(),
            adopted: false,
            noted,
        })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// It and no later process of the same number.
    pub(crate) fn noted(&self) -> Option<Noted> {
        self.noted
    }

    /// Whether a keeper before this one started it: how it ends is then not told to this process.
    pub(crate) fn adopted(&self) -> bool {
        self.adopted
    }

    /// Our end of its channel.
    pub(crate) fn end(&self) -> Rc<OwnedFd> {
        Rc::clone(&self.end)
    }

    /// How long it has been living.
    pub(crate) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Puts a message behind those that wait; [`Child::next`] sends them.
    pub(crate) fn send(&mut self, message: Message, descriptors: Vec<Rc<OwnedFd>>) {
        self.outbox.push_back((message, descriptors));
    }

    /// Whether it has ended, though its end has not been told yet ([`Child::next`]). Of an adopted child,
    /// which only its parent can ask about, that is not known.
    pub(crate) fn has_ended(&self) -> bool {
        let id = WaitId::PidFd(self.pidfd.as_fd());
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        self.reaped.is_some() || matches!(rustix::process::waitid(id, look), Ok(Some(_)))
    }

    /// Sends a signal; a process that has ended is no error.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Err(error) = rustix::process::pidfd_send_signal(self.pidfd.get_ref(), signal) {
            tracing::debug!("{} did not take the signal: {error}", self.role.word());
        }
    }

    /// Waits for the next event, sending what waits in between. Cancelling loses nothing.
    ///
    /// Messages that a dead child left behind come before its end.
    pub(crate) async fn next(&mut self) -> ChildEvent {
        loop {
            tokio::select! {
                biased;
                ready = self.channel.readable(), if !self.closed => {
                    let outcome = match ready {
                        Ok(mut guard) => guard.try_io(|channel| channel.get_ref().receive()),
                        Err(error) => Ok(Err(error)),
                    };
                    match outcome {
                        Ok(Ok((message, descriptors))) => {
                            return ChildEvent::Message(Box::new(message), descriptors);
                        }
                        Ok(Err(error)) => self.broken(&error),
                        Err(_would_block) => {}
                    }
                }
                ready = self.channel.writable(), if !self.outbox.is_empty() => {
                    if let Ok(mut guard) = ready {
                        let outbox = &mut self.outbox;
                        let _ = guard.try_io(|channel| flush(channel.get_ref(), outbox));
                    }
                }
                _ = self.pidfd.readable() => return ChildEvent::Ended(self.reap()),
            }
        }
    }

    /// Nothing more will come. A child that speaks nonsense is ended.
    fn broken(&mut self, error: &io::Error) {
        self.closed = true;
        self.outbox.clear();
        if error.kind() != io::ErrorKind::UnexpectedEof {
            tracing::error!("{} is ended, it sent {error}", self.role.word());
            self.signal(Signal::KILL);
        }
    }

    fn reap(&mut self) -> String {
        if let Some(how) = self.reaped.take() {
            return how;
        }
        let id = WaitId::PidFd(self.pidfd.as_fd());
        match rustix::process::waitid(id, WaitIdOptions::EXITED) {
            Ok(Some(status)) => in_words(status.exit_status(), status.terminating_signal()),
            Ok(None) | Err(_) => in_words(None, None),
        }
    }
}

/// How a process ended.
fn in_words(code: Option<i32>, signal: Option<i32>) -> String {
    match (code, signal) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown end".into(),
    }
}

/// Sends until the socket is full. A channel whose other end has gone takes everything: the child's
/// end is reported by its pidfd.
fn flush(channel: &Channel, outbox: &mut VecDeque<Outgoing>) -> io::Result<()> {
    while let Some((message, descriptors)) = outbox.front() {
        let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(|fd| fd.as_fd()).collect();
        match channel.send(message, &borrowed) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => tracing::debug!("a message was not delivered: {error}"),
            Ok(()) => {}
        }
        outbox.pop_front();
    }
    Ok(())
}

/// Reaps all that has ended, also processes that became ours because their parent died. Needed only
/// as pid 1; the end of our own children is kept for [`Child::next`].
pub(crate) fn reap_everything(own: [Option<&mut Child>; 3]) {
    let mut own: Vec<&mut Child> = own.into_iter().flatten().collect();
    while let Ok(Some((pid, status))) = rustix::process::waitpid(None, WaitOptions::NOHANG) {
        if let Some(child) = own.iter_mut().find(|child| child.pid == pid) {
            child.reaped = Some(in_words(status.exit_status(), status.terminating_signal()));
        }
    }
}
