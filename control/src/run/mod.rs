//! The process: its start, its event loop, its end.
//!
//! One thread. Everything that waits is a branch of one `select!` in [`event_loop`]; every branch ends
//! in a call of [`Control`], which never waits.

mod adopted;
mod answer;
mod control;
mod corrupt;
mod deaths;
mod door;
mod follow;
mod fpm;
mod in_full;
mod keeper;
mod memory;
mod offloads;
mod ports;
mod queues;
mod reload;
mod shortage;
mod start;
mod wait;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::admin;
use crate::alarms::Alarm;
use crate::clock::now_ns;
use crate::fence;
use crate::fpm::Port;
use crate::link::{FromKeeper, KeeperLink, ToKeeper};
use crate::netlink::socket::Listener;
use control::Control;
use keeper::Keeper;

/// How often the punt rings and the workers' signs of life are looked at.
const TURN: Duration = Duration::from_millis(10);
/// The same for packets while some come.
const SOON: Duration = Duration::from_millis(1);
/// Questions of admin clients that may wait for the loop.
const QUESTIONS: usize = admin::CLIENTS_MAX;

/// How control is started.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Directory of the admin socket: `<runtime_dir>/admin.sock`. It exists and control's user may
    /// write in it.
    pub runtime_dir: PathBuf,
    /// Version of the product, shown by `show status`.
    pub version: String,
}

/// Why control ended other than by an orderly stop.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The start was refused; the keeper has been told the same sentence.
    #[error("{0}")]
    Start(String),
    /// The connection to the keeper broke before the start was complete.
    #[error("the connection to the keeper failed: {0}; start sixlane with `sixlane run`")]
    Keeper(io::Error),
    /// The keeper lives and said something that cannot be taken.
    #[error(
        "a message of the keeper cannot be taken ({0}), so control ends and another one hears it: raise the limit of open files"
    )]
    Message(io::Error),
    /// The event loop could not be made.
    #[error("cannot create the event loop: {0}; raise the limit of open files")]
    Runtime(io::Error),
}

/// Runs control until the keeper says stop. Without a keeper (it has died) control goes on, and ends
/// in order at SIGTERM.
///
/// # Errors
/// [`RunError`]: each is one sentence with cause and remedy.
pub fn run(link: Box<dyn KeeperLink>, options: RunOptions) -> Result<(), RunError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::Runtime)?;
    runtime.block_on(live(link, options))
}

async fn live(link: Box<dyn KeeperLink>, options: RunOptions) -> Result<(), RunError> {
    let signals = Signals::new().map_err(RunError::Runtime)?;
    let mut keeper = Keeper::new(link).map_err(RunError::Keeper)?;
    let Some(facts) = keeper.facts().await.map_err(RunError::Keeper)? else { return Ok(()) };
    let sockets = [admin::READING, admin::CHANGING].map(|name| options.runtime_dir.join(name));
    let mut fpm = Port::closed();
    let (mut control, listener) = match start::start(facts, options, &mut fpm).await {
        Ok(started) => started,
        Err(sentence) => {
            // The keeper may have gone; then the exit code says enough.
            let _ = keeper.send(ToKeeper::Failed(sentence.clone())).await;
            return Err(RunError::Start(sentence));
        }
    };
    for message in control.take_messages() {
        keeper.send(message).await.map_err(RunError::Keeper)?;
    }
    let clients = open_admin(&sockets, &mut control);
    let sources = Sources {
        fpm,
        notices: wait::watch(listener).map_err(RunError::Runtime)?,
        door: control.door_device().map_err(RunError::Runtime)?,
    };
    let done = event_loop(&mut control, &mut keeper, sources, clients, signals).await;
    done?;
    control.release_neighbours();
    control.close_door();
    // Only an orderly stop takes the fence away: after a failure it is what stands between the kernel
    // and the tunnels.
    for socket in &sockets {
        let _ = std::fs::remove_file(socket);
    }
    if let Err(error) = fence::remove() {
        tracing::warn!("the fence still stands: {error}; remove it with `nft delete table inet sixlane`");
    }
    Ok(())
}

