//! The process: one attach thread, which receives, maps and hands out, and one thread per worker.
//!
//! A data plane attaches, it does not create: frames, sockets and tables come from the keeper as
//! descriptors, and it needs no privilege. When the keeper or control is gone it forwards on with what
//! it has.

use crate::attach::{Gathered, Maps, Station};
use crate::link::{FromKeeper, KeeperLink, ToKeeper};
use crate::mailbox::{FreshSocket, Mailbox};
use crate::port::XdpPort;
use crate::tick::{Pace, clock};
use crate::worker::Worker;
use core_affinity::CoreId;
use sixlane_tables::{SegmentError, Tables, WorkerSegment};
use sixlane_xsk::handover::TakeOverError;
use sixlane_xsk::{Rings, TakeOver};
use std::io::{self, Write};
use std::sync::{Arc, Barrier};
use std::thread::{Builder, Scope};
use std::time::Duration;

/// How long the attach thread waits for a worker that turns to take what was left for it.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a worker does when nothing arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    /// Park in `poll` after 1,000 empty turns, offline for the tables' quiescence.
    Sleep,
    /// Turn on: for appliances with a core per worker.
    Spin,
}

/// How the data plane runs.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The core of each worker, by its number; a worker without one is not pinned.
    pub cores: Vec<usize>,
    /// What an idle worker does.
    pub idle: Idle,
    /// How the threads give up system calls; `None` in tests.
    pub confinement: Option<Confinement>,
}

/// How a thread gives up the system calls that it does not need, once everything is set up. A worker
/// keeps too few to end singly, so it waits for the end of the process when it has retired.
#[derive(Debug, Clone, Copy)]
pub struct Confinement {
    /// Called on each worker's thread before its first turn.
    pub worker: fn() -> io::Result<()>,
    /// Called on the attach thread before it says ready.
    pub attach: fn() -> io::Result<()>,
}

