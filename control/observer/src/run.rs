//! The process: one thread that hears the keeper and answers scrapes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use hyper::body::Bytes;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::time::{ClockId, clock_gettime};
use tokio::io::unix::AsyncFd;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::Instant;

use crate::control::Control;
use crate::figures::Dead;
use crate::http;
use crate::link::{FromKeeper, KeeperLink};
use crate::metrics::Scene;
use crate::workers::Workers;

/// For so long the same text is given again: whoever asks without pause asks control four times a
/// second at most.
const FRESH: Duration = Duration::from_millis(250);

/// Gives up what the process needs no more, once descriptors and event loop are there.
pub type Confine = fn() -> io::Result<()>;

/// Why the observer ended other than by an orderly stop.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The connection to the keeper broke at the start, or the keeper sent something else than a socket.
    #[error("the connection to the keeper failed ({0}): start sixlane with `sixlane run`")]
    Keeper(io::Error),
    /// The event loop could not be made.
    #[error("cannot create the event loop ({0}): raise the limit of open files")]
    Runtime(io::Error),
    /// The process could not be confined.
    #[error("cannot confine the observer ({0}): start sixlane as root")]
    Confine(io::Error),
}

/// Serves metrics until the keeper says stop or has gone: the next keeper starts an observer of its
/// own.
///
/// # Errors
/// [`RunError`]: each is one sentence with cause and remedy.
pub fn run(link: Box<dyn KeeperLink>, version: &str, confine: Confine) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(RunError::Runtime)?;
    confine().map_err(RunError::Confine)?;
    let observer = Rc::new(Observer { version: version.to_owned(), ..Observer::default() });
    LocalSet::new().block_on(&runtime, live(link, observer))
}

async fn live(link: Box<dyn KeeperLink>, observer: Rc<Observer>) -> Result<(), RunError> {
    let mut keeper = Keeper::new(link).map_err(RunError::Keeper)?;
    loop {
        match keeper.receive().await {
            Ok(FromKeeper::Stop) => return Ok(()),
            Ok(FromKeeper::Listener(fd)) => {
                let listener = listener(fd).map_err(RunError::Runtime)?;
                let observer = Rc::clone(&observer);
                let exposition = Rc::new(move || Rc::clone(&observer).exposition());
                drop(spawn_local(http::serve(listener, exposition)));
                keeper.link.ready().map_err(RunError::Keeper)?;
            }
            Ok(FromKeeper::Control(fd)) => {
                if let Err(error) = observer.control.lock().await.connected(fd) {
                    tracing::warn!("control cannot be asked: {error}");
                }
            }
            Ok(message) => observer.hear(message),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(RunError::Keeper(error)),
        }
    }
}

fn listener(fd: OwnedFd) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::from(fd);
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// What is known.
#[derive(Debug, Default)]
struct Observer {
    version: String,
    ports: RefCell<BTreeMap<u8, String>>,
    workers: RefCell<Workers>,
    control: Mutex<Control>,
    /// The last text, and when it was made. Those who come meanwhile wait for it.
    last: Mutex<Option<(Instant, Bytes)>>,
}

impl Observer {
    fn hear(&self, message: FromKeeper) {
        let mut workers = self.workers.borrow_mut();
        match message {
            FromKeeper::Port { index, name } => drop(self.ports.borrow_mut().insert(index, name)),
            FromKeeper::WorkerSegment { worker, incarnation, fd } => {
                if let Err(error) = workers.add(worker, incarnation, fd) {
                    tracing::warn!("the segment of worker {worker} is of no use: {error}; restart sixlane");
                }
            }
            FromKeeper::DataplaneDown { incarnation } => workers.down(incarnation),
            FromKeeper::Totals(fd) => match Dead::open(fd) {
                Ok(dead) => workers.totals(dead),
                Err(error) => tracing::warn!("the counters of earlier workers are lost: {error}"),
            },
            FromKeeper::Listener(_) | FromKeeper::Control(_) | FromKeeper::Stop => {}
        }
    }

    /// The text for a scrape.
    async fn exposition(self: Rc<Self>) -> Option<Bytes> {
        let mut last = self.last.lock().await;
        if let Some((_, text)) = last.as_ref().filter(|(made, _)| made.elapsed() < FRESH) {
            return Some(text.clone());
        }
        let control = self.control.lock().await.ask().await;
        let workers = self.workers.borrow().shown();
        let scene = Scene {
            version: self.version.clone(),
            ports: self.ports.borrow().clone(),
            total: self.workers.borrow().total(&workers),
            workers,
            now_ns: now_ns(),
            control,
        };
        let text = Bytes::from(scene.text().ok()?);
        *last = Some((Instant::now(), text.clone()));
        Some(text)
    }
}

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// The link, and the descriptor to wait on (a duplicate: the same open socket).
struct Keeper {
    link: Box<dyn KeeperLink>,
    ready: AsyncFd<OwnedFd>,
}

impl Keeper {
    fn new(link: Box<dyn KeeperLink>) -> io::Result<Self> {
        let descriptor = link.descriptor().try_clone_to_owned()?;
        fcntl_setfl(&descriptor, fcntl_getfl(&descriptor)? | OFlags::NONBLOCK)?;
        // Its successor is unsafe, because a type may give another descriptor each time it is asked; an
        // OwnedFd does not.
        #[expect(deprecated, reason = "sound for an OwnedFd")]
        let ready = AsyncFd::new(descriptor)?;
        Ok(Self { link, ready })
    }

    async fn receive(&mut self) -> io::Result<FromKeeper> {
        loop {
            match self.link.receive() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.ready.readable().await?.clear_ready();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}
