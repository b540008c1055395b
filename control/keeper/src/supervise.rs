//! The order of things: what is started after what, what follows on every message and every death,
//! and how it all goes away.
//!
//! Start: program, memory and sockets ([`Held::open`]) → control builds tables, fence and the
//! program's sets, says ready → the data plane maps everything, says ready → sockets into the map,
//! program attached, last. Stop: the data plane ends → program detached → control takes the fence
//! away and ends. In between each of the two may die at any time and is started again with what the
//! keeper holds; the program stays attached and drops what nobody takes (security.md D1). The keeper may
//! die as well: control keeps for the next one what this one holds (`successor`).

mod deaths;
mod observer;
mod ports;
mod successor;

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal};
use tokio::time::{Instant, sleep_until, timeout};

use crate::backoff::{Backoff, Record};
use crate::child::{Child, ChildEvent, Role, reap_everything};
use crate::confine;
use crate::error::KeeperError;
use crate::estate::Mirror;
use crate::fence;
use crate::held::{self, Held};
use crate::host;
use crate::name::Name;
use crate::orphans;
use crate::plan::Plan;
use crate::protocol::{Message, Ready, Retire, Segment};
use crate::reload::Reloads;
use crate::returns::Returns;
use crate::runtime::{NotedChild, RuntimeDirectory};
use crate::signals::{Signals, Told};
use crate::store::{self, Parcel, TableStore, WorkerStore};
use crate::users::{self, Identity};
use observer::ObserverPost;

/// How long the data plane may take to end in good order.
const DATA_PLANE_ENDS: Duration = Duration::from_millis(1_500);
/// When a child that could not be executed is tried again.
const SPAWN_AGAIN: Duration = Duration::from_millis(500);
/// How long control may take to remove the fence and end.
const CONTROL_ENDS: Duration = Duration::from_millis(2_500);

/// Runs an instance until TERM or INT.
///
/// # Errors
/// [`KeeperError`]: one sentence with cause and remedy. Nothing stays attached or running.
pub fn run(plan: &Plan) -> Result<(), KeeperError> {
    host::check()?;
    let directory = RuntimeDirectory::open(&plan.runtime)?;
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(KeeperError::Loop)
        .and_then(|runtime| runtime.block_on(serve(plan, &directory)));
    directory.remove();
    outcome
}

async fn serve(plan: &Plan, directory: &RuntimeDirectory) -> Result<(), KeeperError> {
    let mut signals = Signals::listen().map_err(KeeperError::Loop)?;
    let noted = directory.noted_children();
    let identities = Identities::find(plan);
    raise_descriptor_limit();
    let legacy = successor::inherit(directory, &noted, plan);
    // Held to the end: what is taken away under this name is nobody else's.
    let name = match &legacy {
        Some(legacy) => legacy.name.clone(),
        None => Name::take()?,
    };
    let outcome = match legacy {
        Some(legacy) => match Supervisor::resume(plan, directory, identities, legacy) {
            Ok(mut supervisor) => {
                let outcome = supervisor.watch(&mut signals).await;
                supervisor.stop().await;
                outcome
            }
            Err(error) => {
                orphans::end(&noted);
                Err(error)
            }
        },
        None => afresh(plan, directory, identities, &mut signals, name.clone()).await,
    };
    if outcome.is_err() && !noted.is_empty() {
        // Of the keeper before, whose children have ended: nothing is left that it stands in front of.
        fence::remove();
    }
    drop(name);
    if outcome.is_ok() {
        tracing::info!("stopped");
    }
    outcome
}

/// A start from nothing.
async fn afresh(
    plan: &Plan,
    directory: &RuntimeDirectory,
    identities: Identities,
    signals: &mut Signals,
    name: Name,
) -> Result<(), KeeperError> {
    let ports = held::look(plan)?;
    let listener = observer::listen(plan.metrics)?;
    directory.admit(identities.control.gid)?;
    confine::keeper()?;
    let held = Held::open(plan, ports)?;
    let mut supervisor = Supervisor::new(plan, directory, held, identities, name);
    supervisor.observer.listener = listener;
    let outcome = match supervisor.start_control() {
        Ok(()) => supervisor.watch(signals).await,
        Err(error) => Err(error),
    };
    supervisor.stop().await;
    outcome
}

/// Every queue of every port is a descriptor: take as many as the system allows. Where that is refused
/// the limit stays, and says so when it is reached.
fn raise_descriptor_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let most = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _ = rustix::process::setrlimit(Resource::Nofile, most);
}

