//! What the keeper made and holds: the program and its maps, memory and sockets of the workers, the
//! links, the door. Children get duplicates, so that they can come and go.

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::thread::CpuSet;
use sixlane_xsk::program::{AttachMode, Program};
use sixlane_xsk::socket::{self, RingSizes, Target};
use sixlane_xsk::{Memory, Umem, interface};

use crate::door::Door;
use crate::error::KeeperError;
use crate::plan::{self, Mode, Plan, PortPlan};
use crate::protocol::{self, Link, MAX_WORKERS, Message, Port, Segment, Text};
use crate::store::Parcel;

mod adopted;
mod back;

/// A port as it was found.
#[derive(Debug)]
pub(crate) struct HeldPort {
    name: String,
    ifindex: u32,
    queues: u16,
    driver: String,
    /// Index of the port whose sockets and link carry its frames: itself, or the first of the device's (the one
    /// without a VLAN before others).
    carrier: u16,
}

/// Those ports that have sockets and carry the program, with their indices.
fn carriers(ports: &[HeldPort]) -> impl Iterator<Item = (u16, &HeldPort)> {
    (0_u16..).zip(ports).filter(|(index, port)| port.carrier == *index)
}

/// The socket of a queue. It keeps its place when its interface is deleted.
pub(crate) struct HeldSocket {
    port: u16,
    queue: u16,
    /// No other socket ever has the number.
    number: u32,
    fd: Rc<OwnedFd>,
}

/// Memory and sockets of one worker.
struct HeldWorker {
    /// Keeps the kernel's registration of the memory mapped.
    umem: Umem,
    memory: Rc<OwnedFd>,
    sockets: Vec<HeldSocket>,
    zero_copy: bool,
}

/// See the module.
pub(crate) struct Held {
    program: Program,
    /// Descriptors of the program and its maps, to hand out.
    program_fd: Rc<OwnedFd>,
    maps: Vec<Rc<OwnedFd>>,
    configuration: Rc<OwnedFd>,
    ports: Vec<HeldPort>,
    workers: Vec<HeldWorker>,
    cores: Vec<u16>,
    spin: bool,
    stuck_seconds: u32,
    rings: RingSizes,
    mode: AttachMode,
    links: Vec<Rc<OwnedFd>>,
    /// Number of the newest socket.
    newest: u32,
    door: Door,
    /// Name of the device that keeps all from zero-copy, if one does.
    copy_because: Option<String>,
}

impl Held {
    /// Loads the program, makes memory and opens the sockets of every receive queue of the ports.
    /// Attaches nothing.
    ///
    /// # Errors
    /// [`KeeperError`]; what was made before is closed again.
    pub(crate) fn open(plan: &Plan, ports: Vec<HeldPort>) -> Result<Self, KeeperError> {
        let mode = match plan.mode {
            Mode::Generic => AttachMode::Generic,
            Mode::Auto | Mode::ZeroCopy | Mode::Copy => AttachMode::Native,
        };
        let program = sixlane_xsk::program::load().map_err(resource)?;
        for (_, port) in carriers(&ports) {
            interface::examine(&program, &port.name, port.ifindex, mode).map_err(resource)?;
        }
        let allowed = allowed_cores();
        let queues = ports.iter().map(|port| port.queues).min().unwrap_or(1);
        let cores = plan::worker_cores(&plan.workers, &allowed, queues)?;
        let spin = plan::spins(plan.idle, cores.len(), allowed.len());
        let rings = RingSizes {
            rx: plan.rings.rx,
            tx: plan.rings.tx,
            fill: plan.rings.fill,
            completion: plan.rings.completion,
        };
        let mut held = Self {
            program_fd: share(&program.fd())?,
            maps: program.maps().fds().iter().map(share).collect::<Result<_, _>>()?,
            program,
            configuration: Rc::new(sealed(plan.config_text.as_bytes()).map_err(KeeperError::Loop)?),
            ports,
            workers: Vec::new(),
            cores,
            spin,
            stuck_seconds: plan.stuck_seconds,
            rings,
            mode,
            links: Vec::new(),
            newest: 0,
            door: Door::open()?,
            copy_because: None,
        };
        held.open_workers(plan)?;
        Ok(held)
    }

    /// Makes memory and sockets of every worker, each while running on the worker's core, so that
    /// the memory is near to it.
    fn open_workers(&mut self, plan: &Plan) -> Result<(), KeeperError> {
        let before = rustix::thread::sched_getaffinity(None);
        let mut mode = match plan.mode {
            Mode::Auto => socket::Mode::Auto,
            Mode::ZeroCopy => socket::Mode::ZeroCopy,
            Mode::Copy | Mode::Generic => socket::Mode::Copy,
        };
        for worker in 0..self.cores.len() {
            run_on(self.cores[worker]);
            let (mut opened, because) = self.open_worker(worker, plan.frames, mode)?;
            for socket in &mut opened.sockets {
                self.newest += 1;
                socket.number = self.newest;
            }
            if let Some(port) = because {
                tracing::info!("all ports run in copy mode: the driver of {port} has no zero-copy");
                self.copy_because = Some(port);
                mode = socket::Mode::Copy;
            }
            self.workers.push(opened);
        }
        if let Ok(before) = before {
            let _ = rustix::thread::sched_setaffinity(None, &before);
        }
        Ok(())
    }

