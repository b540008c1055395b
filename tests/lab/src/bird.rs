//! BIRD inside a host: a BGP speaker that announces static routes.

use crate::{Deadline, Host, Lab, LabError, require, run};
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Stdio};

/// A running BIRD. Dropping it ends it.
#[derive(Debug)]
pub struct Bird {
    child: Child,
    host: Host,
    config: PathBuf,
    control: PathBuf,
}

impl Bird {
    /// Starts BIRD in `host` with this configuration (`bird.conf`).
    ///
    /// # Errors
    /// It is not installed or cannot be started.
    pub fn start(lab: &Lab, host: &Host, config: &str) -> Result<Self, LabError> {
        require("bird", "bird2")?;
        let file = |ending: &str| lab.directory().join(format!("bird-{}.{ending}", host.name()));
        let (path, control) = (file("conf"), file("ctl"));
        let made = std::fs::write(&path, config).and_then(|()| File::create(file("log")));
        let log = made.map_err(|error| LabError::io("writing the configuration of BIRD", error))?;
        let mut command = host.command("bird");
        command.arg("-f").arg("-c").arg(&path).arg("-s").arg(&control).arg("-P").arg(file("pid"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().map_err(|error| LabError::io("starting BIRD", error))?;
        Ok(Self { child, host: host.clone(), config: path, control })
    }

    /// Gives another configuration, and waits until BIRD has read it.
    ///
    /// # Errors
    /// BIRD does not take it.
    pub fn configure(&self, config: &str) -> Result<(), LabError> {
        std::fs::write(&self.config, config)
            .map_err(|error| LabError::io("writing the configuration of BIRD", error))?;
        self.ask("configure").map(drop)
    }

    /// The answer to a command, such as `show protocols`.
    ///
    /// # Errors
    /// BIRD refuses it.
    pub fn ask(&self, command: &str) -> Result<String, LabError> {
        run::run(self.host.command("birdc").arg("-s").arg(&self.control).args(command.split_whitespace()))
    }
}

impl Drop for Bird {
    fn drop(&mut self) {
        let _ = run::end(&mut self.child, &Deadline::seconds(5));
    }
}