/// Who the children become.
#[derive(Debug)]
struct Identities {
    control: Identity,
    data_plane: Identity,
    observer: Identity,
}

impl Identities {
    fn find(plan: &Plan) -> Self {
        let (mut control, first) = users::resolve(&plan.users.control, users::FALLBACK_CONTROL);
        let (data_plane, second) = users::resolve(&plan.users.data_plane, users::FALLBACK_DATA_PLANE);
        let (observer, third) = users::resolve(&plan.users.observer, users::FALLBACK_OBSERVER);
        let third = third.filter(|_| plan.metrics.is_some());
        for warning in [first, second, third].into_iter().flatten() {
            tracing::warn!("{warning}");
        }
        control.extra_group = users::group(&plan.admin_group);
        Self { control, data_plane, observer }
    }
}

/// What happened next.
enum Event {
    Control(ChildEvent),
    DataPlane(ChildEvent),
    Observer(ChildEvent),
    StartControl,
    StartDataPlane,
    StartObserver,
    Signal(Told),
}

/// One child and the time at which it is due again.
#[derive(Debug, Default)]
struct Post {
    child: Option<Child>,
    due: Option<Instant>,
    backoff: Backoff,
    deaths: Record,
    at_work: bool,
}

impl Post {
    async fn next(&mut self) -> ChildEvent {
        match &mut self.child {
            Some(child) => child.next().await,
            None => std::future::pending().await,
        }
    }

    fn send(&mut self, message: Message, descriptors: Vec<Rc<OwnedFd>>) {
        if let Some(child) = &mut self.child {
            child.send(message, descriptors);
        }
    }

    fn send_all(&mut self, parcels: Vec<Parcel>) {
        for (message, descriptors) in parcels {
            self.send(message, descriptors);
        }
    }

    /// The child is gone: when is it due again?
    fn bury(&mut self) {
        self.at_work = false;
        if let Some(child) = self.child.take() {
            self.due = Some(Instant::now() + self.backoff.after(child.age()));
        }
    }
}

struct Supervisor<'a> {
    plan: &'a Plan,
    directory: &'a RuntimeDirectory,
    identities: Identities,
    held: Held,
    control: Post,
    data_plane: Post,
    observer: ObserverPost,
    tables: TableStore,
    workers: WorkerStore,
    returns: Returns,
    reloads: Reloads,
    /// Number of the living or last data plane, from 1.
    incarnation: u32,
    /// Number of the living or last control, from 1.
    control_incarnation: u32,
    /// The sentence with which a child refused to start.
    refusal: Option<String>,
    name: Name,
    /// What control has kept for our successor.
    mirror: Mirror,
    /// The living or last data plane has been at work: all its segments are here.
    complete: bool,
    /// The living or last data plane, for our successor.
    noted_data_plane: Option<NotedChild>,
}

impl<'a> Supervisor<'a> {
    fn new(
        plan: &'a Plan,
        directory: &'a RuntimeDirectory,
        held: Held,
        identities: Identities,
        name: Name,
    ) -> Self {
        Self {
            plan,
            directory,
            identities,
            held,
            control: Post::default(),
            data_plane: Post::default(),
            observer: ObserverPost::default(),
            tables: TableStore::default(),
            workers: WorkerStore::default(),
            returns: Returns::default(),
            reloads: Reloads::default(),
            incarnation: 0,
            control_incarnation: 0,
            refusal: None,
            name,
            mirror: Mirror::default(),
            complete: false,
            noted_data_plane: None,
        }
    }

