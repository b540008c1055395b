//! The observer's post: started only if metrics are configured, after the program is attached, so that
//! nothing ever waits for it. Its death is repaired and matters to nobody else.
//!
//! The keeper holds the listening socket: an address that is taken is a refusal at the start, and
//! scrapes that come while the observer is started again wait in its queue. The observer ends when its
//! keeper has gone, and with it the last holder of the address.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{Post, Supervisor};
use crate::child::{ChildEvent, Role};
use crate::error::KeeperError;
use crate::protocol::{Link, Message, Ready};

/// How long the observer of a keeper that was killed may take to give its address back.
const PREDECESSOR_ENDS: Duration = Duration::from_secs(2);

/// The observer and what it is given.
#[derive(Debug, Default)]
pub(super) struct ObserverPost {
    pub(super) post: Post,
    /// Where it listens; `None`: not configured.
    pub(super) listener: Option<Rc<OwnedFd>>,
    /// How often it was started.
    incarnation: u32,
}

/// Opens the socket of the metrics.
///
/// # Errors
/// [`KeeperError::Resource`]: the address is taken, or is none of this machine's.
pub(super) fn listen(address: Option<SocketAddr>) -> Result<Option<Rc<OwnedFd>>, KeeperError> {
    let Some(address) = address else { return Ok(None) };
    let begun = Instant::now();
    loop {
        match TcpListener::bind(address) {
            Ok(listener) => return Ok(Some(Rc::new(listener.into()))),
            Err(error)
                if error.kind() == std::io::ErrorKind::AddrInUse && begun.elapsed() < PREDECESSOR_ENDS =>
            {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => {
                return Err(KeeperError::Resource(format!(
                    "cannot serve metrics on {address} ({error}): choose a free address of this machine as `metrics.listen`"
                )));
            }
        }
    }
}

impl Supervisor<'_> {
    /// Starts the observer if there should be one and none is there. The sums over the dead come before it:
    /// without them its figures would go backward.
    pub(super) fn start_observer(&mut self) {
        let Some(listener) = self.observer.listener.clone() else { return };
        if self.observer.post.child.is_some() || !self.held.attached() {
            return;
        }
        self.observer.incarnation += 1;
        // Attached, a start that fails is one that is due again.
        if !matches!(self.start(Role::Observer), Ok(true)) {
            return;
        }
        let plan = self.held.plan_message(self.observer.incarnation);
        let post = &mut self.observer.post;
        post.send(Message::Plan(plan), vec![listener]);
        for port in self.held.port_messages() {
            post.send(Message::Port(port), Vec::new());
        }
        post.send_all(self.workers.parcels());
        self.introduce_observer();
    }

    /// Gives control and observer a connection to each other: both have been started, one of them anew.
    pub(super) fn introduce_observer(&mut self) {
        if self.control.child.is_none() || self.observer.post.child.is_none() {
            return;
        }
        match UnixStream::pair() {
            Ok((to_control, to_observer)) => {
                let link = |what| Message::Link(Link { what, port: 0 });
                self.control.send(link(Link::OBSERVER), vec![Rc::new(to_observer.into())]);
                self.observer.post.send(link(Link::CONTROL), vec![Rc::new(to_control.into())]);
            }
            Err(error) => tracing::warn!("the observer cannot ask control: {error}"),
        }
    }

    /// What the observer does.
    pub(super) fn observer_event(&mut self, event: ChildEvent) {
        match event {
            ChildEvent::Message(message, _) => match *message {
                Message::Ready(ready) if ready.what == Ready::AT_WORK => {
                    tracing::info!("metrics are served");
                }
                Message::Ready(ready) if ready.what == Ready::FAILED => {
                    tracing::error!("the observer: {}", ready.text.get());
                }
                message => tracing::warn!("the observer sent what the keeper does not expect: {message:?}"),
            },
            ChildEvent::Ended(how) => {
                self.observer.post.bury();
                tracing::error!("the observer ended with {how}, it is started again");
            }
        }
    }

    /// Ends the observer: it has nothing to put in order.
    pub(super) async fn end_observer(&mut self) {
        self.observer.listener = None;
        let post = &mut self.observer.post;
        if let Some(child) = &post.child {
            child.signal(Signal::KILL);
            while !matches!(post.next().await, ChildEvent::Ended(_)) {}
        }
        post.child = None;
    }
}
