//! A network namespace and what runs inside it.

use crate::{Deadline, LabError, registry, run};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;

/// One host of a laboratory: a network namespace. Cheap to clone; the laboratory removes it.
#[derive(Debug, Clone)]
pub struct Host {
    name: String,
    namespace: String,
}

impl Host {
    /// Makes the namespace `<prefix>-<name>` with loopback up and duplicate address detection off.
    pub(crate) fn create(prefix: &str, name: &str) -> Result<Self, LabError> {
        let namespace = format!("{prefix}-{name}");
        run::run(Command::new("ip").args(["netns", "add", &namespace]))?;
        let host = Self { name: name.to_owned(), namespace };
        for family in ["all", "default"] {
            host.sysctl(&format!("net.ipv6.conf.{family}.accept_dad"), "0")?;
            host.sysctl(&format!("net.ipv4.conf.{family}.rp_filter"), "0")?;
        }
        // A new namespace inherits what the machine happens to do: no host forwards unless it says so.
        host.sysctl("net.ipv4.ip_forward", "0")?;
        host.sysctl("net.ipv6.conf.all.forwarding", "0")?;
        host.ip("link set lo up")?;
        Ok(host)
    }

    /// Its name inside the laboratory.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of its network namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A command that will run inside.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]);
        command.arg(program);
        command
    }

    /// Runs a command line (words divided by spaces) inside and gives its output.
    ///
    /// # Errors
    /// It failed, or did not end in 20 seconds.
    pub fn run(&self, line: &str) -> Result<String, LabError> {
        run::run(&mut self.words(line))
    }

    /// Runs a command line inside, whatever its exit status.
    ///
    /// # Errors
    /// It did not end in time.
    pub fn try_run(&self, line: &str, deadline: Deadline) -> Result<run::Output, LabError> {
        run::output(&mut self.words(line), deadline)
    }

    fn words(&self, line: &str) -> Command {
        let mut words = line.split_whitespace();
        let mut command = self.command(words.next().unwrap_or("true"));
        command.args(words);
        command
    }

    /// Runs `ip ARGUMENTS` inside.
    ///
    /// # Errors
    /// It failed.
    pub fn ip(&self, arguments: &str) -> Result<String, LabError> {
        let words = arguments.split_whitespace();
        run::run(Command::new("ip").args(["-n", &self.namespace]).args(words))
    }

    /// Sets a kernel parameter of the namespace; dots divide the name.
    ///
    /// # Errors
    /// It does not exist or cannot be set.
    pub fn sysctl(&self, name: &str, value: &str) -> Result<(), LabError> {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        self.within(|| std::fs::write(&path, value))?
            .map_err(|error| LabError::io(format!("writing {value} to {path}"), error))
    }

    /// Calls a function on a thread that is inside the namespace; sockets made there stay there.
    ///
    /// # Errors
    /// The namespace cannot be entered.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        let path = format!("/run/netns/{}", self.namespace);
        let entrance = File::open(&path).map_err(|error| LabError::io(format!("opening {path}"), error))?;
        let entered = std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(entrance.as_fd(), Some(LinkNameSpaceType::Network)).map(|()| work())
            });
            inside.join()
        });
        match entered {
            Ok(result) => result.map_err(|error| LabError::io(format!("entering {path}"), error)),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// The Ethernet address of an interface inside.
    ///
    /// # Errors
    /// There is no such interface.
    pub fn mac(&self, interface: &str) -> Result<[u8; 6], LabError> {
        let shown = self.ip(&format!("-br link show dev {interface}"))?;
        let word = shown.split_whitespace().nth(2).unwrap_or_default();
        let bytes: Vec<u8> = word.split(':').filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
        bytes.try_into().map_err(|_| LabError::Topology(format!("no Ethernet address in `{shown}`")))
    }

    /// The index of an interface inside.
    ///
    /// # Errors
    /// There is no such interface.
    pub fn index(&self, interface: &str) -> Result<u32, LabError> {
        let shown = self.ip(&format!("-o link show dev {interface}"))?;
        let word = shown.split(':').next().unwrap_or_default();
        word.trim().parse().map_err(|_| LabError::Topology(format!("no index in `{shown}`")))
    }

    /// The numbers of the processes inside.
    pub fn processes(&self) -> Vec<i32> {
        registry::processes(&self.namespace)
    }
}
