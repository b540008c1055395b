//! Holding again what another keeper held: out of the list of [`Held::estate`], which control has kept
//! meanwhile. Control is not the keeper's equal, so every descriptor is looked at before it is used.

use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use sixlane_xsk::maps::Maps;
use sixlane_xsk::program::{AttachMode, Program};
use sixlane_xsk::socket::{self, RingSizes};
use sixlane_xsk::{Umem, interface};

use super::{Held, HeldPort, HeldSocket, HeldWorker, carrier_indices, share};
use crate::adopt::{AdoptError, Found};
use crate::door::Door;
use crate::plan::PortPlan;
use crate::protocol::{self, Link, MAX_WORKERS, Message, Port, Segment};

/// Most ports, as everywhere.
const PORTS_MAX: usize = 64;

/// The parcels by what they are.
#[derive(Default)]
struct Sorted {
    plan: Option<(protocol::Plan, OwnedFd)>,
    program: Option<OwnedFd>,
    maps: Option<Maps>,
    memories: Vec<(Segment, OwnedFd)>,
    sockets: Vec<(Port, OwnedFd)>,
    links: Vec<(u32, OwnedFd)>,
    door: Option<(OwnedFd, u32)>,
}

impl Sorted {
    /// Takes a parcel; gives back what is not of this list.
    fn take(&mut self, message: Message, mut fds: Vec<OwnedFd>) -> Result<Option<Found>, AdoptError> {
        let mut one = || fds.pop().ok_or(AdoptError::Lacks("a descriptor"));
        match message {
            Message::Plan(plan) => self.plan = Some((plan, one()?)),
            Message::Port(port) => self.sockets.push((port, one()?)),
            Message::Segment(segment) if segment.what == Segment::UMEM => {
                self.memories.push((segment, one()?));
            }
            Message::Link(link) => match link.what {
                Link::PROGRAM => self.program = Some(one()?),
                Link::ATTACHMENT => self.links.push((link.port, one()?)),
                Link::DOOR => self.door = Some((one()?, link.port)),
                Link::MAPS => {
                    let fds = fds.try_into().map_err(|_| AdoptError::Lacks("the program's maps"))?;
                    self.maps = Some(Maps::from_fds(fds).map_err(AdoptError::Descriptor)?);
                }
                _ => return Ok(Some((message, fds))),
            },
            _ => return Ok(Some((message, fds))),
        }
        Ok(None)
    }
}

impl Held {
    /// Makes of the list what it was made of; `plan_ports` are the ports of the configuration, which is the
    /// same as before. Gives back the parcels that are not of this list.
    ///
    /// # Errors
    /// [`AdoptError`]: something is missing, or is not what it is said to be.
    pub(crate) fn adopt(
        plan_ports: &[PortPlan],
        parcels: Vec<Found>,
    ) -> Result<(Self, Vec<Found>), AdoptError> {
        let mut sorted = Sorted::default();
        let mut rest = Vec::new();
        for (message, fds) in parcels {
            rest.extend(sorted.take(message, fds)?);
        }
        let lacks = AdoptError::Lacks;
        let (plan, configuration) = sorted.plan.ok_or(lacks("the plan"))?;
        let program = sorted.program.ok_or(lacks("the program"))?;
        let maps = sorted.maps.ok_or(lacks("the program's maps"))?;
        let (door, ifindex) = sorted.door.ok_or(lacks("the door"))?;
        let (port_count, worker_count) = (usize::from(plan.ports), usize::from(plan.workers));
        if !(1..=PORTS_MAX).contains(&port_count) || !(1..=MAX_WORKERS).contains(&worker_count) {
            return Err(AdoptError::Lacks("a plan with usable numbers"));
        }
        let first = sorted.sockets.first().map(|(port, _)| *port).ok_or(lacks("the sockets"))?;
        let newest = sorted.sockets.iter().map(|(port, _)| port.number).max().unwrap_or(0);
        let reason = sorted.sockets.iter().find(|(port, _)| port.flags & Port::NO_ZERO_COPY != 0);
        let held = Self {
            newest,
            copy_because: reason.map(|(port, _)| port.name.get()),
            program_fd: share(&program.as_fd()).map_err(|_| lacks("room for descriptors"))?,
            maps: maps.fds().iter().map(share).collect::<Result<_, _>>().map_err(|_| lacks("maps"))?,
            program: Program::from_parts(program, maps),
            configuration: Rc::new(configuration),
            ports: ports(port_count, &carrier_indices(plan_ports), &sorted.sockets)?,
            workers: workers(plan, sorted.memories, sorted.sockets)?,
            cores: plan.cores[..worker_count].to_vec(),
            spin: plan.spin != 0,
            stuck_seconds: plan.stuck_seconds,
            rings: RingSizes {
                rx: first.rings.rx,
                tx: first.rings.tx,
                fill: first.rings.fill,
                completion: first.rings.completion,
            },
            mode: if first.flags & Port::GENERIC == 0 { AttachMode::Native } else { AttachMode::Generic },
            links: links(port_count, sorted.links)?,
            door: Door::adopt(door, ifindex).map_err(AdoptError::Descriptor)?,
        };
        Ok((held, rest))
    }

