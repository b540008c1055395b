//! Rules that tie sections together.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::Ipv4Addr;
use std::ops::Range;

use toml::Spanned;

use super::Judge;
use crate::config::checked::{Checked, SixRd};
use crate::config::raw;

/// One automatic mechanism on one IPv4 address.
struct Service {
    section: &'static str,
    address: Ipv4Addr,
    shared: bool,
    place: Range<usize>,
}

impl Judge<'_> {
    pub(super) fn relations(&mut self, file: &raw::File, checked: &Checked) {
        let domains = file.sixrd.iter().zip(&checked.sixrd);
        self.unique("6rd domain", domains.map(|(section, domain)| (section.span(), domain.name.as_str())));
        let tunnels = file.sixinfour.iter().zip(&checked.sixinfour);
        self.unique("tunnel", tunnels.map(|(section, tunnel)| (section.span(), tunnel.name.as_str())));
        self.endpoints(file, checked);
        self.nested_domains(file, checked);
        let services = services(file, checked);
        self.shared_addresses(&services);
        self.own_relays(file, checked, &services);
        self.ports_needed(checked);
    }

    /// Refuses two tunnels or domains of one name.
    fn unique<'n>(&mut self, what: &str, names: impl Iterator<Item = (Range<usize>, &'n str)>) {
        let mut seen = HashSet::new();
        for (place, name) in names {
            if !seen.insert(name) {
                self.reject(place, format!("{what} {name:?} is configured twice"), "give each its own name");
            }
        }
    }

    /// Two configured tunnels cannot have the same two ends: nothing tells their packets apart.
    fn endpoints(&mut self, file: &raw::File, checked: &Checked) {
        let mut seen = HashMap::new();
        for (section, tunnel) in file.sixinfour.iter().zip(&checked.sixinfour) {
            if let Some(first) = seen.insert((tunnel.local, tunnel.remote), &tunnel.name) {
                let cause = format!("tunnels {first:?} and {:?} have the same two ends", tunnel.name);
                self.reject(section.span(), cause, "give one of them another local or remote address");
            }
        }
    }

    /// 6RD-03: identical prefixes are refused, nested ones deserve a look.
    fn nested_domains(&mut self, file: &raw::File, checked: &Checked) {
        let mut sorted: Vec<_> = checked.sixrd.iter().zip(&file.sixrd).collect();
        sorted.sort_by_key(|(domain, _)| (domain.prefix.network(), domain.prefix.prefix_len()));
        let mut enclosing: Vec<&SixRd> = Vec::new();
        for (domain, section) in sorted {
            while enclosing.last().is_some_and(|outer| !outer.prefix.contains(&domain.prefix)) {
                enclosing.pop();
            }
            if let Some(outer) = enclosing.last() {
                if outer.prefix == domain.prefix {
                    let cause = format!("6rd domains {:?} and {:?} have one prefix", outer.name, domain.name);
                    self.reject(section.span(), cause, "give each domain its own 6rd prefix");
                } else {
                    let sentence =
                        format!("6rd domain {:?} lies inside the prefix of {:?}", domain.name, outer.name);
                    self.warn(&section.span(), &sentence);
                }
            }
            enclosing.push(domain);
        }
    }

    /// CHK-01: two automatic mechanisms on one address only if both say so. (Domains of 6rd may
    /// share their border relay's address among themselves.)
    fn shared_addresses(&mut self, services: &[Service]) {
        let mut holders: HashMap<Ipv4Addr, Vec<&Service>> = HashMap::new();
        for service in services {
            let holders = holders.entry(service.address).or_default();
            let clash = holders
                .iter()
                .find(|other| other.section != service.section && !(other.shared && service.shared));
            if let Some(other) = clash {
                let cause = format!(
                    "[{}] and [{}] both use {}, and the packets of one could pass for the other's",
                    other.section, service.section, service.address
                );
                let remedy = "give each its own address, or write shared_address = true in both";
                self.reject(service.place.clone(), cause, remedy);
            }
            // One holder a mechanism and answer is enough to compare with.
            if !holders.iter().any(|o| o.section == service.section && o.shared == service.shared) {
                holders.push(service);
            }
        }
    }

    /// A known relay is somebody else: naming ourselves there would refuse all of our traffic.
    fn own_relays(&mut self, file: &raw::File, checked: &Checked, services: &[Service]) {
        let own: BTreeSet<Ipv4Addr> = services.iter().map(|service| service.address).collect();
        for (text, network) in file.known_relays.iter().zip(&checked.known_relays) {
            if let Some(own) = own.range(network.network()..=network.broadcast()).next() {
                let cause = format!("known_relays: {network} contains our own address {own}");
                self.reject(text.span(), cause, "name only other relays, with longer prefixes if need be");
            }
        }
    }

    fn ports_needed(&mut self, checked: &Checked) {
        if checked.ports.is_empty() {
            self.warn(&(0..0), "no [[port]] is configured: `sixlane run` will have nothing to do");
        }
    }
}

fn services(file: &raw::File, checked: &Checked) -> Vec<Service> {
    let mut services = Vec::new();
    let mut add = |section, address, shared, place| {
        services.push(Service { section, address, shared, place });
    };
    if let (Some(section), Some(it)) = (&file.sixtofour, &checked.sixtofour)
        && let Some(address) = it.address
    {
        add("sixtofour", address, it.encapsulation.shared_address, place_of(&section.get_ref().address));
    }
    for (section, it) in file.sixrd.iter().zip(&checked.sixrd) {
        add("sixrd", it.br_address, it.encapsulation.shared_address, place_of(&section.get_ref().br_address));
    }
    if let (Some(section), Some(it)) = (&file.isatap, &checked.isatap) {
        add("isatap", it.address, it.encapsulation.shared_address, place_of(&section.get_ref().address));
    }
    services
}

fn place_of(value: &raw::Maybe<String>) -> Range<usize> {
    value.as_ref().map_or(0..0, Spanned::span)
}
