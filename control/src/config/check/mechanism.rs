//! The sections of the transition mechanisms.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::ops::Range;

use sixlane_tunnel::Class4;
use toml::Spanned;

use super::Judge;
use super::values::flag;
use crate::config::checked::Port;
use crate::config::checked::{
    Advertise, Deliver, Df, Dscp, Ecn, Encapsulation, Isatap, Oversize, PotentialRouter, Preference,
    SixInFour, SixRd, SixToFour, SixToFourRole, TeredoRelay, TeredoServer,
};
use crate::config::raw::{self, Common, Maybe, Text, WordOrNumber};

/// Tunnel MTU when the file says nothing (RFC 4213 §3.2.1).
const MTU_DEFAULT: u32 = 1280;
/// The largest inner packet that fits into an IPv4 packet.
const MTU_MAX: u32 = 65_515;
/// Above this an outer packet no longer fits into an Ethernet frame.
const MTU_ETHERNET: u32 = 1480;
/// IANA's suggested time to live.
const TTL_DEFAULT: u32 = 64;

/// What differs between the mechanisms when a key is absent.
struct Defaults {
    section: &'static str,
    dscp: Dscp,
    ecn: Ecn,
}

const SIXTOFOUR: Defaults = Defaults { section: "sixtofour", dscp: Dscp::Zero, ecn: Ecn::Compatibility };
const SIXRD: Defaults = Defaults { section: "sixrd", dscp: Dscp::Copy, ecn: Ecn::Normal };
const TEREDO_RELAY: Defaults =
    Defaults { section: "teredo.relay", dscp: Dscp::Zero, ecn: Ecn::Compatibility };
const TEREDO_SERVER: Defaults =
    Defaults { section: "teredo.server", dscp: Dscp::Zero, ecn: Ecn::Compatibility };
const ISATAP: Defaults = Defaults { section: "isatap", dscp: Dscp::Zero, ecn: Ecn::Normal };
const SIXINFOUR: Defaults = Defaults { section: "sixinfour", dscp: Dscp::Zero, ecn: Ecn::Normal };

