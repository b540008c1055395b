//! How many queues an interface has now: generic netlink, family "ethtool" (Linux
//! `include/uapi/linux/{genetlink,ethtool_netlink}.h`). A kernel without it, or a driver that knows no
//! channels, says nothing.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{self, SendFlags, SocketFlags, netlink};

use super::attribute::{RawMessage, attributes, messages};
use super::message::leading_i32;
use super::request::{message, push_attribute};
use super::socket::{BUFFER, limit_silence, open, receive};
use super::uapi::{NLM_F_ACK, NLM_F_REQUEST, NLMSG_ERROR};

/// `struct genlmsghdr`: command, version, two reserved bytes.
const HEADER_BYTES: usize = 4;
const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const ETHTOOL_MSG_CHANNELS_GET: u8 = 17;
/// Of both the attribute with the header and the header's attribute with the interface's number.
const ETHTOOL_A_CHANNELS_HEADER: u16 = 1;
const ETHTOOL_A_HEADER_DEV_INDEX: u16 = 1;
const ETHTOOL_MSG_FEATURES_GET: u8 = 11;
const ETHTOOL_A_FEATURES_ACTIVE: u16 = 4;
const ETHTOOL_A_BITSET_BITS: u16 = 3;
const ETHTOOL_A_BITSET_BITS_BIT: u16 = 1;
const ETHTOOL_A_BITSET_BIT_NAME: u16 = 2;
/// Marks an attribute that holds attributes.
const NLA_F_NESTED: u16 = 1 << 15;
const ETHTOOL_A_CHANNELS_RX_COUNT: u16 = 6;
const ETHTOOL_A_CHANNELS_COMBINED_COUNT: u16 = 9;

/// The receive queues of an interface as `ethtool -l` shows them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Channels {
    /// Queues that only receive.
    pub(crate) rx: u32,
    /// Queues that receive and send.
    pub(crate) combined: u32,
}

/// A socket that asks for them.
#[derive(Debug)]
pub(crate) struct Ethtool {
    socket: OwnedFd,
    family: u16,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Ethtool {
    /// Opens the socket and finds the family.
    ///
    /// # Errors
    /// The kernel's: `ENOENT` if it does not have the family.
    pub(crate) fn open() -> io::Result<Self> {
        let socket = open(Some(netlink::GENERIC), SocketFlags::empty(), 0)?;
        limit_silence(&socket)?;
        let mut ethtool = Self { socket, family: GENL_ID_CTRL, sequence: 0, buffer: vec![0; BUFFER] };
        let mut body = vec![CTRL_CMD_GETFAMILY, 1, 0, 0];
        push_attribute(&mut body, CTRL_ATTR_FAMILY_NAME, b"ethtool\0");
        ethtool.family = ethtool.ask(&body, family)?.ok_or(Errno::NOENT)?;
        Ok(ethtool)
    }

    /// The queues of an interface; `None` if its driver does not tell.
    ///
    /// # Errors
    /// The kernel's: `ENODEV` if there is no such interface.
    pub(crate) fn channels(&mut self, ifindex: u32) -> io::Result<Option<Channels>> {
        let mut header = Vec::new();
        push_attribute(&mut header, ETHTOOL_A_HEADER_DEV_INDEX, &ifindex.to_ne_bytes());
        let mut body = vec![ETHTOOL_MSG_CHANNELS_GET, 1, 0, 0];
        push_attribute(&mut body, ETHTOOL_A_CHANNELS_HEADER | NLA_F_NESTED, &header);
        match self.ask(&body, |payload| Some(channels(payload))) {
            Err(error) if error.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) => Ok(None),
            answer => answer,
        }
    }

    /// The features of an interface that are on, by the kernel's names (`ethtool -k` has its own for some).
    ///
    /// # Errors
    /// The kernel's: `ENODEV` if there is no such interface.
    pub(crate) fn features(&mut self, ifindex: u32) -> io::Result<Vec<String>> {
        let mut header = Vec::new();
        push_attribute(&mut header, ETHTOOL_A_HEADER_DEV_INDEX, &ifindex.to_ne_bytes());
        let mut body = vec![ETHTOOL_MSG_FEATURES_GET, 1, 0, 0];
        push_attribute(&mut body, ETHTOOL_A_CHANNELS_HEADER | NLA_F_NESTED, &header);
        self.ask(&body, |payload| Some(features(payload))).map(Option::unwrap_or_default)
    }

