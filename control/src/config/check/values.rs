//! Single values: numbers in their range, words of their list, addresses, prefixes, names.

use std::fmt::Display;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;

use ipnet::{Ipv4Net, Ipv6Net};
use toml::Spanned;

use super::Judge;
use crate::config::nearest::nearest;
use crate::config::raw::{Maybe, Text};

/// A switch with its default.
pub(super) fn flag(value: &Maybe<bool>, default: bool) -> bool {
    value.as_ref().map_or(default, |value| *value.get_ref())
}

impl Judge<'_> {
    /// A number of a range; absent means the default.
    pub(super) fn number(
        &mut self,
        key: &str,
        value: &Maybe<i64>,
        range: RangeInclusive<u32>,
        default: u32,
    ) -> u32 {
        let Some(value) = value else { return default };
        self.in_range(key, value.span(), *value.get_ref(), range).unwrap_or(default)
    }

    /// Judges a number that stands at `place`.
    pub(super) fn in_range(
        &mut self,
        key: &str,
        place: Range<usize>,
        number: i64,
        range: RangeInclusive<u32>,
    ) -> Option<u32> {
        let fitting = u32::try_from(number).ok().filter(|number| range.contains(number));
        if fitting.is_none() {
            let (first, last) = range.into_inner();
            self.reject(
                place,
                format!("{key} = {number} is out of range"),
                format!("write a number of {first} to {last}"),
            );
        }
        fitting
    }

    /// One of the words; absent means the first.
    pub(super) fn choice<T: Copy>(&mut self, key: &str, value: &Maybe<String>, choices: &[(&str, T)]) -> T {
        let (_, default) = choices[0];
        let Some(value) = value else { return default };
        let word = value.get_ref().as_str();
        if let Some(&(_, meaning)) = choices.iter().find(|&&(known, _)| known == word) {
            return meaning;
        }
        let known: Vec<&str> = choices.iter().map(|&(known, _)| known).collect();
        self.unknown_word(key, value.span(), word, &known);
        default
    }

    /// Rejects a word and offers the nearest, or all.
    pub(super) fn unknown_word(&mut self, key: &str, place: Range<usize>, word: &str, known: &[&str]) {
        let remedy = match nearest(word, known) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None if known.len() == 1 => format!("write {}", quoted(known)),
            None => format!("write one of {}", quoted(known)),
        };
        self.reject(place, format!("{key} cannot be {word:?}"), remedy);
    }

    /// A key that a section must have.
    pub(super) fn need<'v, T>(
        &mut self,
        section: &Range<usize>,
        key: &str,
        value: &'v Maybe<T>,
    ) -> Option<&'v Spanned<T>> {
        if value.is_none() {
            self.reject(section.clone(), format!("{key} is missing"), "add the key to this section");
        }
        value.as_ref()
    }

    fn parsed<T: FromStr>(&mut self, key: &str, text: &Text, what: &str, example: &str) -> Option<T> {
        let parsed = text.get_ref().parse().ok();
        if parsed.is_none() {
            let cause = format!("{key} = {:?} is not {what}", text.get_ref());
            self.reject(text.span(), cause, format!("write it like {example:?}"));
        }
        parsed
    }

    /// An IPv4 address.
    pub(super) fn ipv4(&mut self, key: &str, text: &Text) -> Option<Ipv4Addr> {
        self.parsed(key, text, "an IPv4 address", "192.0.2.1")
    }

    /// An IPv6 address.
    pub(super) fn ipv6(&mut self, key: &str, text: &Text) -> Option<Ipv6Addr> {
        self.parsed(key, text, "an IPv6 address", "2001:db8::1")
    }

    /// An address with a port, to listen on.
    pub(super) fn socket(&mut self, key: &str, text: &Text) -> Option<SocketAddr> {
        self.parsed(key, text, "an address with a port", "127.0.0.1:9464")
    }

    /// An IPv4 prefix without host bits.
    pub(super) fn network4(&mut self, key: &str, text: &Text) -> Option<Ipv4Net> {
        let network: Ipv4Net = self.parsed(key, text, "an IPv4 prefix", "192.0.2.0/24")?;
        self.without_host_bits(key, text, network == network.trunc(), network.trunc()).then_some(network)
    }

    /// An IPv6 prefix without host bits.
    pub(super) fn network6(&mut self, key: &str, text: &Text) -> Option<Ipv6Net> {
        let network: Ipv6Net = self.parsed(key, text, "an IPv6 prefix", "2001:db8::/32")?;
        self.without_host_bits(key, text, network == network.trunc(), network.trunc()).then_some(network)
    }

    fn without_host_bits(&mut self, key: &str, text: &Text, clean: bool, truncated: impl Display) -> bool {
        if !clean {
            let cause = format!("{key} = {:?} has bits set beyond its prefix length", text.get_ref());
            self.reject(text.span(), cause, format!("write \"{truncated}\", or the length you meant"));
        }
        clean
    }

    /// A list of IPv4 prefixes, none twice.
    pub(super) fn networks4(&mut self, key: &str, texts: &[Text]) -> Vec<Ipv4Net> {
        let mut networks = Vec::with_capacity(texts.len());
        for text in texts {
            let Some(network) = self.network4(key, text) else { continue };
            networks.push(network);
        }
        networks
    }

    /// An IPv6 prefix of exactly 64 bits that a link can have.
    pub(super) fn link_prefix(&mut self, key: &str, text: &Text) -> Option<Ipv6Net> {
        let network = self.network6(key, text)?;
        if network.prefix_len() != 64 {
            let cause = format!("{key} = {:?} is not a /64", text.get_ref());
            self.reject(text.span(), cause, "interface identifiers are 64 bits long: give a /64");
            return None;
        }
        self.unicast_prefix(key, text, network)
    }

    /// Refuses IPv6 prefixes that can never be routed: multicast, link-local and `::/16`.
    pub(super) fn unicast_prefix(&mut self, key: &str, text: &Text, network: Ipv6Net) -> Option<Ipv6Net> {
        let first = network.network();
        let head = first.segments()[0];
        let refused = first.is_multicast()
            || (head & 0xffc0 == 0xfe80 && network.prefix_len() >= 10)
            || (head == 0 && network.prefix_len() >= 16);
        if refused {
            let cause = format!("{key} = {:?} is not a routable unicast prefix", text.get_ref());
            self.reject(text.span(), cause, "give a global or unique-local prefix");
            return None;
        }
        Some(network)
    }

    /// The name of a tunnel or domain: it becomes a metric label and a file name.
    pub(super) fn label(&mut self, key: &str, text: &Text) -> Option<String> {
        let name = text.get_ref();
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
        if (1..=32).contains(&name.len()) && name.bytes().all(allowed) {
            return Some(name.clone());
        }
        self.reject(
            text.span(),
            format!("{key} = {name:?} is not a name"),
            "use 1 to 32 of the characters a-z 0-9 . _ -",
        );
        None
    }

    /// The name of a user or group of the system.
    pub(super) fn account(&mut self, key: &str, value: &Maybe<String>, default: &str) -> String {
        let Some(text) = value else { return default.to_owned() };
        let name = text.get_ref();
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
        let starts = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_');
        if !(starts && name.len() <= 32 && name.bytes().all(allowed)) {
            self.reject(
                text.span(),
                format!("{key} = {name:?} is not the name of an account"),
                "use at most 32 of the characters a-z 0-9 _ -, a letter or _ first",
            );
        }
        name.clone()
    }
}

fn quoted(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    words.join(", ")
}
