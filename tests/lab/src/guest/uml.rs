//! A User-Mode Linux guest: Debian's kernel as a process, with its own `ipv6` and `sit` modules.
//!
//! Its Ethernet wire is an interface of the namespace it runs in; its serial line is a pair of
//! pipes that carry commands and answers; its console is a file.

use super::{Answer, cpio::Archive, find, serial::Serial};
use crate::{Deadline, Host, Lab, LabError, lab::require};
use std::path::Path;

const INIT: &str = include_str!("init.sh");
const MODULES: [&str; 5] = ["crc-ccitt", "ipv6", "tunnel4", "ip_tunnel", "sit"];

/// A running guest. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Uml(Serial);

impl Uml {
    /// Boots a guest in `host` whose `vec0` is the host's `interface`.
    ///
    /// # Errors
    /// A package is missing, or the guest did not come up in a minute (with its console).
    pub(super) fn boot(lab: &Lab, host: &Host, interface: &str) -> Result<Self, LabError> {
        let kernel = require("linux.uml", "user-mode-linux")?;
        let directory = lab.directory().join(format!("guest-{}", host.name()));
        let initramfs = directory.join("initramfs");
        let console = directory.join("console");
        // What a guest that ended has left would be in the way of the next.
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory)
            .and_then(|()| std::fs::write(&initramfs, initramfs_bytes()?))
            .map_err(|error| LabError::io("making the guest's initramfs", error))?;
        let mut command = host.command(kernel);
        command
            .args(["mem=64M", "quiet", "con=null", "con0=null,fd:2", "ssl=null", "ssl0=fd:0,fd:1"])
            .arg(format!("initrd={}", initramfs.display()))
            .arg(format!("uml_dir={}/", directory.display()))
            .arg("umid=guest")
            .arg(format!("vec0:transport=raw,ifname={interface},depth=128,gro=0"));
        Serial::start(&mut command, console).map(Self)
    }

    /// Runs a shell line inside.
    ///
    /// # Errors
    /// The guest is gone or did not answer in time (with its console).
    pub(super) fn shell(&mut self, line: &str, deadline: Deadline) -> Result<Answer, LabError> {
        self.0.shell(line, deadline)
    }

    /// Leaves it running when the value is dropped.
    pub(super) fn keep(self) {
        self.0.keep();
    }
}

fn initramfs_bytes() -> std::io::Result<Vec<u8>> {
    let mut archive = Archive::default();
    for directory in ["bin", "lib", "dev", "proc", "sys", "tmp"] {
        archive.directory(directory);
    }
    archive.file("init", INIT.as_bytes());
    archive.file("bin/busybox", &super::installed(Path::new("/usr/bin/busybox"), "busybox-static")?);
    for module in MODULES {
        let name = format!("{module}.ko");
        let path = find(Path::new("/usr/lib/uml/modules"), &name, 8).ok_or_else(|| {
            std::io::Error::other(format!("{name} is not in /usr/lib/uml/modules (package user-mode-linux)"))
        })?;
        archive.file(&format!("lib/{name}"), &std::fs::read(path)?);
    }
    Ok(archive.finish())
}
