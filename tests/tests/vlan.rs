//! VLAN ports against Linux's own 802.1Q and its own `sit`, in a machine of their own: the kernel that
//! builds this may have neither.

#![allow(clippy::expect_used, clippy::panic, reason = "the helpers of a test may fail it")]

use sixlane_lab::{Deadline, Host, Lab, Machine, eventually};

/// Plugs one wire: the relay's `trunk`, and at the other end the site, whose interface carries the native
/// host's VLAN besides its own.
const WORLD: [&str; 7] = [
    "for host in native site relay; do ip netns add $host && ip -n $host link set lo up && \
     ip netns exec $host sh -c 'echo 0 >/proc/sys/net/ipv6/conf/all/accept_dad; \
     echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad'; done",
    "ip -n relay link add trunk type veth peer name port netns site",
    "off='tx off rx off tso off gso off gro off rxvlan off txvlan off'; \
     ip netns exec relay ethtool -K trunk $off && ip netns exec site ethtool -K port $off",
    "ip -n relay link add link trunk name wan6 type vlan id 600 && \
     ip -n relay link add link trunk name wan4 type vlan id 40 && \
     for link in trunk wan6 wan4; do ip -n relay link set $link up; done && \
     ip -n relay addr add 2001:600::fe/64 dev wan6 nodad && ip -n relay addr add 9.254.253.252/24 dev wan4",
    "ip -n site link set port up && ip -n site link add link port name v40 type vlan id 40 && \
     ip -n site link add link port name v600 type vlan id 600 && ip -n site link set v600 netns native",
    "ip -n native link set v600 up && ip -n native addr add 2001:600::1/64 dev v600 nodad && \
     ip -n native -6 route add ::/0 via 2001:600::fe",
    "ip -n site link set v40 up && ip -n site addr add 9.254.253.7/24 dev v40 && \
     ip -n site link set sit0 up && ip -n site -6 addr add 2002:9fe:fd07::1/16 dev sit0 && \
     ip -n site -6 route add ::/0 via ::9.254.253.252 dev sit0",
];

const CONFIG: &str = "[router]\nipv6_address = \"2001:600::fe\"\n\
    [sixtofour]\nrole = \"relay\"\naddress = \"9.254.253.252\"\n";

/// A minute on an idle machine is enough for all that is waited for here.
fn soon() -> Deadline {
    Deadline::seconds(60)
}

struct Relay<'a> {
    machine: &'a mut Machine,
}

impl<'a> Relay<'a> {
    /// Starts sixlane in the machine with these ports.
    fn start(machine: &'a mut Machine, ports: &str) -> Self {
        let mut relay = Self { machine };
        relay.configure(ports);
        relay.sh("ip netns exec relay sixlane run /tmp/c.toml >/tmp/log 2>&1 & echo $! >/tmp/pid");
        let forwards = eventually("a relay that forwards", soon(), || {
            let shown = relay.shell("sixlane show status --json");
            shown.contains("\"forwarding\"").then_some(())
        });
        if forwards.is_err() {
            panic!("the relay does not forward: {}", relay.sh("cat /tmp/log"));
        }
        relay
    }

    fn configure(&mut self, ports: &str) {
        let text = format!("version = 1\n{ports}{CONFIG}").replace('\n', "\\n");
        self.sh(&format!("printf '{text}' >/tmp/c.toml"));
    }

    fn sh(&mut self, line: &str) -> String {
        self.machine.sh(line, soon()).unwrap_or_else(|error| panic!("{error}"))
    }

    fn shell(&mut self, line: &str) -> String {
        self.machine.shell(line, soon()).unwrap_or_else(|error| panic!("{error}")).text
    }

