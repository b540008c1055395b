//! The signals that the keeper listens to.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listening from the moment it is made; what comes earlier than somebody asks is remembered.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    /// Only as pid 1, where the orphans of the whole container come to us.
    child: Option<Signal>,
}

impl Signals {
    pub(crate) fn listen() -> io::Result<Self> {
        let child = match std::process::id() {
            1 => Some(signal(SignalKind::child())?),
            _ => None,
        };
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            child,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::Stop,
            _ = self.interrupt.recv() => Told::Stop,
            () = recv(&mut self.child) => Told::Reap,
            _ = self.hangup.recv() => Told::Reload,
        }
    }
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// TERM or INT.
    Stop,
    /// A process ended, and we are pid 1.
    Reap,
    /// HUP.
    Reload,
}

async fn recv(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}
