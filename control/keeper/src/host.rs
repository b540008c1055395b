//! What the machine must offer: kernel and privileges.

use rustix::thread::CapabilitySet;

/// The oldest kernel that has all we need: before it, nobody can map the rings of a socket that is bound
/// already, and so no data plane could attach to what the keeper has made (decision 0014).
const MINIMUM: (u32, u32) = (6, 4);

/// The capabilities that the keeper works with and keeps, with their names.
const NEEDED: [(CapabilitySet, &str); 8] = [
    (CapabilitySet::BPF, "CAP_BPF"),
    (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN"),
    (CapabilitySet::NET_RAW, "CAP_NET_RAW"),
    (CapabilitySet::IPC_LOCK, "CAP_IPC_LOCK"),
    (CapabilitySet::SETUID, "CAP_SETUID"),
    (CapabilitySet::SETGID, "CAP_SETGID"),
    (CapabilitySet::SETPCAP, "CAP_SETPCAP"),
    (CapabilitySet::KILL, "CAP_KILL"),
];

/// Why this machine or this user cannot run sixlane.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// The kernel lacks features.
    #[error("Linux {release} is too old: sixlane needs {}.{} or newer, boot such a kernel (Debian 12 has one in its backports)", MINIMUM.0, MINIMUM.1)]
    Kernel {
        /// As `uname -r` says.
        release: String,
    },
    /// Not root.
    #[error("`sixlane run` needs root and was started by uid {uid}: start it with sudo or as a service")]
    NotRoot {
        /// The caller's user.
        uid: u32,
    },
    /// Root, but of a container or a unit that took too much away.
    #[error(
        "`sixlane run` lacks the privilege {missing}: add it to the bounding set of the service or container"
    )]
    Capabilities {
        /// Names of those that lack.
        missing: String,
    },
}

/// All that the keeper keeps.
pub(crate) fn needed() -> CapabilitySet {
    NEEDED.iter().fold(CapabilitySet::empty(), |set, (capability, _)| set | *capability)
}

/// Checks the running kernel and the effective rights of this process.
///
/// # Errors
/// [`HostError`]: one sentence with cause and remedy.
pub fn check() -> Result<(), HostError> {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    check_kernel(&release)?;
    let uid = rustix::process::geteuid();
    if !uid.is_root() {
        return Err(HostError::NotRoot { uid: uid.as_raw() });
    }
    let effective = rustix::thread::capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    check_capabilities(effective)
}

fn check_kernel(release: &str) -> Result<(), HostError> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next().and_then(|text| text.parse().ok()).unwrap_or(0);
    let version: (u32, u32) = (next(), next());
    if version < MINIMUM {
        return Err(HostError::Kernel { release: release.to_owned() });
    }
    Ok(())
}

fn check_capabilities(effective: CapabilitySet) -> Result<(), HostError> {
    let missing: Vec<&str> = NEEDED
        .iter()
        .filter(|(capability, _)| !effective.contains(*capability))
        .map(|(_, name)| *name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(HostError::Capabilities { missing: missing.join(", ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_compared_by_number() {
        for good in ["6.4", "6.4.0-1-amd64", "6.18.44-fc-v657", "7.0", "10.0.1"] {
            assert_eq!(check_kernel(good), Ok(()), "{good}");
        }
        for old in ["6.3.19", "6.1.0-13-amd64", "5.15.0-1", "2.6.78", "", "custom"] {
            let error = check_kernel(old).unwrap_err().to_string();
            assert!(error.contains("too old") && error.contains("6.4"), "{error}");
        }
    }

    #[test]
    fn missing_capabilities_are_named() {
        assert_eq!(check_capabilities(CapabilitySet::all()), Ok(()));
        let error =
            check_capabilities(needed() - CapabilitySet::BPF - CapabilitySet::KILL).unwrap_err().to_string();
        assert!(error.contains("CAP_BPF, CAP_KILL"), "{error}");
    }
}