    fn json(&mut self, what: &str) -> serde_json::Value {
        let text = self.sh(&format!("sixlane show {what} --json"));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Both ways through the relay, and to the relay itself, which is its kernel's answer.
    fn carries(&mut self) {
        for (from, to) in
            [("site", "2001:600::1"), ("native", "2002:9fe:fd07::1"), ("native", "2001:600::fe")]
        {
            let answer = eventually("an answer", soon(), || {
                let shown = self.shell(&format!("ip netns exec {from} ping6 -c 1 -W 2 {to}"));
                shown.contains(" 0% packet loss").then_some(())
            });
            if answer.is_err() {
                let counters = self.shell("sixlane show counters; sixlane show drops; cat /tmp/log");
                panic!("{from} does not reach {to}: {counters}");
            }
        }
        let counters = self.json("counters");
        assert_eq!(counters["total"]["unaccounted"], 0, "{counters:#}");
        for port in counters["ports"].as_array().into_iter().flatten() {
            assert!(port["rx_packets"].as_u64() > Some(0), "each port has its own figures: {port:#}");
            assert!(port["tx_packets"].as_u64() > Some(0), "{port:#}");
            assert_eq!(port["xdp"]["no_socket"], 0, "{port:#}");
        }
    }

    /// A device that takes tags off is told of, with the command that mends it, while it does so.
    fn tells_of_an_offload(&mut self) {
        let mend = "ethtool -K trunk rxvlan off";
        for (line, wanted) in [
            ("ip netns exec relay ethtool -K trunk rxvlan on", true),
            (&*format!("ip netns exec relay {mend}"), false),
        ] {
            self.sh(line);
            let seen = eventually("an offload that is told of", soon(), || {
                let ports = self.json("ports");
                let told = |port: &serde_json::Value| port["offloads"][0]["mend"] == mend;
                let all = ports["ports"]
                    .as_array()
                    .is_some_and(|ports| ports.iter().all(|port| told(port) == wanted));
                all.then_some(())
            });
            assert!(seen.is_ok(), "{line}: {}", self.shell("sixlane show ports"));
        }
        assert!(self.shell("cat /tmp/log").contains(mend), "it is in the log too");
        let ports = self.json("ports");
        let first = &ports["ports"][0];
        assert_eq!(
            (&first["device"], &first["interface"], &first["state"]),
            (&"trunk".into(), &"wan4".into(), &"up".into())
        );
        assert_eq!((&first["vlan"], &first["no_zero_copy"]), (&40.into(), &true.into()), "{first:#}");
    }

    /// Waits until an alarm stands, or is over.
    fn expect_alarm(&mut self, name: &str, stands: bool) {
        let seen = eventually("an alarm", soon(), || {
            let shown = self.shell("sixlane show alarms --json");
            (shown.contains("\"alarms\"") && shown.contains(name) == stands).then_some(())
        });
        assert!(seen.is_ok(), "{name} should be {stands}: {}", self.shell("cat /tmp/log /tmp/next"));
    }

    /// Waits until another process has taken the place of control.
    fn control_is_other_than(&mut self, before: &serde_json::Value) {
        let other = eventually("another control", soon(), || {
            let shown: serde_json::Value =
                serde_json::from_str(&self.shell("sixlane show status --json")).ok()?;
            (shown["pid"] != *before && shown["dataplane"] == "forwarding").then_some(())
        });
        assert!(other.is_ok(), "{}", self.shell("cat /tmp/log"));
    }

    /// The kernel's interface of one VLAN goes alone, and comes again; control dies in between.
    fn outlives_its_vlan_interface(&mut self) {
        self.sh("ip -n relay link del wan6");
        self.expect_alarm("port_unfit", true);
        let control = self.json("status")["pid"].clone();
        self.sh(&format!("kill -9 {control}"));
        self.control_is_other_than(&control);
        self.expect_alarm("port_unfit", true);
        self.sh(
            "ip -n relay link add link trunk name wan6 type vlan id 600 && ip -n relay link set wan6 up && \
             ip -n relay addr add 2001:600::fe/64 dev wan6 nodad",
        );
        self.expect_alarm("port_unfit", false);
        self.carries();
    }

    /// The device of two ports goes with both VLANs, and is made again. The keeper dies while it is away, and
    /// the next one while it is on its way back.
    fn outlives_its_device(&mut self) {
        self.sh("ip -n relay link del trunk");
        self.expect_alarm("port_unfit", true);
        self.next_keeper();
        for line in &WORLD[1..6] {
            self.sh(line);
        }
        self.sh("ip -n site link set v40 up && ip -n site addr add 9.254.253.7/24 dev v40");
        self.next_keeper();
        self.expect_alarm("port_unfit", false);
        self.carries();
    }

    fn next_keeper(&mut self) {
        self.sh("kill -9 $(cat /tmp/pid); while [ -d /proc/$(cat /tmp/pid) ]; do usleep 50000; done");
        self.sh("ip netns exec relay sixlane run /tmp/c.toml >/tmp/next 2>&1 & echo $! >/tmp/pid");
        let taken = eventually("a keeper that takes over", soon(), || {
            self.shell("cat /tmp/next").contains("the data plane (pid").then_some(())
        });
        assert!(taken.is_ok(), "{}", self.shell("cat /tmp/log /tmp/next"));
    }

    fn stop(mut self) {
        self.sh("kill $(cat /tmp/pid); while [ -d /proc/$(cat /tmp/pid) ]; do usleep 50000; done");
    }
}

/// Two VLANs of one device, one of them with two tags behind it for the kernel; then one VLAN and the
/// untagged frames of the same device; then a VLAN that the kernel has not.
#[test]
fn vlans_of_one_device_are_ports_by_themselves() {
    let lab = Lab::new().expect("a laboratory");
    let host: Host = lab.host("machine").expect("a namespace");
    let mut machine = Machine::boot(&lab, &host).unwrap_or_else(|error| panic!("{error}"));
    for line in WORLD {
        machine.sh(line, soon()).unwrap_or_else(|error| panic!("{error}"));
    }
    let two = "[[port]]\nname = \"trunk\"\nvlan = 40\n[[port]]\nname = \"trunk\"\nvlan = 600\n";
    let mut relay = Relay::start(&mut machine, two);
    relay.carries();
    relay.tells_of_an_offload();
    // Two tags are the kernel's: VLAN 7 inside VLAN 600, on both sides.
    relay.sh(
        "ip -n native link add link v600 name q7 type vlan id 7 && ip -n native link set q7 up && \
         ip -n native addr add fd00:7::1/64 dev q7 nodad && ip -n relay link add link wan6 name q7 type vlan id 7 && \
         ip -n relay link set q7 up && ip -n relay addr add fd00:7::2/64 dev q7 nodad && \
         ip netns exec native ping6 -c 1 -W 5 fd00:7::2",
    );
    relay.outlives_its_vlan_interface();
    relay.outlives_its_device();
    relay.stop();

    let machine = &mut machine;
    let moved = "ip -n relay addr del 9.254.253.252/24 dev wan4 && ip -n relay addr add 9.254.253.252/24 dev trunk && \
        ip -n site addr del 9.254.253.7/24 dev v40 && ip -n site addr add 9.254.253.7/24 dev port";
    machine.sh(moved, soon()).unwrap_or_else(|error| panic!("{error}"));
    let mixed = "[[port]]\nname = \"trunk\"\nvlan = 600\n[[port]]\nname = \"trunk\"\n";
    let mut relay = Relay::start(machine, mixed);
    relay.carries();
    let shown = relay.json("status");
    let names: Vec<_> = shown["ports"].as_array().into_iter().flatten().map(|port| &port["name"]).collect();
    assert_eq!(names, ["trunk.600", "trunk"]);
    relay.stop();

    let mut relay = Relay { machine };
    relay.configure("[[port]]\nname = \"trunk\"\n[[port]]\nname = \"trunk\"\nvlan = 601\n");
    let refused = relay.shell("ip netns exec relay sixlane run /tmp/c.toml");
    assert!(refused.contains("ip link add link trunk name trunk.601 type vlan id 601"), "{refused}");
}
