//! Runs the loaded program on single frames.
#![allow(unsafe_code)] // BPF_PROG_TEST_RUN takes addresses

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use sixlane_xsk::program::{Program, load};
use sixlane_xsk::uapi::{Port, SERVES_SIXINFOUR, SERVES_TEREDO, XdpCounters};

use crate::packets::{OUR_MAC, OWN, OWN_SERVED, RELAY, TEREDO_RELAY};

/// Test runs appear to come from the loopback interface, queue 0.
pub(crate) const LOOPBACK: u32 = 1;
/// Number of the port that the program is told of.
pub(crate) const PORT: u8 = 3;

pub(crate) const XDP_DROP: u32 = 1;
pub(crate) const XDP_PASS: u32 = 2;
pub(crate) const XDP_REDIRECT: u32 = 4;

/// A loaded program with the sets of the tests.
pub(crate) struct Runner {
    pub(crate) program: Program,
    socket: Option<OwnedFd>,
    output: Vec<u8>,
}

impl Runner {
    /// One untagged port, the relay addresses, own addresses and 2002::/16; no socket.
    pub(crate) fn new(flags: u8) -> Self {
        let program = load().expect("these tests need root");
        let maps = program.maps();
        maps.set_port(LOOPBACK, None, Port { index: PORT, flags, mac: OUR_MAC }).unwrap();
        maps.add_relay4(RELAY, SERVES_SIXINFOUR).unwrap();
        maps.add_relay4(TEREDO_RELAY, SERVES_TEREDO).unwrap();
        maps.add_local6(OWN).unwrap();
        maps.add_local6(OWN_SERVED).unwrap();
        maps.add_served6("2002::".parse().unwrap(), 16).unwrap();
        Self { program, socket: None, output: vec![0; 16384] }
    }

    /// The same with a socket for queue 0 of the port.
    pub(crate) fn with_socket(flags: u8) -> Self {
        let mut runner = Self::new(flags);
        let socket = socket_with(AddressFamily::XDP, SocketType::RAW, SocketFlags::CLOEXEC, None).unwrap();
        runner.program.maps().set_socket(PORT, 0, socket.as_fd()).unwrap();
        runner.socket = Some(socket);
        runner
    }

    /// Lets the socket of the port serve another port too.
    pub(crate) fn share_socket(&mut self, port: u8) {
        let socket = self.socket.as_ref().unwrap();
        self.program.maps().set_socket(port, 0, socket.as_fd()).unwrap();
    }

    /// Makes the port one of tagged frames.
    pub(crate) fn move_to_vlan(&mut self, vlan: u16) {
        let maps = self.program.maps();
        let key = maps.ports.keys().unwrap().remove(0);
        let port = maps.ports.get(&key).unwrap().unwrap();
        maps.ports.remove(&key).unwrap();
        maps.set_port(LOOPBACK, Some(vlan), port).unwrap();
    }

    /// What the program answers to one frame of at least 14 bytes.
    pub(crate) fn run(&mut self, frame: &[u8]) -> u32 {
        let mut options = libbpf_sys::bpf_test_run_opts {
            sz: size_of::<libbpf_sys::bpf_test_run_opts>() as libbpf_sys::size_t,
            data_in: frame.as_ptr().cast(),
            data_size_in: u32::try_from(frame.len()).unwrap(),
            data_out: self.output.as_mut_ptr().cast(),
            data_size_out: u32::try_from(self.output.len()).unwrap(),
            repeat: 1,
            ..Default::default()
        };
        // SAFETY: both buffers outlive the call and have the sizes given.
        let code =
            unsafe { libbpf_sys::bpf_prog_test_run_opts(self.program.fd().as_raw_fd(), &raw mut options) };
        assert_eq!(code, 0, "test run of {} bytes: {}", frame.len(), std::io::Error::last_os_error());
        let left = &self.output[..options.data_size_out as usize];
        assert_eq!(left, frame, "the program changed the frame");
        options.retval
    }

    /// Counters of the port.
    pub(crate) fn counters(&self) -> XdpCounters {
        self.program.maps().counters(PORT.into()).unwrap()
    }

    /// Counters of frames on no port.
    pub(crate) fn counters_of_no_port(&self) -> XdpCounters {
        self.program.maps().counters(sixlane_xsk::uapi::NO_PORT).unwrap()
    }
}