    /// Text of the configuration that is in force, as far as it can be read.
    pub(crate) fn configuration_text(&self) -> Option<String> {
        use std::os::unix::fs::FileExt;
        let file = std::fs::File::from(self.configuration.try_clone().ok()?);
        let mut text = vec![0; usize::try_from(file.metadata().ok()?.len()).ok()?];
        file.read_exact_at(&mut text, 0).ok()?;
        String::from_utf8(text).ok()
    }
}

/// Every port that carries others or itself has at least one socket, whose record tells of its device.
fn ports(count: usize, carriers: &[u16], sockets: &[(Port, OwnedFd)]) -> Result<Vec<HeldPort>, AdoptError> {
    let of = |&carrier: &u16| {
        let (port, _) = sockets
            .iter()
            .find(|(port, _)| port.port == carrier)
            .ok_or(AdoptError::Lacks("a port's sockets"))?;
        Ok(HeldPort {
            name: port.name.get(),
            ifindex: port.ifindex,
            queues: port.queues,
            driver: port.driver.get(),
            carrier,
        })
    };
    if carriers.len() != count {
        return Err(AdoptError::Lacks("the ports of its configuration"));
    }
    carriers.iter().map(of).collect()
}

fn workers(
    plan: protocol::Plan,
    memories: Vec<(Segment, OwnedFd)>,
    sockets: Vec<(Port, OwnedFd)>,
) -> Result<Vec<HeldWorker>, AdoptError> {
    let beyond = |(port, _): &(Port, OwnedFd)| port.port >= plan.ports || port.worker >= plan.workers;
    if u32::try_from(sockets.len()) != Ok(plan.sockets) || sockets.iter().any(beyond) {
        return Err(AdoptError::Lacks("the sockets of its plan"));
    }
    let mut workers = Vec::new();
    for (number, (segment, memory)) in (0..).zip(memories) {
        if segment.worker != number {
            return Err(AdoptError::Lacks("the memory of a worker"));
        }
        let shared = memory.try_clone().map_err(AdoptError::Descriptor)?;
        let umem = Umem::attach(memory, segment.frames).map_err(AdoptError::Descriptor)?;
        workers.push(HeldWorker { umem, memory: Rc::new(shared), sockets: Vec::new(), zero_copy: false });
    }
    if workers.len() != usize::from(plan.workers) {
        return Err(AdoptError::Lacks("the memory of its workers"));
    }
    for (port, socket) in sockets {
        let zero_copy = socket::is_zero_copy(socket.as_fd()).map_err(AdoptError::Descriptor)?;
        if let Some(worker) = workers.get_mut(usize::from(port.worker)) {
            worker.zero_copy = zero_copy;
            let Port { port, queue, number, .. } = port;
            worker.sockets.push(HeldSocket { port, queue, number, fd: Rc::new(socket) });
        }
    }
    Ok(workers)
}

/// One link for each port, in their order.
fn links(count: usize, links: Vec<(u32, OwnedFd)>) -> Result<Vec<Rc<OwnedFd>>, AdoptError> {
    let mut found = Vec::new();
    for (number, (port, link)) in (0..).zip(links) {
        if port != number {
            return Err(AdoptError::Lacks("the links of its ports"));
        }
        interface::attached_by(link.as_fd()).map_err(AdoptError::Descriptor)?;
        found.push(Rc::new(link));
    }
    if found.len() != count {
        return Err(AdoptError::Lacks("the links of its ports"));
    }
    Ok(found)
}
