//! radvd inside a host: router advertisements of a real router.

use crate::{Deadline, Host, Lab, LabError, require, run};
use std::fs::File;
use std::process::{Child, Stdio};

/// A running radvd. Dropping it ends it.
#[derive(Debug)]
pub struct Radvd {
    child: Child,
}

impl Radvd {
    /// Starts radvd in `host` with this configuration (`radvd.conf`). The host must forward IPv6, as any
    /// router that advertises itself.
    ///
    /// # Errors
    /// It is not installed or cannot be started.
    pub fn start(lab: &Lab, host: &Host, config: &str) -> Result<Self, LabError> {
        require("radvd", "radvd")?;
        let file = |ending: &str| lab.directory().join(format!("radvd-{}.{ending}", host.name()));
        let made = std::fs::write(file("conf"), config).and_then(|()| File::create(file("log")));
        let log = made.map_err(|error| LabError::io("writing the configuration of radvd", error))?;
        let mut command = host.command("radvd");
        command.args(["--nodaemon", "--logmethod", "stderr", "--config"]).arg(file("conf"));
        command.arg("--pidfile").arg(file("pid"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().map_err(|error| LabError::io("starting radvd", error))?;
        Ok(Self { child })
    }
}

impl Drop for Radvd {
    fn drop(&mut self) {
        // At its end it says that it is no router.
        let _ = run::end(&mut self.child, &Deadline::seconds(5));
    }
}