/// Signals that children must know how to take: the keeper decides over the stop, so that the fence
/// goes last.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for TERM; INT and HUP are the keeper's to judge.
    async fn terminate(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => {}
                _ = self.hangup.recv() => {}
            }
        }
    }
}

/// What the kernel says and sends, and zebra.
struct Sources {
    fpm: Port,
    notices: AsyncFd<Listener>,
    door: door::Device,
}

/// What admin clients want of the event loop.
struct Clients {
    questions: mpsc::Receiver<admin::Asked>,
    orders: mpsc::Receiver<admin::Ordered>,
    /// For the observer's questions.
    asks: mpsc::Sender<admin::Asked>,
}

/// Opens the admin sockets, the reading one first; without them control runs all the same, with an
/// alarm.
fn open_admin([reading, changing]: &[PathBuf; 2], control: &mut Control) -> Clients {
    let (asks, questions) = mpsc::channel(QUESTIONS);
    let (commands, orders) = mpsc::channel(QUESTIONS);
    let group = control.admin_group();
    let opened = admin::listen(reading, group).and_then(|reading| {
        let access = admin::Access { group, own: true };
        drop(tokio::spawn(admin::serve::<admin::Query>(reading, access, asks.clone())));
        let changing = admin::listen(changing, group)?;
        let access = admin::Access { group, own: false };
        drop(tokio::spawn(admin::serve::<admin::Order>(changing, access, commands)));
        Ok(())
    });
    if let Err(sentence) = opened {
        control.alarm(Alarm::AdminSocket, sentence);
    }
    Clients { questions, orders, asks }
}

async fn event_loop(
    control: &mut Control,
    keeper: &mut Keeper,
    mut sources: Sources,
    mut clients: Clients,
    mut signals: Signals,
) -> Result<(), RunError> {
    control.fpm_open(&mut sources.fpm);
    let mut turn = interval(TURN);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let busy = control.door_is_busy(now_ns());
        tokio::select! {
            message = keeper.receive() => match message {
                Ok(FromKeeper::Stop) => return Ok(()),
                Ok(FromKeeper::Observer(socket)) => admin::attend(socket, clients.asks.clone()),
                Ok(message) => control.told(message),
                Err(_) if keeper.gone() => control.keeper_gone(),
                Err(error) => return Err(RunError::Message(error)),
            },
            ready = sources.notices.readable_mut() => {
                let mut ready = ready.map_err(RunError::Runtime)?;
                if !control.kernel_says(ready.get_inner_mut()) {
                    ready.clear_ready();
                }
            }
            Some((query, reply)) = clients.questions.recv() => {
                // A client that has gone does not want its answer.
                let _ = reply.send(control.answer(query));
            }
            Some((order, outcome)) = clients.orders.recv() => control.ordered(&order, outcome),
            _ = turn.tick() => {
                control.read_when_due(sources.notices.get_mut());
                control.fpm_turn(&mut sources.fpm);
                control.turn();
            }
            mut ready = door::readable(&sources.door) => {
                if !control.kernel_sends() {
                    ready.clear_ready();
                }
            }
            event = sources.fpm.event() => control.fpm_says(&mut sources.fpm, event),
            () = sleep(SOON), if busy => control.workers_hand_over(),
            () = signals.terminate() => {
                if keeper.gone() {
                    return Ok(());
                }
                tracing::info!("waiting for the keeper to stop the data plane first");
            }
        }
        for message in control.take_messages() {
            // A keeper that takes over hears everything again.
            if keeper.gone() {
                control.reload_in_vain();
                continue;
            }
            if let Err(error) = keeper.send(message).await {
                tracing::warn!("the keeper does not listen: {error}");
                control.reload_in_vain();
            }
        }
        // While the kernel always has something to say this task never waits; the admin socket's tasks must
        // have their turn all the same.
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod reload_tests;
#[cfg(test)]
mod tests;
