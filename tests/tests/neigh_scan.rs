//! ND-10, D5: a scan of a connected prefix. What is known goes on, what is asked for besides is answered, and
//! the kernel's table of neighbours stays below a quarter of its size (RFC 6583).

#![allow(clippy::expect_used, clippy::panic, reason = "the helpers of a test may fail it")]

use sixlane_lab::socket::{Port, address};
use sixlane_lab::stream::{Pace, Stream, Way};
use sixlane_lab::{Deadline, FarEnd, Host, eventually, packet};
use sixlane_tests::{Running, dropped, two_native_sides};
use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddrV6, TcpListener, TcpStream};
use std::time::Duration;

/// A quarter of the kernel's default `gc_thresh3`, the size of its table.
const QUARTER: usize = 256;
/// Behind the router `core`, which is on the scanned link.
const FAR: Ipv6Addr = Ipv6Addr::new(0x2001, 0x7aa, 0, 0, 0, 0, 0, 1);
/// An address on the other link that nobody has spoken to yet; deprecated, so that nobody speaks from it.
const QUIET: &str = "2001:600::77";

/// Sends to one address of 2001:601::/64 after the other.
struct Scanner {
    port: Port,
    next: u16,
}

impl Scanner {
    fn scan(&mut self, count: u16) {
        for _ in 0..count {
            self.next += 1;
            let to = Ipv6Addr::new(0x2001, 0x601, 0, 0, 0, 0, 1, self.next);
            let bytes = packet::udp6((address::HOST6, 4000), (to, 4000), b"anybody?");
            self.port.send6(&bytes, to, 0).expect("sent");
        }
    }
}

/// Entries of the kernel's table for hosts, in whatever state.
fn entries(relay: &Host) -> usize {
    let shown = relay.ip("-6 neigh show nud all").expect("neighbours");
    shown.lines().filter(|line| !line.contains("NOARP")).count()
}

/// A connection that can be asked whether it still works.
struct Session {
    client: TcpStream,
    server: TcpStream,
}

impl Session {
    fn open(client: &Host, server: &Host, address: Ipv6Addr) -> Self {
        let address = SocketAddrV6::new(address, 4179, 0, 0);
        let listener = server.within(|| TcpListener::bind(address)).expect("inside").expect("listening");
        let connect = || TcpStream::connect_timeout(&address.into(), Duration::from_secs(10));
        let client = client.within(connect).expect("inside").expect("connected");
        let (server, _) = listener.accept().expect("accepted");
        server.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
        Self { client, server }
    }

    fn works(&mut self) {
        let mut arrived = [0; 8];
        self.client.write_all(b"keepalive"[..8].as_ref()).expect("written");
        self.server.read_exact(&mut arrived).expect("the session still works");
    }
}

#[test]
fn a_scan_costs_neither_traffic_nor_sessions_nor_the_kernels_table() {
    let lab = Running::build(two_native_sides(), FarEnd::RawSocket).expect("a running relay");
    let host = |name: &str| lab.world.host(name).expect("a host").clone();
    let (native, relay, core) = (host("host6"), host("relay"), host("core"));
    core.ip(&format!("addr add {FAR}/128 dev lo nodad")).expect("an address behind the router");
    relay.ip("-6 route add 2001:7aa::/32 via 2001:601::1").expect("a route");
    native.ip(&format!("addr add {QUIET}/64 dev eth0 nodad preferred_lft 0")).expect("a second address");
    let pace = Pace { rate: 2_000, ..Pace::default() };
    let stream = Stream::start_at(&lab.world, (&core, FAR), Way::Native, pace).expect("sockets");
    let mut through = Session::open(&native, &core, FAR);
    let mut own = Session::open(&core, &relay, "2001:601::fe".parse().expect("an address"));
    let mut scanner = Scanner { port: Port::forger6(&native).expect("a raw socket"), next: 0 };

    // The stream is the clock: two addresses are scanned for each of its packets.
    let mut most = 0;
    for round in 0..200 {
        scanner.scan(20);
        stream.progress(10, Deadline::seconds(10)).expect("flows");
        if round % 20 == 19 {
            most = most.max(entries(&relay));
            through.works();
            own.works();
        }
    }
    assert!((20..QUARTER).contains(&most), "{most} entries; {}", lab.relay.log());
    let tally = stream.finish().expect("stream");
    assert_eq!((tally.lost(), tally.doubled, tally.damaged), (0, 0, 0), "{tally:?}");

    // Who is asked for besides is found, and so is a gateway that was forgotten in the midst of it.
    let found = |from: &Host, to: &str, scanner: &mut Scanner| {
        eventually("an answer", Deadline::seconds(20), || {
            scanner.scan(200);
            from.run(&format!("ping -6 -n -c 1 -W 1 {to}")).ok()
        })
        .unwrap_or_else(|error| panic!("{to}: {error}; {}", lab.relay.log()));
    };
    assert!(!relay.ip("-6 neigh show dev wan6").expect("neighbours").contains(QUIET), "known before");
    found(&core, QUIET, &mut scanner);
    relay.ip("-6 neigh del 2001:601::1 dev core6").expect("forgotten");
    found(&native, &FAR.to_string(), &mut scanner);
    through.works();
    assert!(entries(&relay) < QUARTER);

    let drops = lab.relay.show_json(&["show", "drops"]).expect("drops");
    assert!(dropped(&drops, "neigh_queue") > 50 && dropped(&drops, "neigh_limit") > 1_000, "{drops:#}");
    // Nothing is left behind: addresses that did not answer are forgotten.
    eventually("the end of the dead addresses", Deadline::seconds(40), || {
        (entries(&relay) < 20).then_some(())
    })
    .unwrap_or_else(|_| panic!("{} entries are left; {}", entries(&relay), lab.relay.log()));
    lab.assert_identity();
    lab.assert_census(None);
}