    /// Handles what happens until it is time to stop.
    async fn watch(&mut self, signals: &mut Signals) -> Result<(), KeeperError> {
        loop {
            let (control_due, data_due) = (self.control.due, self.data_plane.due);
            let observer_due = self.observer.post.due;
            let event = tokio::select! {
                biased;
                told = signals.next() => Event::Signal(told),
                event = self.control.next() => Event::Control(event),
                event = self.data_plane.next() => Event::DataPlane(event),
                event = self.observer.post.next() => Event::Observer(event),
                () = due(control_due) => Event::StartControl,
                () = due(data_due) => Event::StartDataPlane,
                () = due(observer_due) => Event::StartObserver,
            };
            match event {
                Event::Signal(Told::Stop) => return Ok(()),
                Event::Control(ChildEvent::Message(message, descriptors)) => {
                    self.hear_control(*message, descriptors)?;
                }
                Event::DataPlane(ChildEvent::Message(message, descriptors)) => {
                    self.hear_data_plane(*message, descriptors)?;
                }
                Event::Control(ChildEvent::Ended(how)) => self.control_ended(how)?,
                Event::DataPlane(ChildEvent::Ended(how)) => self.data_plane_ended(how)?,
                Event::StartControl => self.start_control()?,
                Event::StartDataPlane => self.start_data_plane()?,
                Event::Observer(event) => self.observer_event(event),
                Event::StartObserver => self.start_observer(),
                Event::Signal(Told::Reload) => {
                    self.reloads.wait();
                    self.reload_if_wanted();
                }
                Event::Signal(Told::Reap) => {
                    reap_everything([
                        self.control.child.as_mut(),
                        self.data_plane.child.as_mut(),
                        self.observer.post.child.as_mut(),
                    ]);
                }
            }
            self.provide_for_successor();
        }
    }

    fn start_control(&mut self) -> Result<(), KeeperError> {
        self.control_incarnation += 1;
        if !self.start(Role::Control)? {
            return Ok(());
        }
        self.mirror = Mirror::default();
        let text = self.held.configuration();
        let plan = self.held.plan_message(self.control_incarnation);
        self.control.send(Message::Plan(plan), vec![text]);
        // Whoever belongs to the instance holds its name.
        self.control.send_all(vec![successor::name_parcel(&self.name)]);
        for port in self.held.port_messages() {
            self.control.send(Message::Port(port), Vec::new());
        }
        self.control.send_all(vec![self.held.maps_parcel(), self.held.door_parcel()]);
        self.control.send_all(self.workers.parcels());
        self.tell_deaths(Role::Control);
        self.tell_deaths(Role::DataPlane);
        if let Some(refusal) = self.reloads.refusal() {
            self.control.send(refusal, Vec::new());
        }
        if self.data_plane.at_work {
            self.control.send(store::at_work(self.incarnation), Vec::new());
        }
        if self.held.attached() {
            self.control.send_all(self.held.link_parcels());
            self.control.send(Message::Ready(Ready::new(Ready::ATTACHED)), Vec::new());
        }
        // Now it knows whether packets flow already, and with it what it may still refuse.
        self.control.send(Message::Ready(Ready::new(Ready::START)), Vec::new());
        self.introduce_observer();
        Ok(())
    }

    /// A reload that a signal has asked for, when control can judge it.
    fn reload_if_wanted(&mut self) {
        // A control that has just died would take the text with it; the next one asks for it.
        let dead = self.control.child.as_ref().is_none_or(Child::has_ended);
        if self.control.at_work && !dead && !self.reloads.judging() && self.reloads.take_wanted() {
            self.reload(0);
        }
    }

    /// Control gets the configuration's text as it is now.
    fn reload(&mut self, order: u64) {
        let (message, text) = self.reloads.read(&self.plan.config_path, order);
        self.control.send(message, text);
    }

    fn start_data_plane(&mut self) -> Result<(), KeeperError> {
        self.incarnation += 1;
        self.complete = false;
        self.workers.begin(self.incarnation);
        if !self.start(Role::DataPlane)? {
            return Ok(());
        }
        let plan = self.held.plan_message(self.incarnation);
        self.data_plane.send(Message::Plan(plan), Vec::new());
        self.data_plane.send_all(vec![successor::name_parcel(&self.name)]);
        for worker in 0..self.held.workers() {
            let predecessor = self.workers.predecessor(u32::from(worker));
            let parcels = self.held.worker_parcels(worker, predecessor);
            self.data_plane.send_all(parcels);
        }
        self.data_plane.send_all(self.tables.parcels());
        if self.held.attached() {
            self.data_plane.send_all(self.held.link_parcels());
        }
        self.data_plane.send(Message::Ready(Ready::new(Ready::START)), Vec::new());
        Ok(())
    }

