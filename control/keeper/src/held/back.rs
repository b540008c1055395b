//! A port whose interface was deleted and made again: other sockets on the memory that is there.
//!
//! Sockets of a deleted interface are dead for ever. Those of the same worker on other interfaces live on,
//! and a new socket joins them (`XDP_SHARED_UMEM`); where none lives the memory is registered anew. A
//! queue that the new interface lacks keeps its dead socket: places never move, because the ledgers of the
//! workers go by them.

use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use rustix::net::netdevice::index_to_name;
use rustix::net::{AddressFamily, SocketType};
use sixlane_xsk::interface;
use sixlane_xsk::socket::{self, Target};

use super::{Held, HeldPort, HeldSocket, HeldWorker, find, resource, run_on};
use crate::error::KeeperError;
use crate::store::Parcel;

impl Held {
    /// Opens sockets for a port whose interface was deleted, if there is another of its name. Gives what
    /// the data plane has to get; nothing when the port is as it should be.
    ///
    /// # Errors
    /// One sentence: the interface that is there now cannot be this port.
    pub(crate) fn reopen(&mut self, index: u16) -> Result<Vec<Parcel>, KeeperError> {
        let Some(port) = self.ports.get(usize::from(index)) else { return Ok(Vec::new()) };
        if exists(port.ifindex)? {
            return Ok(Vec::new());
        }
        let found = find(&port.name)?;
        interface::examine(&self.program, &found.name, found.ifindex, self.mode).map_err(resource)?;
        let queues = self.queues_again(index, &found)?;
        let before = rustix::thread::sched_getaffinity(None);
        let opened = self.open_again(index, &found);
        if let Ok(before) = before {
            let _ = rustix::thread::sched_setaffinity(None, &before);
        }
        opened?;
        for port in self.ports.iter_mut().filter(|port| port.carrier == index) {
            let HeldPort { name, ifindex, driver, .. } = &found;
            *port = HeldPort {
                name: name.clone(),
                ifindex: *ifindex,
                driver: driver.clone(),
                queues,
                carrier: index,
            };
        }
        Ok(self.socket_parcels(index))
    }

    /// How many queues of the interface get a socket: at most as many as have a place.
    fn queues_again(&self, index: u16, found: &HeldPort) -> Result<u16, KeeperError> {
        let own = |socket: &HeldSocket| (socket.port == index).then_some(socket.queue);
        let has = |worker: &&HeldWorker| worker.sockets.iter().any(|socket| own(socket).is_some());
        let workers = self.workers.iter().filter(has).count();
        if usize::from(found.queues) < workers {
            return Err(KeeperError::Resource(format!(
                "{name} has been made again with {} receive queues, and each of the {workers} workers needs one \
                 to send by it: `ethtool -L {name} combined {workers}`",
                found.queues,
                name = found.name,
            )));
        }
        let last = self.workers.iter().flat_map(|worker| &worker.sockets).filter_map(own).max();
        Ok(found.queues.min(last.map_or(0, |last| last + 1)))
    }

    /// The sockets of a port, for the data plane: those of the queues that its interface has now.
    pub(crate) fn socket_parcels(&self, index: u16) -> Vec<Parcel> {
        let queues = self.ports.get(usize::from(index)).map_or(0, |port| port.queues);
        let workers = (0_u16..).zip(&self.workers);
        let sockets =
            workers.flat_map(|(worker, held)| held.sockets.iter().map(move |socket| (worker, socket)));
        let own = sockets.filter(|(_, socket)| socket.port == index && socket.queue < queues);
        own.map(|(worker, socket)| self.socket_parcel(worker, socket)).collect()
    }

    /// Opens the sockets of all workers; none is kept unless all can be had.
    fn open_again(&mut self, index: u16, found: &HeldPort) -> Result<(), KeeperError> {
        let mut opened: Vec<(usize, usize, OwnedFd)> = Vec::new();
        for (worker, held) in self.workers.iter().enumerate() {
            run_on(self.cores[worker]);
            for (at, socket) in held.sockets.iter().enumerate() {
                if socket.port != index || socket.queue >= found.queues {
                    continue;
                }
                let target = Target {
                    interface: found.name.clone(),
                    ifindex: found.ifindex,
                    queue: u32::from(socket.queue),
                };
                let fresh = opened.iter().filter(|(other, ..)| *other == worker).map(|(.., fd)| fd.as_fd());
                let others: Vec<_> =
                    held.sockets.iter().map(|socket| socket.fd.as_fd()).chain(fresh).collect();
                let fd = socket::open_beside(&held.umem, &target, &others, held.zero_copy, self.rings);
                opened.push((worker, at, fd.map_err(resource)?));
            }
        }
        for (worker, at, fd) in opened {
            self.newest += 1;
            let socket = &mut self.workers[worker].sockets[at];
            (socket.number, socket.fd) = (self.newest, Rc::new(fd));
        }
        Ok(())
    }

    /// Puts the new sockets of a port into the program's map and attaches the program to its interface.
    ///
    /// # Errors
    /// [`KeeperError::Resource`].
    pub(crate) fn attach_again(&mut self, index: u16) -> Result<(), KeeperError> {
        let place = usize::from(index);
        let Some(port) = self.ports.get(place) else { return Ok(()) };
        for socket in self.workers.iter().flat_map(|worker| &worker.sockets) {
            if socket.port == index && socket.queue < port.queues {
                self.feed(socket)?;
            }
        }
        let link = self.program.attach(&port.name, port.ifindex, self.mode).map_err(resource)?;
        let link = Rc::new(link);
        for (held, port) in self.links.iter_mut().zip(&self.ports) {
            if port.carrier == index {
                *held = Rc::clone(&link);
            }
        }
        Ok(())
    }
}

impl Held {
    /// Whether the program is attached to the interface that the port has now.
    pub(crate) fn attached_at(&self, index: u16) -> bool {
        let place = usize::from(index);
        let found = self.links.get(place).zip(self.ports.get(place));
        found.is_some_and(|(link, port)| interface::attached_to(link.as_fd()).ok() == Some(port.ifindex))
    }
}

/// Whether there is an interface of this number, under whatever name.
fn exists(ifindex: u32) -> Result<bool, KeeperError> {
    let probe = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None)
        .map_err(|error| KeeperError::Loop(error.into()))?;
    Ok(index_to_name(&probe, ifindex).is_ok())
}
