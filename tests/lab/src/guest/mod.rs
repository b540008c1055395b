//! The real Linux `sit` at the far end of the tunnel.
//!
//! If this kernel has the module, the far end is the namespace itself; if not, a User-Mode Linux
//! guest whose kernel has it. Either way it is Linux's own code that encapsulates and decapsulates.

mod cpio;
mod machine;
mod serial;
mod uml;

pub use machine::Machine;

use crate::{Deadline, Host, Lab, LabError, lab::require, run};
use std::path::{Path, PathBuf};
use std::process::Command;
use uml::Uml;

/// A Linux with `sit`, in which shell lines run.
#[derive(Debug)]
pub struct Guest {
    kind: Kind,
    scratch: PathBuf,
}

#[derive(Debug)]
enum Kind {
    /// The kernel of this machine has `sit`: the namespace is the far end.
    Namespace(Host),
    /// Its own kernel.
    Uml(Box<Uml>),
}

/// What a shell line answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its exit status.
    pub status: i32,
    /// What it wrote, both streams.
    pub text: String,
}

/// How the guest is set up.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The host (namespace) that it lives in.
    pub host: String,
    /// The interface there that is its wire.
    pub interface: String,
    /// Its IPv4 address with prefix length.
    pub ipv4: String,
    /// Its IPv4 gateway.
    pub gateway: String,
    /// Its 6to4 address with prefix length 16.
    pub ipv6: String,
    /// The IPv4 address of its 6to4 relay.
    pub relay: String,
}

impl Guest {
    /// Starts the far end and gives it addresses, `sit0` and a default route through the relay.
    ///
    /// # Errors
    /// It did not start (with its console), or refused its settings.
    pub fn start(lab: &Lab, host: &Host, settings: &Settings) -> Result<Self, LabError> {
        require("busybox", "busybox-static")?;
        let (kind, wire, scratch) = if kernel_has_sit(host) {
            (Kind::Namespace(host.clone()), settings.interface.as_str(), lab.directory())
        } else {
            let uml = boot(lab, host, &settings.interface)?;
            (Kind::Uml(Box::new(uml)), "vec0", Path::new("/tmp"))
        };
        let mut guest = Self { kind, scratch: scratch.to_owned() };
        let Settings { ipv4, gateway, ipv6, relay, .. } = settings;
        guest.sh(&format!(
            "ip addr add {ipv4} dev {wire} && ip link set {wire} up && \
             ip route add default via {gateway} && ip link set sit0 up && \
             ip -6 addr add {ipv6} dev sit0 && ip -6 route add ::/0 via ::{relay} dev sit0"
        ))?;
        Ok(guest)
    }

    /// A directory in which its shell lines may write; it ends with the laboratory.
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// What it is, for people.
    pub fn describe(&self) -> &'static str {
        match self.kind {
            Kind::Namespace(_) => "this kernel's own sit",
            Kind::Uml(_) => "User-Mode Linux with its own sit",
        }
    }

    /// Lets everybody in the laboratory have a shell on it; gives the command for that, which may have to
    /// reach `address` from the namespace `from`.
    pub(crate) fn open_shell(&mut self, from: &str, address: &str) -> Result<String, LabError> {
        if let Kind::Namespace(host) = &self.kind {
            return Ok(format!("ip netns exec {} sh", host.namespace()));
        }
        self.sh("mkdir -p /dev/pts && mount -t devpts pts /dev/pts && telnetd -l /bin/sh")?;
        Ok(format!("ip netns exec {from} busybox telnet {address}"))
    }

    /// Leaves it running when the value is dropped.
    pub(crate) fn keep(self) {
        if let Kind::Uml(uml) = self.kind {
            uml.keep();
        }
    }

    /// Runs a shell line that must succeed within 30 seconds and gives its output.
    ///
    /// # Errors
    /// It failed, or the guest is gone.
    pub fn sh(&mut self, line: &str) -> Result<String, LabError> {
        let answer = self.shell(line, Deadline::seconds(30))?;
        if answer.status == 0 {
            return Ok(answer.text);
        }
        Err(LabError::Command {
            command: format!("guest: {line}"),
            status: format!("exit status {}", answer.status),
            output: answer.text,
        })
    }

    /// Runs a shell line, whatever its exit status.
    ///
    /// # Errors
    /// It did not end in time, or the guest is gone.
    pub fn shell(&mut self, line: &str, deadline: Deadline) -> Result<Answer, LabError> {
        match &mut self.kind {
            Kind::Uml(uml) => uml.shell(line, deadline),
            Kind::Namespace(host) => {
                let done = run::output(host.command("busybox").args(["sh", "-c", line]), deadline)?;
                Ok(Answer {
                    status: done.status.code().unwrap_or(-1),
                    text: format!("{}{}", done.stdout, done.stderr).trim().to_owned(),
                })
            }
        }
    }
}

/// How often a guest that ends at its boot is booted.
const BOOTS: u32 = 6;

/// Boots a guest, again when it ends: on processors with AVX-512 a signal at the wrong moment overflows the
/// signal stack of one of its first processes, and the kernel outside ends that (it logs "linux.uml
/// overflowed sigaltstack", and the guest panics with "can't fork"). Seen about once in a hundred boots,
/// and more often in a row than chance would have it.
fn boot(lab: &Lab, host: &Host, interface: &str) -> Result<Uml, LabError> {
    let mut booted = Uml::boot(lab, host, interface);
    for _ in 1..BOOTS {
        if !matches!(booted, Err(LabError::Guest { .. })) {
            break;
        }
        booted = Uml::boot(lab, host, interface);
    }
    booted
}

/// Loads the module where it exists; a namespace of such a kernel has `sit0`.
fn kernel_has_sit(host: &Host) -> bool {
    let _ = run::run(Command::new("modprobe").args(["--quiet", "sit"]));
    host.ip("link show dev sit0").is_ok()
}

fn installed(path: &Path, package: &str) -> std::io::Result<Vec<u8>> {
    let merged = Path::new("/bin").join(path.file_name().unwrap_or_default());
    std::fs::read(path).or_else(|_| std::fs::read(merged)).map_err(|error| {
        std::io::Error::new(error.kind(), format!("{}: {error} (package {package})", path.display()))
    })
}

/// Finds a file by name, at most `depth` directories down.
fn find(directory: &Path, name: &str, depth: u32) -> Option<PathBuf> {
    let mut below = Vec::new();
    for entry in std::fs::read_dir(directory).ok()?.flatten() {
        if entry.file_name() == name {
            return Some(entry.path());
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            below.push(entry.path());
        }
    }
    let deeper = depth.checked_sub(1)?;
    below.iter().find_map(|path| find(path, name, deeper))
}