    /// Executes a child and writes it down. `false`: it cannot be had now and is due again in a moment, because
    /// a machine that lacks memory or descriptors for it is no reason to end what forwards.
    fn start(&mut self, role: Role) -> Result<bool, KeeperError> {
        let identity = match role {
            Role::Control => self.identities.control,
            Role::DataPlane => self.identities.data_plane,
            Role::Observer => self.identities.observer,
        };
        let child = Child::start(role, &arguments(self.plan, role, identity));
        let attached = self.held.attached();
        let post = self.post(role);
        match child {
            Ok(child) => {
                tracing::info!("{} started (pid {})", role.word(), child.pid());
                post.child = Some(child);
                post.due = None;
                self.note_children(role);
                Ok(true)
            }
            Err(cause) if attached => {
                tracing::error!("{} cannot be started ({cause}), it is tried again", role.word());
                post.due = Some(Instant::now() + SPAWN_AGAIN);
                Ok(false)
            }
            Err(cause) => Err(KeeperError::Spawn { role: role.word(), cause }),
        }
    }

    fn post(&mut self, role: Role) -> &mut Post {
        match role {
            Role::Control => &mut self.control,
            Role::DataPlane => &mut self.data_plane,
            Role::Observer => &mut self.observer.post,
        }
    }

    fn hear_control(&mut self, message: Message, mut descriptors: Vec<OwnedFd>) -> Result<(), KeeperError> {
        let fd = descriptors.pop();
        match (message, fd) {
            (Message::Segment(segment), Some(fd)) if segment.what == Segment::TABLES => {
                if let Some((message, fds)) = self.tables.add(segment.set, segment.index, fd) {
                    self.data_plane.send(message, fds);
                }
            }
            (Message::Segment(segment), Some(fd)) if segment.what == Segment::TOTALS => {
                let (message, fds) = self.workers.keep_totals(segment.incarnation, fd);
                self.observer.post.send(message, fds);
            }
            (Message::Segment(segment), Some(fd)) if segment.what == Segment::CONFIGURATION => {
                self.held.set_configuration(Rc::new(fd));
            }
            (Message::Ready(ready), _) => return self.control_says(&ready),
            (Message::PortReturned(returned), _) => self.port_back(returned.port),
            (Message::Retire(retire), _) if retire.what == Retire::RESTART_DATA_PLANE => {
                tracing::error!("the data plane is restarted: {}", retire.text.get());
                if let Some(child) = &self.data_plane.child {
                    child.signal(Signal::KILL);
                }
            }
            (message, _) => tracing::warn!("control sent what the keeper does not expect: {message:?}"),
        }
        Ok(())
    }

    fn control_says(&mut self, ready: &Ready) -> Result<(), KeeperError> {
        match ready.what {
            Ready::FENCED => tracing::debug!("the fence stands"),
            Ready::FAILED => self.refusal = Some(ready.text.get()),
            Ready::RELOAD_WANTED => self.reload(ready.set),
            Ready::ACCEPTED => {
                if let Some(text) = self.reloads.accepted(ready.index) {
                    self.held.set_configuration(text);
                }
                self.reload_if_wanted();
            }
            Ready::RELOAD_REFUSED => {
                self.reloads.refused(ready.index, ready.text.get());
                self.reload_if_wanted();
            }
            Ready::AT_WORK => {
                self.control.at_work = true;
                self.reload_if_wanted();
                let parcels = self.tables.activate();
                if self.data_plane.child.is_none() && self.data_plane.due.is_none() {
                    return self.start_data_plane();
                }
                self.data_plane.send_all(parcels);
            }
            other => tracing::warn!("control sent notice {other}"),
        }
        Ok(())
    }

    fn hear_data_plane(
        &mut self,
        message: Message,
        mut descriptors: Vec<OwnedFd>,
    ) -> Result<(), KeeperError> {
        match (message, descriptors.pop()) {
            (Message::Segment(segment), Some(fd))
                if segment.what == Segment::WORKER && segment.worker < u32::from(self.held.workers()) =>
            {
                if let Some((message, fds)) = self.workers.add(segment.worker, fd) {
                    self.observer.post.send(message, fds.clone());
                    self.control.send(message, fds);
                }
            }
            (Message::Ready(ready), _) => match ready.what {
                Ready::MAPPED => self.control.send(message, Vec::new()),
                Ready::REFUSED => tracing::error!("the data plane: {}", ready.text.get()),
                Ready::FAILED => self.refusal = Some(ready.text.get()),
                Ready::AT_WORK => return self.data_plane_works(),
                other => tracing::warn!("the data plane sent notice {other}"),
            },
            (Message::PortReturned(returned), _) => {
                if let Some(port) = self.returns.taken(returned) {
                    self.attach_again(port);
                }
            }
            (message, _) => {
                tracing::warn!("the data plane sent what the keeper does not expect: {message:?}");
            }
        }
        Ok(())
    }