    /// Memory and sockets of one worker; and the port, if any, that keeps all from zero-copy.
    fn open_worker(
        &self,
        worker: usize,
        frames: Option<u32>,
        mode: socket::Mode,
    ) -> Result<(HeldWorker, Option<String>), KeeperError> {
        let queues = self.queues_of(worker);
        let targets: Vec<Target> = queues
            .iter()
            .map(|(port, queue)| {
                let port = &self.ports[usize::from(*port)];
                Target { interface: port.name.clone(), ifindex: port.ifindex, queue: u32::from(*queue) }
            })
            .collect();
        let needed = u32::try_from(queues.len()).unwrap_or(u32::MAX);
        let needed = self.rings.frames_needed().saturating_mul(needed.max(1));
        let memory = |error: std::io::Error| {
            KeeperError::Resource(format!(
                "cannot make the memory for frames of worker {worker} ({error}): lower `dataplane.frames` or free memory"
            ))
        };
        let umem = Umem::create(frames.unwrap_or(needed), Memory::Memfd).map_err(memory)?;
        let descriptor = umem.fd().ok_or_else(|| memory(std::io::ErrorKind::NotFound.into()))?;
        let descriptor = descriptor.try_clone_to_owned().map_err(memory)?;
        let opened = socket::open_worker(&umem, &targets, mode, self.rings).map_err(resource)?;
        let sockets = queues
            .into_iter()
            .zip(opened.sockets)
            .map(|((port, queue), fd)| HeldSocket { port, queue, number: 0, fd: Rc::new(fd) })
            .collect();
        let worker = HeldWorker { umem, memory: Rc::new(descriptor), sockets, zero_copy: opened.zero_copy };
        Ok((worker, opened.copy_because.map(|error| error.interface().to_owned())))
    }

    /// Port and queue of every socket of a worker: queue q belongs to worker q mod W.
    fn queues_of(&self, worker: usize) -> Vec<(u16, u16)> {
        carriers(&self.ports)
            .flat_map(|(index, port)| (0..port.queues).map(move |queue| (index, queue)))
            .filter(|(_, queue)| usize::from(*queue) % self.cores.len() == worker)
            .collect()
    }

    /// Number of workers.
    pub(crate) fn workers(&self) -> u16 {
        u16::try_from(self.workers.len()).unwrap_or(u16::MAX)
    }

    /// Text of the configuration.
    pub(crate) fn configuration(&self) -> Rc<OwnedFd> {
        Rc::clone(&self.configuration)
    }

    /// Another text of the configuration is in force.
    pub(crate) fn set_configuration(&mut self, text: Rc<OwnedFd>) {
        self.configuration = text;
    }

    /// Names of the ports.
    pub(crate) fn port_names(&self) -> Vec<String> {
        self.ports.iter().map(|port| port.name.clone()).collect()
    }

    /// The shape of everything, for a child's start number `incarnation`.
    pub(crate) fn plan_message(&self, incarnation: u32) -> protocol::Plan {
        let mut cores = [0; MAX_WORKERS];
        for (to, from) in cores.iter_mut().zip(&self.cores) {
            *to = *from;
        }
        let sockets: usize = self.workers.iter().map(|worker| worker.sockets.len()).sum();
        protocol::Plan {
            workers: self.workers(),
            ports: u16::try_from(self.ports.len()).unwrap_or(u16::MAX),
            sockets: u32::try_from(sockets).unwrap_or(u32::MAX),
            frames: self.workers.first().map_or(0, |worker| worker.umem.frames()),
            spin: u32::from(self.spin),
            incarnation,
            stuck_seconds: self.stuck_seconds,
            cores,
        }
    }

    /// The ports, as control has to know them.
    pub(crate) fn port_messages(&self) -> Vec<Port> {
        (0..).zip(&self.ports).map(|(index, _)| self.port_message(index)).collect()
    }

    /// A port, as control has to know it.
    pub(crate) fn port_message(&self, index: u16) -> Port {
        self.port(index, 0, 0)
    }

