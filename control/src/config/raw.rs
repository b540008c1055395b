//! What the file says: the grammar, one field per key, nothing judged yet.
//!
//! Every struct refuses unknown keys. Values carry their place in the text ([`Spanned`]), so that
//! whatever [`super::checked`] finds wrong with them can be pointed at. Addresses and prefixes stay
//! text here; what they mean is decided in the second stage.

use serde::Deserialize;
use toml::Spanned;

/// An optional value with its place in the text.
pub(super) type Maybe<T> = Option<Spanned<T>>;

/// A string with its place in the text.
pub(super) type Text = Spanned<String>;

/// A value that is either a word (`"auto"`, `"copy"`) or a number.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "expected a word in quotes or a whole number")]
pub(super) enum WordOrNumber {
    Word(String),
    Number(i64),
}

/// A value that is either a word (`"auto"`) or a list of whole numbers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "expected a word in quotes or a list of whole numbers")]
pub(super) enum WordOrNumbers {
    Word(String),
    Numbers(Vec<i64>),
}

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) version: Maybe<i64>,
    #[serde(default)]
    pub(super) known_relays: Vec<Text>,
    #[serde(default)]
    pub(super) aliases: Vec<Text>,
    #[serde(default)]
    pub(super) dataplane: Dataplane,
    #[serde(default)]
    pub(super) port: Vec<Spanned<Port>>,
    #[serde(default)]
    pub(super) router: Router,
    #[serde(default)]
    pub(super) profile: Profile,
    #[serde(default)]
    pub(super) icmp: Icmp,
    #[serde(default)]
    pub(super) limits: Limits,
    #[serde(default)]
    pub(super) process: Process,
    #[serde(default)]
    pub(super) admin: Admin,
    pub(super) sixtofour: Maybe<SixToFour>,
    #[serde(default)]
    pub(super) advertise: Vec<Spanned<Advertise>>,
    #[serde(default)]
    pub(super) sixrd: Vec<Spanned<SixRd>>,
    #[serde(default)]
    pub(super) teredo: Teredo,
    pub(super) isatap: Maybe<Isatap>,
    #[serde(default)]
    pub(super) sixinfour: Vec<Spanned<SixInFour>>,
    pub(super) fpm: Maybe<Fpm>,
    pub(super) status: Maybe<Status>,
    pub(super) metrics: Maybe<Metrics>,
}

/// `[dataplane]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Dataplane {
    pub(super) workers: Maybe<WordOrNumbers>,
    pub(super) mode: Maybe<String>,
    pub(super) idle: Maybe<String>,
    pub(super) rx_ring: Maybe<i64>,
    pub(super) tx_ring: Maybe<i64>,
    pub(super) fill_ring: Maybe<i64>,
    pub(super) completion_ring: Maybe<i64>,
    pub(super) frames: Maybe<i64>,
    pub(super) stuck_seconds: Maybe<i64>,
    pub(super) fast_path: Maybe<String>,
}

/// `[[port]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Port {
    pub(super) name: Maybe<String>,
    pub(super) vlan: Maybe<i64>,
    pub(super) forward: Maybe<String>,
}

/// `[router]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Router {
    pub(super) ipv6_address: Maybe<String>,
    pub(super) tables: Maybe<Vec<Spanned<WordOrNumber>>>,
}

/// `[profile]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Profile {
    pub(super) bogons: Maybe<String>,
}

/// `[icmp]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Icmp {
    pub(super) errors_per_second: Maybe<i64>,
    pub(super) errors_burst: Maybe<i64>,
    pub(super) packet_too_big_per_second: Maybe<i64>,
    pub(super) packet_too_big_burst: Maybe<i64>,
}

/// `[limits]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) routes4: Maybe<i64>,
    pub(super) routes6: Maybe<i64>,
    pub(super) adjacencies: Maybe<i64>,
    pub(super) tunnels: Maybe<i64>,
    pub(super) domains: Maybe<i64>,
    pub(super) peers: Maybe<i64>,
}

/// `[process]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Process {
    pub(super) control_user: Maybe<String>,
    pub(super) dataplane_user: Maybe<String>,
    pub(super) observer_user: Maybe<String>,
    pub(super) state_directory: Maybe<String>,
}

