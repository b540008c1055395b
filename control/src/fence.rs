//! The second fence: an nftables table `inet sixlane` that drops tunnel packets to relay addresses
//! before the kernel could answer them.
//!
//! The XDP program takes these packets; while it is not there (before it is attached, after a crash of
//! everything), the kernel would answer protocol 41 with "protocol unreachable" and so kill remote
//! tunnels (RFC 4213 §3.4, security.md D1). The table is installed before the program attaches and
//! goes last in an orderly stop. Where `nft` is missing, an alarm says so.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

/// Where `nft` is looked for; last in `PATH`.
const PLACES: [&str; 4] = ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft", "nft"];

/// Why the fence does not stand.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FenceError {
    #[error(
        "nft is not installed, so the kernel answers tunnel packets whenever the XDP program is gone: \
         install the package nftables and start sixlane again"
    )]
    Missing,
    #[error("nft cannot be started: {0}; check that control's user may execute it")]
    Spawn(io::Error),
    #[error(
        "nft refused the fence: {0}; the kernel needs nf_tables (CONFIG_NF_TABLES_INET) and the process CAP_NET_ADMIN"
    )]
    Refused(String),
}

/// Who puts the fence up.
pub(crate) trait Fencer: std::fmt::Debug {
    /// As [`install`].
    ///
    /// # Errors
    /// [`FenceError`]: the old state is in force.
    fn install(&self, relays: &BTreeSet<Ipv4Addr>) -> Result<(), FenceError>;
}

/// The program `nft`.
#[derive(Debug)]
pub(crate) struct Nft;

impl Fencer for Nft {
    fn install(&self, relays: &BTreeSet<Ipv4Addr>) -> Result<(), FenceError> {
        install(relays)
    }
}

/// The fence that stands.
#[derive(Debug)]
pub(crate) struct Fence {
    fencer: Box<dyn Fencer>,
    /// What it protects; `None`: there is none.
    around: Option<BTreeSet<Ipv4Addr>>,
}

impl Fence {
    /// Puts the first fence up.
    pub(crate) fn raise(
        fencer: Box<dyn Fencer>,
        relays: &BTreeSet<Ipv4Addr>,
    ) -> (Self, Result<(), FenceError>) {
        let mut fence = Self { fencer, around: None };
        let done = fence.put(relays.clone());
        (fence, done)
    }

    /// Takes these relays in too. Where they are inside already nothing happens.
    ///
    /// # Errors
    /// [`FenceError`]: the old one stands, if one did.
    pub(crate) fn widen(&mut self, relays: &BTreeSet<Ipv4Addr>) -> Result<(), FenceError> {
        match &self.around {
            Some(around) if around.is_superset(relays) => Ok(()),
            around => self.put(around.iter().flatten().chain(relays).copied().collect()),
        }
    }

    /// Leaves only these relays inside.
    ///
    /// # Errors
    /// [`FenceError`]: the old one stands, if one did.
    pub(crate) fn narrow(&mut self, relays: &BTreeSet<Ipv4Addr>) -> Result<(), FenceError> {
        match &self.around {
            Some(around) if around == relays => Ok(()),
            _ => self.put(relays.clone()),
        }
    }

    /// Whether there is one.
    pub(crate) const fn stands(&self) -> bool {
        self.around.is_some()
    }

    fn put(&mut self, relays: BTreeSet<Ipv4Addr>) -> Result<(), FenceError> {
        self.fencer.install(&relays)?;
        self.around = Some(relays);
        Ok(())
    }
}

/// Installs the fence in one transaction: it replaces an earlier one without a gap.
///
/// # Errors
/// [`FenceError`]: the old state is in force.
fn install(relays: &BTreeSet<Ipv4Addr>) -> Result<(), FenceError> {
    nft(&script(relays))
}

/// Takes the fence away. One that is not there is no error.
///
/// # Errors
/// [`FenceError`]: it still stands.
pub(crate) fn remove() -> Result<(), FenceError> {
    nft("table inet sixlane\ndelete table inet sixlane\n")
}

/// The table as nft's own text. "table" alone creates it when it is missing, so that "delete" always
/// finds one; a file is one transaction.
fn script(relays: &BTreeSet<Ipv4Addr>) -> String {
    let mut text = String::from("table inet sixlane\ndelete table inet sixlane\n");
    if relays.is_empty() {
        return text;
    }
    let addresses = relays.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    text.push_str("table inet sixlane {\n");
    let _ = writeln!(text, "  set relays {{ type ipv4_addr; elements = {{ {addresses} }} }}");
    // -300: before connection tracking and everything else that might spend time on them. The input
    // hook stands behind it for rules that accept packets around prerouting (none is known).
    for (chain, priority) in [("prerouting", "-300"), ("input", "-300")] {
        let _ = writeln!(
            text,
            "  chain {chain} {{ type filter hook {chain} priority {priority}; policy accept; \
             ip daddr @relays ip protocol ipv6 counter drop; }}"
        );
    }
    text.push_str("}\n");
    text
}

fn nft(script: &str) -> Result<(), FenceError> {
    for place in PLACES {
        let spawned = Command::new(place)
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(FenceError::Spawn(error)),
        };
        if let Some(mut stdin) = child.stdin.take() {
            // A child that does not read says why on its standard error.
            let _ = stdin.write_all(script.as_bytes());
        }
        let output = child.wait_with_output().map_err(FenceError::Spawn)?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let first = said.lines().next().unwrap_or("no reason given").trim().to_owned();
        return Err(FenceError::Refused(first));
    }
    Err(FenceError::Missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fence_names_every_relay_and_both_hooks() {
        let relays = BTreeSet::from([Ipv4Addr::new(9, 254, 253, 252), Ipv4Addr::new(192, 88, 99, 1)]);
        let text = script(&relays);
        assert!(text.starts_with("table inet sixlane\ndelete table inet sixlane\n"));
        assert!(text.contains("elements = { 9.254.253.252, 192.88.99.1 }"), "{text}");
        assert!(text.contains("hook prerouting") && text.contains("hook input"));
        assert_eq!(text.matches("ip protocol ipv6 counter drop").count(), 2);
    }

    #[test]
    fn without_relays_there_is_no_table() {
        assert!(!script(&BTreeSet::new()).contains("chain"));
    }
}