    fn port(&self, index: u16, queue: u16, worker: u16) -> Port {
        let port = &self.ports[usize::from(index)];
        let zero_copy = self.workers.iter().all(|worker| worker.zero_copy);
        let generic = self.mode == AttachMode::Generic;
        let reason = self.copy_because.as_ref() == Some(&port.name);
        Port {
            port: index,
            queue,
            worker,
            queues: port.queues,
            ifindex: port.ifindex,
            flags: if zero_copy { Port::ZERO_COPY } else { 0 }
                | if generic { Port::GENERIC } else { 0 }
                | if reason { Port::NO_ZERO_COPY } else { 0 },
            number: 0,
            rings: protocol::Rings {
                rx: self.rings.rx,
                tx: self.rings.tx,
                fill: self.rings.fill,
                completion: self.rings.completion,
            },
            name: Text::new(&port.name),
            driver: Text::new(&port.driver),
        }
    }

    /// The maps that control fills.
    pub(crate) fn maps_parcel(&self) -> Parcel {
        let link = Link { what: Link::MAPS, port: 0 };
        (Message::Link(link), self.maps.clone())
    }

    /// Everything that is held here, for the keeper that comes after this one: [`Held::adopt`] makes the
    /// same of it again. What is not in this list dies with the keeper.
    pub(crate) fn estate(&self) -> Vec<Parcel> {
        let plan = (Message::Plan(self.plan_message(0)), vec![self.configuration()]);
        let program = Link { what: Link::PROGRAM, port: 0 };
        let program = (Message::Link(program), vec![Rc::clone(&self.program_fd)]);
        let mut parcels = vec![plan, program, self.maps_parcel(), self.door_parcel()];
        parcels.extend((0..self.workers()).flat_map(|worker| self.worker_parcels(worker, None)));
        parcels.extend(self.link_parcels());
        parcels
    }

    /// The door, which control reads and writes.
    pub(crate) fn door_parcel(&self) -> Parcel {
        self.door.parcel()
    }

    /// Memory and sockets of a worker, with the segment of the one before it.
    pub(crate) fn worker_parcels(&self, worker: u16, predecessor: Option<Rc<OwnedFd>>) -> Vec<Parcel> {
        let held = &self.workers[usize::from(worker)];
        let umem =
            Segment { worker: u32::from(worker), frames: held.umem.frames(), ..Segment::new(Segment::UMEM) };
        let memory = std::iter::once(Rc::clone(&held.memory)).chain(predecessor).collect();
        let mut parcels = vec![(Message::Segment(umem), memory)];
        parcels.extend(held.sockets.iter().map(|socket| self.socket_parcel(worker, socket)));
        parcels
    }

    fn socket_parcel(&self, worker: u16, socket: &HeldSocket) -> Parcel {
        let port = Port { number: socket.number, ..self.port(socket.port, socket.queue, worker) };
        (Message::Port(port), vec![Rc::clone(&socket.fd)])
    }

    /// Whether the program is attached.
    pub(crate) fn attached(&self) -> bool {
        !self.links.is_empty()
    }

    /// Puts every socket into the program's map, for every port that it carries, then attaches the
    /// program to every device.
    ///
    /// # Errors
    /// [`KeeperError::Resource`]; ports that were attached already are detached again.
    pub(crate) fn attach(&mut self) -> Result<(), KeeperError> {
        for socket in self.workers.iter().flat_map(|worker| &worker.sockets) {
            self.feed(socket)?;
        }
        let mut links: Vec<Option<Rc<OwnedFd>>> = vec![None; self.ports.len()];
        for (index, port) in carriers(&self.ports) {
            let link = self.program.attach(&port.name, port.ifindex, self.mode).map_err(resource)?;
            links[usize::from(index)] = Some(Rc::new(link));
        }
        let carrier = |port: &HeldPort| links.get(usize::from(port.carrier)).cloned().flatten();
        self.links = self.ports.iter().filter_map(carrier).collect();
        Ok(())
    }

    /// Puts a socket into the program's map, for every port that it carries.
    fn feed(&self, socket: &HeldSocket) -> Result<(), KeeperError> {
        let HeldSocket { port, queue, fd, .. } = socket;
        self.carried(*port).try_for_each(|(index, port)| {
            let index = u8::try_from(index).unwrap_or(u8::MAX);
            self.program
                .maps()
                .set_socket(index, *queue, fd.as_fd())
                .map_err(|error| KeeperError::Resource(format!("cannot put the socket of queue {queue} of {} into the program's map ({error}): lower the number of queues with ethtool -L", port.name)))
        })
    }

    /// The ports whose frames go by the sockets of port `carrier`, with their indices.
    fn carried(&self, carrier: u16) -> impl Iterator<Item = (u16, &HeldPort)> {
        (0_u16..).zip(&self.ports).filter(move |(_, port)| port.carrier == carrier)
    }

    /// Whether a port has sockets of its own.
    pub(crate) fn carries(&self, index: u16) -> bool {
        self.ports.get(usize::from(index)).is_some_and(|port| port.carrier == index)
    }