    /// Sends one request and reads until the kernel's verdict on it.
    fn ask<T>(&mut self, body: &[u8], mut read: impl FnMut(&[u8]) -> Option<T>) -> io::Result<Option<T>> {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        let sequence = self.sequence;
        let request = message(self.family, NLM_F_REQUEST | NLM_F_ACK, sequence, body);
        net::send(&self.socket, &request, SendFlags::empty())?;
        let mut found = None;
        loop {
            let datagram = receive(self.socket.as_fd(), &mut self.buffer)?;
            for RawMessage { header, payload } in messages(datagram) {
                if header.sequence != sequence {
                    continue;
                }
                if header.kind != NLMSG_ERROR {
                    found = read(payload).or(found);
                    continue;
                }
                return match leading_i32(payload).unwrap_or(0) {
                    0 => Ok(found),
                    errno => Err(io::Error::from_raw_os_error(errno.wrapping_neg())),
                };
            }
        }
    }
}

fn family(payload: &[u8]) -> Option<u16> {
    let found = attributes(payload.get(HEADER_BYTES..)?).find(|each| each.kind == CTRL_ATTR_FAMILY_ID)?;
    Some(u16::from_ne_bytes(found.value.try_into().ok()?))
}

fn channels(payload: &[u8]) -> Channels {
    let mut found = Channels::default();
    for attribute in attributes(payload.get(HEADER_BYTES..).unwrap_or_default()) {
        match attribute.kind {
            ETHTOOL_A_CHANNELS_RX_COUNT => found.rx = attribute.u32().unwrap_or(0),
            ETHTOOL_A_CHANNELS_COMBINED_COUNT => found.combined = attribute.u32().unwrap_or(0),
            _ => {}
        }
    }
    found
}

/// The names in the set of active features: of a set without a mask, those that stand in it.
fn features(payload: &[u8]) -> Vec<String> {
    let inside = |bytes: &[u8], kind: u16| -> Vec<Vec<u8>> {
        let all = attributes(bytes).filter(|attribute| attribute.kind == kind);
        all.map(|attribute| attribute.value.to_vec()).collect()
    };
    let mut level = vec![payload.get(HEADER_BYTES..).unwrap_or_default().to_vec()];
    for kind in [
        ETHTOOL_A_FEATURES_ACTIVE,
        ETHTOOL_A_BITSET_BITS,
        ETHTOOL_A_BITSET_BITS_BIT,
        ETHTOOL_A_BITSET_BIT_NAME,
    ] {
        level = level.iter().flat_map(|bytes| inside(bytes, kind)).collect();
    }
    let name =
        |bytes: Vec<u8>| String::from_utf8(bytes).ok().map(|text| text.trim_end_matches('\0').to_owned());
    level.into_iter().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reply as the kernel gives it for a veth with three receive queues and two that send.
    #[test]
    fn counts_are_read_and_maxima_are_not() {
        let mut reply = vec![18, 1, 0, 0];
        for (kind, value) in [(2_u16, 8_u32), (3, 8), (5, 9), (6, 3), (7, 2)] {
            reply.extend(8_u16.to_ne_bytes());
            reply.extend(kind.to_ne_bytes());
            reply.extend(value.to_ne_bytes());
        }
        assert_eq!(channels(&reply), Channels { rx: 3, combined: 0 });
        for length in 0..reply.len() {
            let cut = channels(reply.get(..length).unwrap());
            assert!(cut.rx == 3 || cut.rx == 0, "{length}");
        }
    }

    /// The kernel of the machine is asked: the loopback has no channels, and 0 is no interface.
    #[test]
    fn the_kernel_answers() {
        let mut ethtool = Ethtool::open().unwrap();
        assert_eq!(ethtool.channels(1).unwrap(), None);
        assert!(ethtool.channels(u32::MAX >> 1).is_err());
        let features = ethtool.features(1).unwrap();
        assert!(features.iter().any(|name| name == "loopback"), "fixed on the loopback: {features:?}");
        assert!(!features.iter().any(|name| name == "rx-lro"), "{features:?}");
    }
}
