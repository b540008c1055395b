//! Ports that go and come while a worker turns: an interface is deleted, and made again.
//!
//! A deleted interface leaves a dead socket: sending says so, and once a second each port is asked. The
//! worker then takes its frames back and turns on with the others; what is routed to the port is dropped as
//! `port_down`. When the interface has been made again the keeper opens another socket on the same frames,
//! and the worker takes it between two turns.

use crate::mailbox::{FreshSocket, Mailbox};
use crate::port::{Port, XdpPort};
use crate::worker::Worker;
use sixlane_xsk::{Parting, Queue, Seat};

impl<'a> Worker<'a, XdpPort<'a>> {
    /// Gives up every port whose interface was deleted.
    #[cold]
    pub(crate) fn part_with_lost(&mut self, mailbox: &Mailbox) {
        self.port_lost = false;
        let mut at = 0;
        while let Some(port) = self.ports.get(at) {
            if port.queue().gone() { self.part_with(at, mailbox) } else { at += 1 }
        }
    }

    /// Takes every socket that was left. One for a place whose socket still works is not taken: its frames
    /// are the kernel's.
    #[cold]
    pub(crate) fn take_sockets(&mut self, mailbox: &Mailbox) {
        while let Some(FreshSocket { socket, port, number, rings }) = mailbox.take_socket() {
            if let Some(at) = self.ports.iter().position(|port| port.queue().socket() == socket) {
                self.part_with(at, mailbox);
            }
            if let Some(port) = self.ports.iter().find(|port| port.queue().socket() == socket) {
                if port.queue().number() == number {
                    mailbox.socket_taken(number);
                }
                mailbox.give_back_rings(rings);
                continue;
            }
            let Some(seat) = Seat::of(self.segment.intents(), socket) else {
                mailbox.give_back_rings(rings);
                continue;
            };
            self.ports.push(XdpPort::new(Queue::begin(rings, seat, number), port));
            self.ports_changed();
            mailbox.socket_taken(number);
        }
    }

    /// Gives up one port if its interface was deleted.
    fn part_with(&mut self, at: usize, mailbox: &Mailbox) {
        // The order of the ports means nothing.
        let port = self.ports.swap_remove(at);
        let index = port.index();
        match port.into_queue().give_up(&mut self.pool) {
            Parting::Dead(rings) => mailbox.give_back_rings(rings),
            Parting::Alive(queue) => self.ports.push(XdpPort::new(queue, index)),
        }
        self.ports_changed();
    }
}