    /// The ports on the device of port `carrier`, as control has to know them.
    pub(crate) fn carried_messages(&self, carrier: u16) -> Vec<Parcel> {
        self.carried(carrier)
            .map(|(index, _)| (Message::Port(self.port_message(index)), Vec::new()))
            .collect()
    }

    /// The links, which children hold so that the program outlives the keeper.
    pub(crate) fn link_parcels(&self) -> Vec<Parcel> {
        let parcel = |(port, link): (u32, &Rc<OwnedFd>)| {
            let message = Link { what: Link::ATTACHMENT, port };
            (Message::Link(message), vec![Rc::clone(link)])
        };
        (0..).zip(&self.links).map(parcel).collect()
    }

    /// Takes the program off every port, whoever holds a link.
    pub(crate) fn detach(&mut self) {
        let links = std::mem::take(&mut self.links);
        for (link, (index, port)) in links.iter().zip((0_u16..).zip(&self.ports)) {
            if port.carrier != index {
                continue;
            }
            if let Err(error) = interface::detach(link.as_fd()) {
                tracing::debug!("{} was detached already: {error}", port.name);
            }
        }
    }
}

fn resource(error: sixlane_xsk::diagnose::SetupError) -> KeeperError {
    KeeperError::Resource(error.to_string())
}

fn share(fd: &BorrowedFd<'_>) -> Result<Rc<OwnedFd>, KeeperError> {
    fd.try_clone_to_owned().map(Rc::new).map_err(KeeperError::Loop)
}

/// Finds the ports and looks whether they are free: while still all-powerful, because the name of a
/// program that occupies an interface is told to nobody else.
///
/// # Errors
/// The first port that is missing or occupied.
pub(crate) fn look(plan: &Plan) -> Result<Vec<HeldPort>, KeeperError> {
    let mut ports: Vec<HeldPort> =
        plan.ports.iter().map(|port| find(&port.name)).collect::<Result<_, _>>()?;
    for (port, carrier) in ports.iter_mut().zip(carrier_indices(&plan.ports)) {
        port.carrier = carrier;
    }
    for (_, port) in carriers(&ports) {
        interface::unoccupied(&port.name, port.ifindex).map_err(resource)?;
    }
    Ok(ports)
}

/// For each port the index of the port of its device whose sockets carry its frames: the one without a
/// VLAN, else the first.
fn carrier_indices(ports: &[PortPlan]) -> Vec<u16> {
    let carrier = |port: &PortPlan| {
        let mut on_device = (0_u16..).zip(ports).filter(|(_, other)| other.name == port.name);
        let untagged = on_device.clone().find(|(_, other)| other.vlan.is_none());
        untagged.or_else(|| on_device.next()).map_or(0, |(index, _)| index)
    };
    ports.iter().map(carrier).collect()
}

/// Finds an interface.
fn find(name: &str) -> Result<HeldPort, KeeperError> {
    let missing = || KeeperError::NoInterface { name: name.into() };
    let probe = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)
        .map_err(|error| KeeperError::Loop(error.into()))?;
    let ifindex = rustix::net::netdevice::name_to_index(&probe, name).map_err(|_| missing())?;
    let facts = interface::facts(name).map_err(KeeperError::Loop)?;
    Ok(HeldPort { name: name.into(), ifindex, queues: facts.queues, driver: facts.driver, carrier: 0 })
}

/// The configuration in memory that nobody can change any more.
pub(crate) fn sealed(text: &[u8]) -> std::io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = rustix::fs::memfd_create("sixlane-config", flags)?;
    let mut file = std::fs::File::from(memory);
    file.write_all(text)?;
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&file, seals)?;
    Ok(file.into())
}

/// The cores that this process may run on, lowest first.
fn allowed_cores() -> Vec<u16> {
    let Ok(set) = rustix::thread::sched_getaffinity(None) else {
        return Vec::new();
    };
    (0..u16::try_from(CpuSet::MAX_CPU).unwrap_or(u16::MAX))
        .filter(|core| set.is_set(usize::from(*core)))
        .collect()
}

/// Moves this thread to a core; where that is refused memory is only less near.
fn run_on(core: u16) {
    let mut set = CpuSet::new();
    set.set(usize::from(core));
    let _ = rustix::thread::sched_setaffinity(None, &set);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_has_one_carrier_and_it_is_the_untagged_port_if_there_is_one() {
        let port = |name: &str, vlan| PortPlan { name: name.into(), vlan };
        let plain = [port("a", None), port("b", None)];
        assert_eq!(carrier_indices(&plain), [0, 1]);
        let shared = [port("a", Some(7)), port("b", Some(7)), port("a", None), port("b", Some(8))];
        assert_eq!(carrier_indices(&shared), [2, 1, 2, 1]);
    }
}
