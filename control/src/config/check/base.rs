//! The sections that are about the box: workers, ports, router, budgets, processes, listeners.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;

use toml::Spanned;

use super::Judge;
use crate::config::checked::{
    Admin, Dataplane, FastPath, Forward, Fpm, Icmp, Idle, Limits, Mode, Port, Process, Router, RoutingTable,
    Workers,
};
use crate::config::raw::{self, Maybe, Text, WordOrNumber, WordOrNumbers};

/// Ports of one relay: the size of the socket table of the XDP program.
const PORTS_MAX: usize = 64;
/// Kernel routing tables that are followed.
const TABLES_MAX: usize = 64;
/// Workers of one relay.
const WORKERS_MAX: usize = 64;
/// Longest name of an interface in bytes (IFNAMSIZ with its terminator is 16).
const INTERFACE_NAME_MAX: usize = 15;
const RING_DEFAULT: u32 = 2048;
/// Errors or records beyond this are a slip of the keyboard.
const RATE_MAX: u32 = 10_000_000;
const RECORDS_MAX: u32 = 16_000_000;
const ROUTES4: u32 = 2_000_000;
const ROUTES6: u32 = 600_000;

impl Judge<'_> {
    pub(super) fn dataplane(&mut self, section: &raw::Dataplane) -> Dataplane {
        let modes = [
            ("auto", Mode::Auto),
            ("zero-copy", Mode::ZeroCopy),
            ("copy", Mode::Copy),
            ("generic", Mode::Generic),
        ];
        let idles = [("auto", Idle::Auto), ("sleep", Idle::Sleep), ("spin", Idle::Spin)];
        let fast = [("auto", FastPath::Auto), ("off", FastPath::Off)];
        let fill_ring = self.ring("dataplane.fill_ring", &section.fill_ring);
        Dataplane {
            workers: self.workers(&section.workers),
            mode: self.choice("dataplane.mode", &section.mode, &modes),
            idle: self.choice("dataplane.idle", &section.idle, &idles),
            rx_ring: self.ring("dataplane.rx_ring", &section.rx_ring),
            tx_ring: self.ring("dataplane.tx_ring", &section.tx_ring),
            fill_ring,
            completion_ring: self.ring("dataplane.completion_ring", &section.completion_ring),
            frames: section.frames.as_ref().and_then(|frames| self.frames(frames, fill_ring)),
            stuck_seconds: self.number("dataplane.stuck_seconds", &section.stuck_seconds, 0..=86_400, 1),
            fast_path: self.choice("dataplane.fast_path", &section.fast_path, &fast),
        }
    }

    fn workers(&mut self, value: &Maybe<WordOrNumbers>) -> Workers {
        let Some(value) = value else { return Workers::Auto };
        let numbers = match value.get_ref() {
            WordOrNumbers::Word(word) if word == "auto" => return Workers::Auto,
            WordOrNumbers::Word(word) => {
                self.unknown_word("dataplane.workers", value.span(), word, &["auto"]);
                return Workers::Auto;
            }
            WordOrNumbers::Numbers(numbers) => numbers,
        };
        if numbers.is_empty() || numbers.len() > WORKERS_MAX {
            let cause = format!("dataplane.workers names {} cores", numbers.len());
            self.reject(value.span(), cause, "name 1 to 64 cores, or write \"auto\"");
        }
        let mut cores = Vec::with_capacity(numbers.len());
        for &number in numbers.iter().take(WORKERS_MAX) {
            match self.in_range("dataplane.workers: core", value.span(), number, 0..=4095) {
                Some(core) if cores.contains(&core) => {
                    let cause = format!("dataplane.workers names core {core} twice");
                    self.reject(value.span(), cause, "give each worker a core of its own");
                }
                Some(core) => cores.push(core),
                None => {}
            }
        }
        Workers::Cores(cores)
    }

    fn ring(&mut self, key: &str, value: &Maybe<i64>) -> u32 {
        let size = self.number(key, value, 64..=32_768, RING_DEFAULT);
        match value {
            Some(place) if !size.is_power_of_two() => {
                let near = size.next_power_of_two();
                let cause = format!("{key} = {size} is not a power of two");
                self.reject(place.span(), cause, format!("rings of the kernel are: write {near}"));
                RING_DEFAULT
            }
            _ => size,
        }
    }

    fn frames(&mut self, value: &Spanned<i64>, fill_ring: u32) -> Option<u32> {
        let frames = self.in_range("dataplane.frames", value.span(), *value.get_ref(), 256..=4_194_304)?;
        if frames < fill_ring {
            let cause = format!("dataplane.frames = {frames} cannot even fill a fill ring of {fill_ring}");
            self.reject(value.span(), cause, "give at least as many frames, or a smaller fill_ring");
        }
        Some(frames)
    }

    pub(super) fn ports(&mut self, sections: &[Spanned<raw::Port>]) -> Vec<Port> {
        let mut seen: HashSet<(String, Option<u16>)> = HashSet::new();
        let mut ports = Vec::with_capacity(sections.len().min(PORTS_MAX));
        for section in sections {
            let Some(port) = self.port(section) else { continue };
            if !seen.insert((port.name.clone(), port.vlan)) {
                let cause = format!("port {:?} is configured twice", port.name);
                let remedy = "keep one of them, or give them different VLANs";
                self.reject(section.span(), cause, remedy);
            }
            ports.push(port);
        }
        if let Some(beyond) = sections.get(PORTS_MAX) {
            let cause = format!("{} ports are more than one relay can have", sections.len());
            self.reject(beyond.span(), cause, "configure at most 64");
        }
        ports
    }

    fn port(&mut self, section: &Spanned<raw::Port>) -> Option<Port> {
        let port = section.get_ref();
        let forwards = [("tunnels", Forward::Tunnels), ("all", Forward::All)];
        let forward = self.choice("port.forward", &port.forward, &forwards);
        let vlan = port
            .vlan
            .as_ref()
            .and_then(|vlan| self.in_range("port.vlan", vlan.span(), *vlan.get_ref(), 1..=4094));
        let name = self.need(&section.span(), "port.name", &port.name)?;
        let name = self.interface("port.name", name)?;
        Some(Port { name, vlan: vlan.and_then(|vlan| u16::try_from(vlan).ok()), forward })
    }

    /// The name of an interface, by the kernel's own rule.
    fn interface(&mut self, key: &str, text: &Text) -> Option<String> {
        let name = text.get_ref();
        let lawful = (1..=INTERFACE_NAME_MAX).contains(&name.len())
            && name != "."
            && name != ".."
            && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b':');
        if !lawful {
            self.reject(
                text.span(),
                format!("{key} = {name:?} is not the name of an interface"),
                "use the name that `ip link` shows, at most 15 characters",
            );
        }
        lawful.then(|| name.clone())
    }

    pub(super) fn router(&mut self, section: &raw::Router) -> Router {
        let address = section.ipv6_address.as_ref().and_then(|text| {
            let address = self.ipv6("router.ipv6_address", text)?;
            self.unicast6("router.ipv6_address", text, address)
        });
        Router { ipv6_address: address, tables: self.tables(&section.tables) }
    }

    fn tables(&mut self, value: &Maybe<Vec<Spanned<WordOrNumber>>>) -> Vec<RoutingTable> {
        let Some(list) = value else { return vec![RoutingTable::Main] };
        if list.get_ref().is_empty() {
            self.reject(list.span(), "router.tables follows no table", "name at least one, such as \"main\"");
        }
        let mut tables = Vec::new();
        if list.get_ref().len() > TABLES_MAX {
            self.reject(list.span(), "router.tables follows more than 64 tables", "name at most 64");
        }
        for entry in list.get_ref().iter().take(TABLES_MAX) {
            let Some(table) = self.table(entry) else { continue };
            if tables.contains(&table) {
                self.reject(entry.span(), "router.tables names a table twice", "name each table once");
            }
            tables.push(table);
        }
        tables
    }

    fn table(&mut self, entry: &Spanned<WordOrNumber>) -> Option<RoutingTable> {
        match entry.get_ref() {
            WordOrNumber::Word(name) if name == "main" => Some(RoutingTable::Main),
            WordOrNumber::Number(254) => Some(RoutingTable::Main),
            WordOrNumber::Word(name) => {
                let text = Spanned::new(entry.span(), name.clone());
                self.label("router.tables", &text).map(RoutingTable::Name)
            }
            WordOrNumber::Number(number) => {
                let number = self.in_range("router.tables", entry.span(), *number, 1..=u32::MAX)?;
                Some(RoutingTable::Number(number))
            }
        }
    }

    pub(super) fn icmp(&mut self, section: &raw::Icmp) -> Icmp {
        let range = 1..=RATE_MAX;
        let errors = self.number("icmp.errors_per_second", &section.errors_per_second, range.clone(), 1000);
        let too_big = self.number(
            "icmp.packet_too_big_per_second",
            &section.packet_too_big_per_second,
            range.clone(),
            1000,
        );
        let burst = |rate: u32| (rate / 10).max(10);
        Icmp {
            errors_per_second: errors,
            errors_burst: self.number(
                "icmp.errors_burst",
                &section.errors_burst,
                range.clone(),
                burst(errors),
            ),
            packet_too_big_per_second: too_big,
            packet_too_big_burst: self.number(
                "icmp.packet_too_big_burst",
                &section.packet_too_big_burst,
                range,
                burst(too_big),
            ),
        }
    }

    pub(super) fn limits(&mut self, section: &raw::Limits) -> Limits {
        Limits {
            routes4: self.number("limits.routes4", &section.routes4, 1..=RECORDS_MAX, ROUTES4),
            routes6: self.number("limits.routes6", &section.routes6, 1..=RECORDS_MAX, ROUTES6),
            adjacencies: self.number("limits.adjacencies", &section.adjacencies, 16..=RECORDS_MAX, 65_536),
            tunnels: self.number("limits.tunnels", &section.tunnels, 1..=RECORDS_MAX, 131_072),
            domains: self.number("limits.domains", &section.domains, 1..=65_536, 1_024),
            peers: self.number("limits.peers", &section.peers, 1..=16_777_216, 1_048_576),
        }
    }

    pub(super) fn process(&mut self, section: &raw::Process) -> Process {
        Process {
            control_user: self.account("process.control_user", &section.control_user, "sixlane-control"),
            dataplane_user: self.account("process.dataplane_user", &section.dataplane_user, "sixlane-data"),
            observer_user: self.account("process.observer_user", &section.observer_user, "sixlane-observer"),
            state_directory: self.directory("process.state_directory", &section.state_directory),
        }
    }

    fn directory(&mut self, key: &str, value: &Maybe<String>) -> PathBuf {
        let default = || PathBuf::from("/var/lib/sixlane");
        value.as_ref().map_or_else(default, |text| self.path(key, text).unwrap_or_else(default))
    }

    /// An absolute path.
    pub(super) fn path(&mut self, key: &str, text: &Text) -> Option<PathBuf> {
        let path = PathBuf::from(text.get_ref());
        let lawful = path.is_absolute() && !text.get_ref().contains('\0');
        if !lawful {
            let cause = format!("{key} = {:?} is not an absolute path", text.get_ref());
            self.reject(text.span(), cause, "begin it with /");
        }
        lawful.then_some(path)
    }

    pub(super) fn admin(&mut self, section: &raw::Admin) -> Admin {
        Admin { group: self.account("admin.group", &section.group, "sixlane") }
    }

    pub(super) fn fpm(&mut self, section: &Spanned<raw::Fpm>, limits: &raw::Limits) -> Option<Fpm> {
        let listen = match &section.get_ref().listen {
            None => SocketAddr::from(([127, 0, 0, 1], 2620)),
            Some(text) => {
                let listen = self.socket("fpm.listen", text)?;
                if !listen.ip().is_loopback() {
                    let cause = format!("fpm.listen = {:?} is not a loopback address", text.get_ref());
                    let remedy = "FPM has no credentials: listen on 127.0.0.1 or ::1";
                    self.reject(text.span(), cause, remedy);
                }
                listen
            }
        };
        let section = section.get_ref();
        let most = |limit: &Maybe<i64>, default| {
            let limit = limit.as_ref().and_then(|limit| u32::try_from(*limit.get_ref()).ok());
            limit.unwrap_or(default).clamp(1, RECORDS_MAX)
        };
        let limits = (most(&limits.routes4, ROUTES4), most(&limits.routes6, ROUTES6));
        Some(Fpm {
            listen,
            user: self.account("fpm.user", &section.user, "frr"),
            keep_seconds: self.number("fpm.keep_seconds", &section.keep_seconds, 0..=3600, 120),
            routes4: self.number("fpm.routes4", &section.routes4, 1..=limits.0, nine_tenths(limits.0)),
            routes6: self.number("fpm.routes6", &section.routes6, 1..=limits.1, nine_tenths(limits.1)),
        })
    }

    pub(super) fn status(&mut self, section: &Spanned<raw::Status>) -> Option<SocketAddr> {
        self.not_built(&section.span(), "[status]");
        self.listener(&section.span(), "status.listen", &section.get_ref().listen)
    }

    pub(super) fn metrics(&mut self, section: &Spanned<raw::Metrics>) -> Option<SocketAddr> {
        self.listener(&section.span(), "metrics.listen", &section.get_ref().listen)
    }

    fn listener(&mut self, section: &Range<usize>, key: &str, value: &Maybe<String>) -> Option<SocketAddr> {
        let text = self.need(section, key, value)?;
        let listen = self.socket(key, text)?;
        if !listen.ip().is_loopback() {
            self.warn(
                &text.span(),
                &format!("{key} = \"{listen}\" is open to the network and has no password"),
            );
        }
        Some(listen)
    }
}

/// Some room stays for the kernel's own routes, above all those of links.
fn nine_tenths(limit: u32) -> u32 {
    limit - limit / 10
}