impl Judge<'_> {
    fn encapsulation(&mut self, common: Common<'_>, defaults: &Defaults) -> Encapsulation {
        let key = |key: &str| format!("{}.{key}", defaults.section);
        let dfs = [("rfc", Df::Rfc), ("always", Df::Always)];
        let delivers = [("icmp", Deliver::Icmp), ("all", Deliver::All)];
        let oversizes =
            [("too_big", Oversize::TooBig), ("fragment", Oversize::Fragment), ("drop", Oversize::Drop)];
        let ecns = match defaults.ecn {
            Ecn::Normal => [("normal", Ecn::Normal), ("compatibility", Ecn::Compatibility)],
            Ecn::Compatibility => [("compatibility", Ecn::Compatibility), ("normal", Ecn::Normal)],
        };
        let mtu = self.number(&key("mtu"), common.mtu, MTU_DEFAULT..=MTU_MAX, MTU_DEFAULT);
        if let Some(place) = common.mtu.as_ref().filter(|_| mtu > MTU_ETHERNET) {
            self.warn(&place.span(), &format!("a tunnel MTU of {mtu} needs IPv4 links of {}", mtu + 20));
        }
        let ttl = self.number(&key("ttl"), common.ttl, 1..=255, TTL_DEFAULT);
        let encapsulation = Encapsulation {
            ttl: u8::try_from(ttl).unwrap_or(u8::MAX),
            df: self.choice(&key("df"), common.df, &dfs),
            dscp: self.dscp(&key("dscp"), common.dscp, defaults.dscp),
            ecn: self.choice(&key("ecn"), common.ecn, &ecns),
            mtu,
            shared_address: flag(common.shared_address, false),
            allow: common.allow.as_ref().map(|list| self.allow(&key("allow"), list)),
            deliver: self.choice(&key("deliver"), common.deliver, &delivers),
            oversize: self.choice(&key("oversize"), common.oversize, &oversizes),
        };
        self.encapsulation_not_built(common, &encapsulation, defaults.section);
        encapsulation
    }

    fn encapsulation_not_built(&mut self, common: Common<'_>, meant: &Encapsulation, section: &str) {
        if let Some(place) = common.oversize.as_ref().filter(|_| meant.oversize != Oversize::TooBig) {
            self.not_built(&place.span(), &format!("{section}.oversize = \"{}\"", place.get_ref()));
        }
    }

    fn dscp(&mut self, key: &str, value: &Maybe<WordOrNumber>, default: Dscp) -> Dscp {
        let Some(value) = value else { return default };
        match value.get_ref() {
            WordOrNumber::Word(word) if word == "zero" => Dscp::Zero,
            WordOrNumber::Word(word) if word == "copy" => Dscp::Copy,
            WordOrNumber::Word(word) => {
                self.unknown_word(key, value.span(), word, &["zero", "copy"]);
                default
            }
            WordOrNumber::Number(number) => self
                .in_range(key, value.span(), *number, 0..=63)
                .and_then(|number| u8::try_from(number).ok())
                .map_or(default, Dscp::Fixed),
        }
    }

    fn allow(&mut self, key: &str, list: &Spanned<Vec<Text>>) -> Vec<ipnet::Ipv4Net> {
        if list.get_ref().is_empty() {
            let cause = format!("{key} is an empty list and would refuse every packet");
            self.reject(list.span(), cause, "name the IPv4 prefixes that may use it, or leave the key out");
        }
        self.networks4(key, list.get_ref())
    }

    pub(super) fn sixtofour(&mut self, section: &Spanned<raw::SixToFour>) -> Option<SixToFour> {
        let (place, it) = (section.span(), section.get_ref());
        let roles = [("relay", SixToFourRole::Relay), ("router", SixToFourRole::Router)];
        self.need(&place, "sixtofour.role", &it.role);
        let role = self.choice("sixtofour.role", &it.role, &roles);
        let anycast = flag(&it.anycast, false);
        let anycast_source =
            self.choice("sixtofour.source", &it.source, &[("unicast", false), ("anycast", true)]);
        self.sixtofour_not_built(it, role, anycast, anycast_source);
        if let Some(place) = it.source.as_ref().filter(|_| anycast_source && !anycast) {
            let cause = "sixtofour.source = \"anycast\" needs the anycast service";
            self.reject(place.span(), cause, "add anycast = true, or send from the unicast address");
        }
        let relay = self.sixtofour_relay(it, role);
        let encapsulation = self.encapsulation(it.common(), &SIXTOFOUR);
        let text = self.need(&place, "sixtofour.address", &it.address)?;
        let address = match (text.get_ref().as_str(), role) {
            ("auto", SixToFourRole::Router) => None,
            ("auto", SixToFourRole::Relay) => {
                let cause = "sixtofour.address = \"auto\" is for role = \"router\"";
                self.reject(text.span(), cause, "give the relay a fixed IPv4 address");
                return None;
            }
            _ => Some(self.global4("sixtofour.address", text, Class4::EMBEDDED_BOGON)?),
        };
        Some(SixToFour { role, address, anycast, anycast_source, relay, encapsulation })
    }

    fn sixtofour_not_built(&mut self, it: &raw::SixToFour, role: SixToFourRole, anycast: bool, source: bool) {
        if let Some(place) = it.role.as_ref().filter(|_| role == SixToFourRole::Router) {
            self.not_built(&place.span(), "sixtofour.role = \"router\"");
        }
        if let Some(place) = it.anycast.as_ref().filter(|_| anycast) {
            self.not_built(&place.span(), "sixtofour.anycast = true");
        }
        if let Some(place) = it.source.as_ref().filter(|_| source) {
            self.not_built(&place.span(), "sixtofour.source = \"anycast\"");
        }
    }

    fn sixtofour_relay(&mut self, it: &raw::SixToFour, role: SixToFourRole) -> Option<Ipv4Addr> {
        let text = it.relay.as_ref()?;
        if role == SixToFourRole::Relay {
            let cause = "sixtofour.relay names another relay, but this one has role = \"relay\"";
            self.reject(text.span(), cause, "remove the key: a relay sends native traffic by its own routes");
            return None;
        }
        // As outer address 192.88.99.1 is fine (RFC 7526 §6).
        self.global4("sixtofour.relay", text, Class4::OUTER_BOGON)
    }

    pub(super) fn sixrd(&mut self, section: &Spanned<raw::SixRd>) -> Option<SixRd> {
        let (place, it) = (section.span(), section.get_ref());
        self.not_built(&place, "[[sixrd]]");
        let encapsulation = self.encapsulation(it.common(), &SIXRD);
        let name = self.need(&place, "sixrd.name", &it.name).cloned();
        let name = name.and_then(|text| self.label("sixrd.name", &text));
        let prefix_text = self.need(&place, "sixrd.prefix", &it.prefix).cloned();
        let prefix = prefix_text.as_ref().and_then(|text| {
            let network = self.network6("sixrd.prefix", text)?;
            self.unicast_prefix("sixrd.prefix", text, network)
        });
        let ipv4 = self.need(&place, "sixrd.ipv4_prefix", &it.ipv4_prefix).cloned();
        let ipv4_prefix = ipv4.and_then(|text| self.network4("sixrd.ipv4_prefix", &text));
        let br = self.need(&place, "sixrd.br_address", &it.br_address).cloned();
        let br_address = br.and_then(|text| self.host4("sixrd.br_address", &text));
        let (prefix, ipv4_prefix) = (prefix?, ipv4_prefix?);
        self.delegated_length(&prefix_text?.span(), prefix, ipv4_prefix)?;
        Some(SixRd {
            name: name?,
            prefix,
            ipv4_prefix,
            br_address: br_address?,
            anycast: flag(&it.anycast, false),
            native_source_check: flag(&it.native_source_check, true),
            encapsulation,
        })
    }

    /// 6RD-01, 6RD-02: prefix and IPv4 bits must fit, and should leave 64 bits to the customer.
    fn delegated_length(
        &mut self,
        place: &Range<usize>,
        prefix: ipnet::Ipv6Net,
        ipv4: ipnet::Ipv4Net,
    ) -> Option<()> {
        let embedded = 32 - ipv4.prefix_len();
        let delegated = prefix.prefix_len() + embedded;
        if delegated > 128 {
            let cause = format!("sixrd.prefix and {embedded} bits of IPv4 make a prefix of {delegated} bits");
            self.reject(place.clone(), cause, "give a shorter 6rd prefix or a longer ipv4_prefix");
            return None;
        }
        if delegated > 64 {
            let sentence = format!("customers get a /{delegated}, too long for one link (RFC 5969 §4)");
            self.warn(place, &sentence);
        }
        Some(())
    }

    pub(super) fn teredo_relay(&mut self, section: &Spanned<raw::TeredoRelay>) -> Option<TeredoRelay> {
        let (place, it) = (section.span(), section.get_ref());
        self.not_built(&place, "[teredo.relay]");
        let encapsulation = self.encapsulation(it.common(), &TEREDO_RELAY);
        let address = self.need(&place, "teredo.relay.address", &it.address).cloned();
        let address =
            address.and_then(|text| self.global4("teredo.relay.address", &text, Class4::EMBEDDED_BOGON));
        let port = self.number("teredo.relay.port", &it.port, 1..=65_535, 3545);
        let cookie = self.need(&place, "teredo.relay.cookie_prefix", &it.cookie_prefix).cloned();
        let cookie_prefix = cookie.and_then(|text| self.link_prefix("teredo.relay.cookie_prefix", &text));
        Some(TeredoRelay {
            address: address?,
            port: u16::try_from(port).unwrap_or_default(),
            cookie_prefix: cookie_prefix?,
            native_source_check: flag(&it.native_source_check, true),
            honour_cone_bit: flag(&it.honour_cone_bit, false),
            encapsulation,
        })
    }

    pub(super) fn teredo_server(&mut self, section: &Spanned<raw::TeredoServer>) -> Option<TeredoServer> {
        let (place, it) = (section.span(), section.get_ref());
        self.not_built(&place, "[teredo.server]");
        let encapsulation = self.encapsulation(it.common(), &TEREDO_SERVER);
        let primary = self.need(&place, "teredo.server.primary", &it.primary).cloned();
        let primary =
            primary.and_then(|text| self.global4("teredo.server.primary", &text, Class4::EMBEDDED_BOGON));
        let second = self.need(&place, "teredo.server.secondary", &it.secondary).cloned();
        let secondary = second
            .as_ref()
            .and_then(|text| self.global4("teredo.server.secondary", text, Class4::EMBEDDED_BOGON));
        if let Some(text) = second.filter(|_| primary.is_some() && primary == secondary) {
            let cause = "teredo.server.secondary is the primary address again";
            self.reject(text.span(), cause, "give a second address: clients test their NAT with it");
        }
        let secrets_file =
            it.secrets_file.as_ref().and_then(|text| self.path("teredo.server.secrets_file", text));
        Some(TeredoServer { primary: primary?, secondary: secondary?, secrets_file, encapsulation })
    }

    pub(super) fn isatap(&mut self, section: &Spanned<raw::Isatap>) -> Option<Isatap> {
        let (place, it) = (section.span(), section.get_ref());
        self.not_built(&place, "[isatap]");
        let encapsulation = self.encapsulation(it.common(), &ISATAP);
        let address = self.need(&place, "isatap.address", &it.address).cloned();
        let address = address.and_then(|text| self.host4("isatap.address", &text));
        let prefix = self.need(&place, "isatap.prefix", &it.prefix).cloned();
        let prefix = prefix.and_then(|text| self.link_prefix("isatap.prefix", &text));
        let routers = it.potential_routers.as_ref().map_or(&[][..], |list| list.get_ref());
        let routers: Vec<_> = routers.iter().filter_map(|text| self.potential_router(text)).collect();
        Some(Isatap { address: address?, prefix: prefix?, potential_routers: routers, encapsulation })
    }

    fn potential_router(&mut self, text: &Text) -> Option<PotentialRouter> {
        let word = text.get_ref();
        if word.parse::<Ipv4Addr>().is_ok() {
            return self.host4("isatap.potential_routers", text).map(PotentialRouter::Address);
        }
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let numeric = word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if word.len() <= 253 && !numeric && word.trim_end_matches('.').split('.').all(label) {
            return Some(PotentialRouter::Name(word.clone()));
        }
        let cause = format!("isatap.potential_routers: {word:?} is neither an IPv4 address nor a host name");
        self.reject(text.span(), cause, "write it like \"192.0.2.1\" or \"isatap.example.net\"");
        None
    }

    pub(super) fn sixinfour(&mut self, section: &Spanned<raw::SixInFour>) -> Option<SixInFour> {
        let (place, it) = (section.span(), section.get_ref());
        self.not_built(&place, "[[sixinfour]]");
        let encapsulation = self.encapsulation(it.common(), &SIXINFOUR);
        let name = self.need(&place, "sixinfour.name", &it.name).cloned();
        let name = name.and_then(|text| self.label("sixinfour.name", &text));
        let local = self.need(&place, "sixinfour.local", &it.local).cloned();
        let local = local.and_then(|text| self.host4("sixinfour.local", &text));
        let far = self.need(&place, "sixinfour.remote", &it.remote).cloned();
        let remote = far.as_ref().and_then(|text| self.remote(text, flag(&it.allow_bogon, false)));
        if let Some(text) = far.filter(|_| local.is_some() && local == remote) {
            self.reject(text.span(), "sixinfour.remote is our own end", "name the other end of the tunnel");
        }
        let routes = it.routes.as_ref().map_or(&[][..], |list| list.get_ref());
        let routes = routes.iter().filter_map(|text| {
            let network = self.network6("sixinfour.routes", text)?;
            self.unicast_prefix("sixinfour.routes", text, network)
        });
        let routes: Vec<_> = routes.collect();
        let strict_source = flag(&it.strict_source, !routes.is_empty());
        Some(SixInFour { name: name?, local: local?, remote: remote?, routes, strict_source, encapsulation })
    }

    /// The far end of a configured tunnel: the bogon table holds unless the file says otherwise.
    fn remote(&mut self, text: &Text, allow_bogon: bool) -> Option<Ipv4Addr> {
        let address = self.ipv4("sixinfour.remote", text)?;
        let never = address.is_multicast() || address.is_broadcast() || address.is_unspecified();
        if never || (self.is_bogon4(address, Class4::PRIVATE_BOGON) && !allow_bogon) {
            let cause = format!("sixinfour.remote = \"{address}\" is a bogon");
            let remedy = if never {
                "name the unicast address of the other end"
            } else {
                "correct the address, or add allow_bogon = true if it is meant"
            };
            self.reject(text.span(), cause, remedy);
            return None;
        }
        Some(address)
    }

    pub(super) fn aliases(&mut self, texts: &[Text]) -> Vec<Ipv4Addr> {
        texts.iter().filter_map(|text| self.host4("aliases", text)).collect()
    }

    pub(super) fn advertise(
        &mut self,
        sections: &[Spanned<raw::Advertise>],
        ports: &[Port],
        sixtofour: Option<&Spanned<raw::SixToFour>>,
    ) -> Vec<Advertise> {
        let router = sixtofour
            .and_then(|section| section.get_ref().role.as_ref())
            .is_some_and(|role| role.get_ref() == "router");
        let names: HashSet<&str> = ports.iter().map(|port| port.name.as_str()).collect();
        let understood = sections.iter().filter_map(|section| self.advertise_one(section, &names, router));
        understood.collect()
    }

    fn advertise_one(
        &mut self,
        section: &Spanned<raw::Advertise>,
        ports: &HashSet<&str>,
        router: bool,
    ) -> Option<Advertise> {
        let (place, it) = (section.span(), section.get_ref());
        self.not_built(&place, "[[advertise]]");
        let preferences =
            [("low", Preference::Low), ("medium", Preference::Medium), ("high", Preference::High)];
        let preference = self.choice("advertise.preference", &it.preference, &preferences);
        let prefix = match &it.prefix {
            Some(text) if text.get_ref() != "auto" => Some(self.link_prefix("advertise.prefix", text)?),
            given if !router => {
                let at = given.as_ref().map_or(place.clone(), Spanned::span);
                let cause = "advertise.prefix = \"auto\" takes a /64 of a 6to4 prefix, and there is none";
                self.reject(at, cause, "write a /64, or configure [sixtofour] with role = \"router\"");
                None
            }
            _ => None,
        };
        let port = self.need(&place, "advertise.port", &it.port)?;
        if !ports.contains(port.get_ref().as_str()) {
            let cause = format!("advertise.port = {:?} is not one of the ports", port.get_ref());
            self.reject(port.span(), cause, "add a [[port]] of that name");
        }
        Some(Advertise { port: port.get_ref().clone(), prefix, preference })
    }
}
