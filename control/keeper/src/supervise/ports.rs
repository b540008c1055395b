//! Ports whose interfaces were deleted and made again, on their way back ([`crate::returns`]).

use super::Supervisor;
use crate::returns;

impl Supervisor<'_> {
    /// Control sees an interface of the name of a port whose own was deleted.
    pub(super) fn port_back(&mut self, port: u16) {
        if !self.held.carries(port) {
            // Control says the same of the port whose sockets carry its frames.
            return;
        }
        match self.held.reopen(port) {
            Ok(sockets) if sockets.is_empty() => match self.returns.lacks(port) {
                Some(0) => self.attach_again(port),
                // Asked for again: the data plane may not have been able to take them.
                Some(_) => self.data_plane.send_all(self.held.socket_parcels(port)),
                // The keeper before this one had got so far.
                None if !self.held.attached_at(port) => {
                    let sockets = self.held.socket_parcels(port);
                    self.returns.begin(port, &sockets);
                    self.data_plane.send_all(sockets);
                }
                // Control, which is new, has not heard of it.
                None => self.control.send_all(self.held.carried_messages(port)),
            },
            Ok(sockets) => {
                self.returns.begin(port, &sockets);
                self.data_plane.send_all(sockets);
            }
            Err(error) => self.control.send(returns::refused(port, &error.to_string()), Vec::new()),
        }
    }

    /// The data plane has the sockets of a port that is back: the program is attached, last of all.
    pub(super) fn attach_again(&mut self, port: u16) {
        match self.held.attach_again(port) {
            Ok(()) => {
                let name = self.held.port_names().into_iter().nth(usize::from(port)).unwrap_or_default();
                tracing::info!("{name} is back: its interface has been made again");
                self.control.send_all(self.held.link_parcels());
                self.data_plane.send_all(self.held.link_parcels());
                self.control.send_all(self.held.carried_messages(port));
            }
            Err(error) => {
                self.returns.unattached(port);
                self.control.send(returns::refused(port, &error.to_string()), Vec::new());
            }
        }
    }
}
