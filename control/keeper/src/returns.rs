//! Ports whose interfaces were deleted and made again, on their way back.
//!
//! Control sees an interface of the name → the keeper opens sockets → the data plane works with them → the
//! program is attached, last, and control is told. Whoever dies in between is started again with the new
//! sockets, so a new data plane is an answer for all of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::protocol::{Message, PortReturned, Ready, Text};
use crate::store::Parcel;

/// The queues of each port that the data plane has not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Returns {
    waiting: BTreeMap<u16, BTreeSet<u16>>,
}

impl Returns {
    /// The sockets of a port are on their way to the data plane.
    pub(crate) fn begin(&mut self, port: u16, sockets: &[Parcel]) {
        let queue = |(message, _): &Parcel| match message {
            Message::Port(port) => Some(port.queue),
            _ => None,
        };
        self.waiting.insert(port, sockets.iter().filter_map(queue).collect());
    }

    /// The data plane works with a socket. Gives the port when it has all of them.
    pub(crate) fn taken(&mut self, returned: PortReturned) -> Option<u16> {
        let queues = self.waiting.get_mut(&returned.port)?;
        queues.remove(&returned.queue);
        queues.is_empty().then(|| self.waiting.remove(&returned.port))?.map(|_| returned.port)
    }

    /// A new data plane has all sockets. Gives the ports that waited.
    pub(crate) fn all(&mut self) -> Vec<u16> {
        std::mem::take(&mut self.waiting).into_keys().collect()
    }

    /// The data plane has all sockets of a port, but the program could not be attached.
    pub(crate) fn unattached(&mut self, port: u16) {
        self.waiting.insert(port, BTreeSet::new());
    }

    /// How many sockets of a port the data plane lacks; `None`: the port is not on its way.
    pub(crate) fn lacks(&self, port: u16) -> Option<usize> {
        self.waiting.get(&port).map(BTreeSet::len)
    }
}

/// The news that the interface that is there now cannot be the port.
pub(crate) fn refused(port: u16, why: &str) -> Message {
    Message::Ready(Ready { index: u32::from(port), text: Text::new(why), ..Ready::new(Ready::PORT_REFUSED) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_back_when_its_last_queue_is_taken_or_the_data_plane_is_new() {
        let mut returns = Returns::default();
        assert_eq!(returns.taken(PortReturned { port: 1, queue: 0 }), None);
        returns.waiting.insert(1, BTreeSet::from([0, 1]));
        assert_eq!(returns.taken(PortReturned { port: 1, queue: 1 }), None);
        assert_eq!(returns.lacks(1), Some(1));
        assert_eq!(returns.taken(PortReturned { port: 1, queue: 0 }), Some(1));
        assert_eq!(returns.lacks(1), None);
        returns.unattached(1);
        assert_eq!((returns.lacks(1), returns.all()), (Some(0), vec![1]));
        returns.waiting.insert(2, BTreeSet::from([0]));
        assert_eq!(returns.all(), [2]);
        assert_eq!(returns.all(), []);
    }
}