    /// All workers turn: the first time the program is attached, last of all.
    fn data_plane_works(&mut self) -> Result<(), KeeperError> {
        self.data_plane.at_work = true;
        self.complete = true;
        self.control.send(store::at_work(self.incarnation), Vec::new());
        if !self.held.attached() {
            self.held.attach()?;
            self.control.send_all(self.held.link_parcels());
            self.data_plane.send_all(self.held.link_parcels());
            self.control.send(Message::Ready(Ready::new(Ready::ATTACHED)), Vec::new());
            tracing::info!("forwarding on {}", self.held.port_names().join(", "));
        }
        for port in self.returns.all() {
            self.attach_again(port);
        }
        self.start_observer();
        Ok(())
    }

    fn control_ended(&mut self, how: String) -> Result<(), KeeperError> {
        self.control.bury();
        self.tables.abandon();
        if self.reloads.abandon() {
            tracing::warn!(
                "control died before it had judged the configuration: the old one is in force, reload again"
            );
        }
        self.died(Role::Control, how)
    }

    fn data_plane_ended(&mut self, how: String) -> Result<(), KeeperError> {
        self.data_plane.bury();
        let incarnation = self.workers.bury();
        self.control.send(store::down(incarnation), Vec::new());
        self.observer.post.send(store::down(incarnation), Vec::new());
        self.died(Role::DataPlane, how)
    }

    /// Before the program is attached a death is the end of the start; afterwards it is repaired.
    fn died(&mut self, role: Role, how: String) -> Result<(), KeeperError> {
        let refusal = self.refusal.take();
        if !self.held.attached() {
            return Err(refusal.map_or(KeeperError::Died { role: role.word(), how }, KeeperError::Refused));
        }
        let why = refusal.map(|text| format!(": {text}")).unwrap_or_default();
        tracing::error!("{} ended with {how}, it is started again{why}", role.word());
        self.record_death(role, &how);
        Ok(())
    }

    /// Takes everything away, in order, within five seconds.
    async fn stop(&mut self) {
        let stop = Message::Retire(Retire::new(Retire::STOP));
        self.end_observer().await;
        if end(&mut self.data_plane, stop, DATA_PLANE_ENDS).await.is_err() {
            tracing::error!("the data plane did not end in time and was killed");
        }
        tracing::debug!("the data plane has ended");
        self.held.detach();
        tracing::debug!("the program is detached");
        // Whether a control that was taken over took its fence away is told to nobody.
        let own = self.control.child.as_ref().is_some_and(|child| !child.adopted());
        let orderly = end(&mut self.control, stop, CONTROL_ENDS).await.is_ok() && own;
        if !orderly && self.control_incarnation > 0 {
            fence::remove();
        }
    }
}

/// Asks a child to end and kills it when it does not.
async fn end(post: &mut Post, stop: Message, patience: Duration) -> Result<(), ()> {
    if post.child.is_none() {
        return Ok(());
    }
    post.send(stop, Vec::new());
    let ended = async {
        loop {
            if let ChildEvent::Ended(how) = post.next().await {
                return how;
            }
        }
    };
    let in_time = timeout(patience, ended).await;
    if let (Err(_), Some(child)) = (&in_time, &post.child) {
        child.signal(Signal::KILL);
        while !matches!(post.next().await, ChildEvent::Ended(_)) {}
    }
    let adopted = post.child.take().is_some_and(|child| child.adopted());
    match in_time {
        Ok(how) if how == "exit code 0" || adopted => Ok(()),
        Ok(how) => {
            tracing::warn!("a child ended with {how}");
            Err(())
        }
        Err(_) => Err(()),
    }
}

async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// What stands behind `sixlane internal ROLE`.
fn arguments(plan: &Plan, role: Role, identity: Identity) -> Vec<OsString> {
    let mut list: Vec<OsString> = Vec::new();
    let mut add = |name: &str, value: OsString| list.extend([name.into(), value]);
    add("--uid", identity.uid.to_string().into());
    add("--gid", identity.gid.to_string().into());
    if let Some(group) = identity.extra_group {
        add("--extra-group", group.to_string().into());
    }
    if role == Role::Control {
        add("--runtime", plan.runtime.clone().into());
        add("--config", plan.config_path.clone().into());
    }
    list
}