/// Why the data plane could not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The connection to the keeper broke before everything had arrived.
    #[error("the data plane lost the keeper during start-up: {0}")]
    Link(#[source] io::Error),
    /// The keeper said start before it had sent everything.
    #[error("the data plane was started without {0}")]
    Incomplete(&'static str),
    /// The frames of a worker cannot be mapped.
    #[error("worker {worker}: its frames cannot be mapped: {source}")]
    Umem {
        /// Number of the worker.
        worker: u16,
        /// What the kernel said.
        source: io::Error,
    },
    /// The rings of a socket cannot be mapped.
    #[error("worker {worker}: the rings of port {port} queue {queue} cannot be mapped: {source}")]
    Queue {
        /// Number of the worker.
        worker: u16,
        /// The port's place in the configuration.
        port: u8,
        /// The receive queue.
        queue: u16,
        /// What the kernel said.
        source: io::Error,
    },
    /// The tables of the start are not usable.
    #[error("the tables are not usable: {0}")]
    Tables(#[source] SegmentError),
    /// The worker's own segment cannot be made, or its predecessor's not be read.
    #[error("worker {worker}: {source}")]
    Segment {
        /// Number of the worker.
        worker: u16,
        /// What stood in the way.
        source: SegmentError,
    },
    /// The frames of the predecessor do not fit what the keeper sent.
    #[error("worker {worker} cannot take over: {source}")]
    TakeOver {
        /// Number of the worker.
        worker: u16,
        /// What does not fit.
        source: TakeOverError,
    },
    /// A thread could not give up its system calls.
    #[error("the data plane cannot be confined: {0}")]
    Confine(#[source] io::Error),
    /// A thread could not be started.
    #[error("worker {worker}: its thread cannot be started: {source}")]
    Thread {
        /// Number of the worker.
        worker: u16,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Runs the data plane until the keeper says stop. Blocks; the calling thread is the attach thread. With a
/// [`Confinement`] an orderly stop ends the process here, with exit code 0.
///
/// # Errors
/// What stood in the way of a start. Once the workers run, a broken link is no error: they forward on
/// with what they have.
pub fn run(mut link: Box<dyn KeeperLink>, options: &RunOptions) -> Result<(), RunError> {
    let Some(gathered) = Gathered::receive(link.as_mut())? else { return Ok(()) };
    let (opened, maps) = gathered.open(link.as_mut())?;
    let (stations, handed): (Vec<_>, Vec<_>) = opened.into_iter().unzip();
    let mut segments = Vec::with_capacity(stations.len());
    for station in &stations {
        segments.push(station.create_segment(&maps)?);
    }
    let mut successors = Vec::with_capacity(stations.len());
    for ((station, segment), handed) in stations.iter().zip(&segments).zip(handed) {
        successors.push(station.prepare(handed, segment)?);
        // From here on the next successor reads this segment: only then an index may move.
        let fd = segment.segment().share().map_err(RunError::Link)?;
        link.send(ToKeeper::WorkerSegment { worker: station.worker, fd }).map_err(RunError::Link)?;
    }
    let (retired, returned) = crossbeam_channel::bounded(stations.len());
    let (begun, confined) = crossbeam_channel::bounded(stations.len());
    let parted = Barrier::new(stations.len() + 1);
    let mailboxes: Vec<_> = stations.iter().map(|_| Mailbox::new(retired.clone())).collect();
    std::thread::scope(|scope| {
        for (((successor, station), segment), mailbox) in
            successors.into_iter().zip(&stations).zip(&segments).zip(&mailboxes)
        {
            let tables = Arc::clone(&maps.tables);
            let steps = Steps { confinement: options.confinement, begun: begun.clone(), parted: &parted };
            let life = Life { station, segment, mailbox, tables, idle: options.idle, steps };
            if let Err(error) = life.begin(scope, successor, options.cores.get(usize::from(station.worker))) {
                mailboxes.iter().for_each(Mailbox::stop);
                return Err(give_up(error, options));
            }
        }
        if let Err(error) = confine_all(options, stations.len(), &confined) {
            mailboxes.iter().for_each(Mailbox::stop);
            return Err(give_up(error, options));
        }
        if link.send(ToKeeper::Ready).is_ok() {
            serve(link.as_mut(), maps, &stations, &mailboxes, &returned);
        }
        if options.confinement.is_some() && mailboxes.iter().all(Mailbox::stopped) {
            parted.wait();
            std::process::exit(0);
        }
        Ok(())
    })
}

/// Waits until every worker has given up its system calls, then does the same on this thread. No worker
/// turns before.
fn confine_all(
    options: &RunOptions,
    workers: usize,
    confined: &crossbeam_channel::Receiver<io::Result<()>>,
) -> Result<(), RunError> {
    for _ in 0..workers {
        let gone = |_| Err(io::ErrorKind::BrokenPipe.into());
        confined.recv().unwrap_or_else(gone).map_err(RunError::Confine)?;
    }
    options.confinement.map_or(Ok(()), |confinement| (confinement.attach)()).map_err(RunError::Confine)
}

/// Ends a process in which threads may be confined already: those could not end by themselves.
fn give_up(error: RunError, options: &RunOptions) -> RunError {
    if options.confinement.is_some() {
        let _ = writeln!(io::stderr(), "{error}");
        std::process::exit(1);
    }
    error
}

/// Receives until the keeper says stop; when the keeper is gone, leaves the workers running.
fn serve(
    link: &mut dyn KeeperLink,
    mut maps: Maps,
    stations: &[Station],
    mailboxes: &[Mailbox],
    returned: &crossbeam_channel::Receiver<Arc<Tables>>,
) {
    loop {
        match link.receive() {
            Ok(FromKeeper::Tables { set, segment, fd, more }) => {
                let (changed, answer) = maps.take(set, segment, fd, more);
                if changed {
                    mailboxes.iter().for_each(|mailbox| mailbox.offer(Arc::clone(&maps.tables)));
                    take_down(mailboxes.len(), returned);
                }
                // A keeper that is gone shows itself at the next receive.
                let _ = link.send(answer);
            }
            Ok(FromKeeper::Stop) => return mailboxes.iter().for_each(Mailbox::stop),
            Ok(FromKeeper::Queue { worker, port, queue, fd, sizes, number }) => {
                let at = stations.iter().zip(mailboxes).find(|(station, _)| station.worker == worker);
                let place = at.and_then(|(station, mailbox)| Some((station.place(port, queue)?, mailbox)));
                // A socket whose rings cannot be mapped has died meanwhile, and another will follow.
                let rings = Rings::attach(fd, sizes).ok();
                if let (Some((socket, mailbox)), Some(rings)) = (place, rings)
                    && mailbox.hand_over(FreshSocket { socket, port, number, rings }, PATIENCE)
                {
                    let _ = link.send(ToKeeper::SocketTaken { port, queue });
                }
            }
            // Frames are fixed at the start.
            Ok(FromKeeper::Umem { .. } | FromKeeper::Start) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// Waits until every worker has given the old set up, and with the last one its mapping goes. A worker
/// that does not turn keeps its own until it does.
fn take_down(workers: usize, returned: &crossbeam_channel::Receiver<Arc<Tables>>) {
    for _ in 0..workers {
        if returned.recv_timeout(PATIENCE).is_err() {
            return;
        }
    }
}

/// One worker's thread.
struct Life<'env> {
    station: &'env Station,
    segment: &'env WorkerSegment,
    mailbox: &'env Mailbox,
    tables: Arc<Tables>,
    idle: Idle,
    steps: Steps<'env>,
}

/// What a worker and the attach thread tell each other at the beginning and the end.
struct Steps<'env> {
    confinement: Option<Confinement>,
    /// The worker has given up its system calls, or could not.
    begun: crossbeam_channel::Sender<io::Result<()>>,
    /// All have retired.
    parted: &'env Barrier,
}

impl<'env> Life<'env> {
    fn begin<'scope>(
        self,
        scope: &'scope Scope<'scope, 'env>,
        successor: TakeOver<'env>,
        core: Option<&usize>,
    ) -> Result<(), RunError> {
        let worker = self.station.worker;
        let core = core.copied();
        let thread = Builder::new().name(format!("worker-{worker}"));
        let started = thread.spawn_scoped(scope, move || {
            if let Some(id) = core {
                // A core that is not there costs speed, not packets: the thread runs unpinned.
                core_affinity::set_for_current(CoreId { id });
            }
            self.live(successor);
        });
        started.map(drop).map_err(|source| RunError::Thread { worker, source })
    }

    fn live(self, successor: TakeOver<'env>) {
        let (pool, queues) = successor.resume();
        // Room for all, also for those whose interface is away now: a worker does not allocate.
        let mut ports = Vec::with_capacity(queues.len());
        let sockets = queues.into_iter().zip(&self.station.sockets);
        ports.extend(sockets.filter_map(|(queue, &(port, _))| Some(XdpPort::new(queue?, port))));
        let mut worker = Worker::new(ports, pool, self.segment, self.tables, clock());
        let mut pace = Pace::new(self.idle);
        let confined = self.steps.confinement.map_or(Ok(()), |confinement| (confinement.worker)());
        let fit = confined.is_ok();
        if self.steps.begun.send(confined).is_err() || !fit {
            return;
        }
        while !self.mailbox.stopped() {
            let count = worker.turn(clock());
            if self.mailbox.fresh() {
                if let Some(tables) = self.mailbox.take() {
                    self.mailbox.give_back(worker.adopt(tables));
                }
                worker.take_sockets(self.mailbox);
            }
            if worker.port_lost {
                worker.part_with_lost(self.mailbox);
            }
            if pace.tired(count) {
                worker.sleep();
            }
        }
        worker.retire();
        if self.steps.confinement.is_some() {
            // Ending this thread takes more system calls than it has: the process ends as a whole.
            self.steps.parted.wait();
            loop {
                std::thread::park();
            }
        }
    }
}
