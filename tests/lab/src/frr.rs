//! FRRouting as a neighbour or beside the relay: zebra and bgpd inside one host, with sockets and files
//! of their own. No service of the machine is touched.

use crate::{Deadline, Host, Lab, LabError, eventually, require, run};
use std::fs::File;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Where Debian puts the daemons.
const DAEMONS: &str = "/usr/lib/frr";
/// The daemons of a router, in the order of their start.
const STARTED: [&str; 2] = ["zebra", "bgpd"];

/// A running zebra and bgpd. Dropping it ends them; zebra then takes its routes out of the kernel.
#[derive(Debug)]
pub struct Frr {
    host: Host,
    directory: PathBuf,
    /// In the order of their start.
    daemons: Vec<Child>,
}

impl Frr {
    /// Starts zebra and bgpd in `host` and gives them this configuration (what `vtysh` takes in a file).
    ///
    /// # Errors
    /// FRR is not installed, a daemon did not start in ten seconds, or a line is refused.
    pub fn start(lab: &Lab, host: &Host, config: &str) -> Result<Self, LabError> {
        Self::start_with(lab, host, config, &[])
    }

    /// The same with more arguments for zebra, such as a module.
    ///
    /// # Errors
    /// As [`Frr::start`].
    pub fn start_with(lab: &Lab, host: &Host, config: &str, zebra: &[&str]) -> Result<Self, LabError> {
        require("vtysh", "frr")?;
        let directory = lab.directory().join(format!("frr-{}", host.name()));
        let made = std::fs::create_dir_all(&directory);
        made.map_err(|error| LabError::io(format!("making {}", directory.display()), error))?;
        let (user, group) = user()?;
        chown(&directory, Some(user), Some(group))
            .map_err(|error| LabError::io(format!("giving {} to frr", directory.display()), error))?;
        let mut frr = Self { host: host.clone(), directory, daemons: Vec::new() };
        for name in STARTED {
            let more = if name == "zebra" { zebra } else { &[] };
            let daemon = frr.daemon(name, more)?;
            frr.daemons.push(daemon);
            frr.wait_for(name)?;
        }
        frr.configure(config)?;
        Ok(frr)
    }

    fn daemon(&self, name: &str, more: &[&str]) -> Result<Child, LabError> {
        let file = |ending: &str| self.directory.join(format!("{name}.{ending}"));
        let program = Path::new(DAEMONS).join(name);
        let log = File::create(file("out"))
            .map_err(|error| LabError::io(format!("writing {}", file("out").display()), error))?;
        let errors = log.try_clone().map_err(|error| LabError::io("a second hold of a file", error))?;
        let mut command = self.host.command(&program);
        command.arg("-i").arg(file("pid")).arg("-z").arg(self.directory.join("zserv.api"));
        command.arg("--vty_socket").arg(&self.directory);
        command.args(["-P", "0", "-f", "/dev/null", "--log", "stdout"]).args(more);
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        command.spawn().map_err(|error| LabError::io(format!("starting {}", program.display()), error))
    }

    /// A daemon is up when it answers; it may also have ended.
    fn wait_for(&mut self, name: &str) -> Result<(), LabError> {
        let up = eventually("an answer of FRR", Deadline::seconds(10), || {
            if let Some(Ok(Some(status))) = self.daemons.last_mut().map(Child::try_wait) {
                return Some(Err(status));
            }
            self.vtysh_of(name, "show version").ok().filter(|text| text.contains("FRRouting")).map(Ok)
        });
        match up {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(status)) => Err(self.failed(name, &format!("ended at its start ({status})"))),
            Err(LabError::Interrupted) => Err(LabError::Interrupted),
            Err(_) => Err(self.failed(name, "did not answer in 10 seconds")),
        }
    }

    fn failed(&self, name: &str, what: &str) -> LabError {
        let log = std::fs::read_to_string(self.directory.join(format!("{name}.out"))).unwrap_or_default();
        LabError::Shown(format!("FRR's {name} in {} {what}; its log:\n{log}", self.host.name()))
    }

    /// Gives more configuration.
    ///
    /// # Errors
    /// A line is refused.
    pub fn configure(&self, config: &str) -> Result<(), LabError> {
        let file = self.directory.join("config");
        std::fs::write(&file, config)
            .map_err(|error| LabError::io(format!("writing {}", file.display()), error))?;
        run::run(self.vtysh().arg("-f").arg(&file)).map(drop)
    }

    /// The output of a command, such as `show bgp ipv6 unicast`.
    ///
    /// # Errors
    /// It failed.
    pub fn ask(&self, command: &str) -> Result<String, LabError> {
        run::run(self.vtysh().args(["-c", command]))
    }

    /// The parsed output of a command that ends with `json`.
    ///
    /// # Errors
    /// It failed or is no JSON.
    pub fn json(&self, command: &str) -> Result<serde_json::Value, LabError> {
        let text = self.ask(command)?;
        serde_json::from_str(&text)
            .map_err(|error| LabError::io(format!("reading `{text}`"), std::io::Error::from(error)))
    }

    /// Waits until the BGP session with this neighbour is established.
    ///
    /// # Errors
    /// It was not in 60 seconds.
    pub fn established(&self, neighbour: &str) -> Result<(), LabError> {
        eventually("the BGP session", Deadline::seconds(60), || {
            let shown = self.json(&format!("show bgp neighbors {neighbour} json")).ok()?;
            (shown[neighbour]["bgpState"] == "Established").then_some(())
        })
    }

    /// Whether BGP knows a best path to this IPv6 prefix.
    ///
    /// # Errors
    /// `vtysh` failed.
    pub fn knows(&self, prefix: &str) -> Result<bool, LabError> {
        let shown = self.json(&format!("show bgp ipv6 unicast {prefix} json"))?;
        Ok(shown["paths"].as_array().is_some_and(|paths| paths.iter().any(|path| path["valid"] == true)))
    }

    fn vtysh(&self) -> Command {
        let mut command = self.host.command("vtysh");
        command.arg("--vty_socket").arg(&self.directory);
        command
    }

    fn vtysh_of(&self, daemon: &str, command: &str) -> Result<String, LabError> {
        run::run(self.vtysh().args(["-d", daemon, "-c", command]))
    }

    /// Ends both in order, bgpd first.
    ///
    /// # Errors
    /// One was still there after ten seconds.
    pub fn stop(&mut self) -> Result<(), LabError> {
        while let Some(mut daemon) = self.daemons.pop() {
            let deadline = Deadline::seconds(10);
            if run::end(&mut daemon, &deadline)?.is_none() {
                return Err(deadline.missed("the end of an FRR daemon"));
            }
        }
        Ok(())
    }
}

impl Drop for Frr {
    fn drop(&mut self) {
        while !self.daemons.is_empty() {
            let _ = self.stop();
        }
    }
}

/// Number of FRR's user and of its group: zebra runs as nobody else.
fn user() -> Result<(u32, u32), LabError> {
    let missing = || LabError::Missing { program: "the user frr".to_owned(), package: "frr" };
    let users = std::fs::read_to_string("/etc/passwd").map_err(|_| missing())?;
    let line = users.lines().find(|line| line.starts_with("frr:")).ok_or_else(missing)?;
    let mut numbers = line.split(':').skip(2).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(user)), Some(Ok(group))) => Ok((user, group)),
        _ => Err(missing()),
    }
}