/// `[admin]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Admin {
    pub(super) group: Maybe<String>,
}

/// The keys that every protocol-41 mechanism may set, borrowed from its section.
#[derive(Debug, Clone, Copy)]
pub(super) struct Common<'a> {
    pub(super) ttl: &'a Maybe<i64>,
    pub(super) df: &'a Maybe<String>,
    pub(super) dscp: &'a Maybe<WordOrNumber>,
    pub(super) ecn: &'a Maybe<String>,
    pub(super) mtu: &'a Maybe<i64>,
    pub(super) shared_address: &'a Maybe<bool>,
    pub(super) allow: &'a Maybe<Vec<Text>>,
    pub(super) deliver: &'a Maybe<String>,
    pub(super) oversize: &'a Maybe<String>,
}

/// Declares a mechanism's section: its own keys, and those of [`Common`]. (serde's `flatten`
/// would lose both the refusal of unknown keys and the places of the values.)
macro_rules! mechanism {
    ($(#[$doc:meta])* $name:ident { $($key:ident: $kind:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            $(pub(super) $key: $kind,)*
            ttl: Maybe<i64>,
            df: Maybe<String>,
            dscp: Maybe<WordOrNumber>,
            ecn: Maybe<String>,
            mtu: Maybe<i64>,
            shared_address: Maybe<bool>,
            allow: Maybe<Vec<Text>>,
            deliver: Maybe<String>,
            oversize: Maybe<String>,
        }

        impl $name {
            pub(super) fn common(&self) -> Common<'_> {
                Common {
                    ttl: &self.ttl,
                    df: &self.df,
                    dscp: &self.dscp,
                    ecn: &self.ecn,
                    mtu: &self.mtu,
                    shared_address: &self.shared_address,
                    allow: &self.allow,
                    deliver: &self.deliver,
                    oversize: &self.oversize,
                }
            }
        }
    };
}

mechanism! {
    /// `[sixtofour]`
    SixToFour {
        role: Maybe<String>,
        address: Maybe<String>,
        anycast: Maybe<bool>,
        source: Maybe<String>,
        relay: Maybe<String>,
    }
}

mechanism! {
    /// `[[sixrd]]`
    SixRd {
        name: Maybe<String>,
        prefix: Maybe<String>,
        ipv4_prefix: Maybe<String>,
        br_address: Maybe<String>,
        anycast: Maybe<bool>,
        native_source_check: Maybe<bool>,
    }
}

mechanism! {
    /// `[teredo.relay]`
    TeredoRelay {
        address: Maybe<String>,
        port: Maybe<i64>,
        cookie_prefix: Maybe<String>,
        native_source_check: Maybe<bool>,
        honour_cone_bit: Maybe<bool>,
    }
}

mechanism! {
    /// `[teredo.server]`
    TeredoServer {
        primary: Maybe<String>,
        secondary: Maybe<String>,
        secrets_file: Maybe<String>,
    }
}

mechanism! {
    /// `[isatap]`
    Isatap {
        address: Maybe<String>,
        prefix: Maybe<String>,
        potential_routers: Maybe<Vec<Text>>,
    }
}

mechanism! {
    /// `[[sixinfour]]`
    SixInFour {
        name: Maybe<String>,
        local: Maybe<String>,
        remote: Maybe<String>,
        routes: Maybe<Vec<Text>>,
        strict_source: Maybe<bool>,
        allow_bogon: Maybe<bool>,
    }
}

/// `[teredo]`, which has only sub-sections.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Teredo {
    pub(super) relay: Maybe<TeredoRelay>,
    pub(super) server: Maybe<TeredoServer>,
}

/// `[[advertise]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Advertise {
    pub(super) port: Maybe<String>,
    pub(super) prefix: Maybe<String>,
    pub(super) preference: Maybe<String>,
}

/// `[fpm]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fpm {
    pub(super) listen: Maybe<String>,
    pub(super) user: Maybe<String>,
    pub(super) keep_seconds: Maybe<i64>,
    pub(super) routes4: Maybe<i64>,
    pub(super) routes6: Maybe<i64>,
}

/// `[status]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Status {
    pub(super) listen: Maybe<String>,
}

/// `[metrics]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Metrics {
    pub(super) listen: Maybe<String>,
}
