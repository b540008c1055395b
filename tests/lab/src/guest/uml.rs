//! A User-Mode Linux guest: Debian's kernel as a process, with its own `ipv6` and `sit` modules.
//!
//! Its Ethernet wire is an interface of the namespace it runs in; its serial line is a pair of
//! pipes that carry commands and answers; its console is a file.

use super::{Answer, cpio::Archive};
use crate::{Deadline, Host, Lab, LabError, lab::require, run};
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

const INIT: &str = include_str!("init.sh");
const MODULES: [&str; 5] = ["crc-ccitt", "ipv6", "tunnel4", "ip_tunnel", "sit"];

/// A running guest. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Uml {
    child: Child,
    commands: ChildStdin,
    answers: Receiver<String>,
    console: PathBuf,
    count: u32,
    kept: bool,
}

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
        let log =
            File::create(&console).map_err(|error| LabError::io("making the guest's console", error))?;
        let mut child = host
            .command(kernel)
            .args(["mem=64M", "quiet", "con=null", "con0=null,fd:2", "ssl=null", "ssl0=fd:0,fd:1"])
            .arg(format!("initrd={}", initramfs.display()))
            .arg(format!("uml_dir={}/", directory.display()))
            .arg("umid=guest")
            .arg(format!("vec0:transport=raw,ifname={interface},depth=128,gro=0"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0)
            .spawn()
            .map_err(|error| LabError::io("starting linux.uml", error))?;
        let (Some(commands), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(LabError::Topology("the guest has no pipes".to_owned()));
        };
        let mut guest = Self { child, commands, answers: lines(output), console, count: 0, kept: false };
        guest.answer(0, Deadline::seconds(60))?;
        Ok(guest)
    }

    /// Runs a shell line inside.
    ///
    /// # Errors
    /// The guest is gone or did not answer in time (with its console).
    pub(super) fn shell(&mut self, line: &str, deadline: Deadline) -> Result<Answer, LabError> {
        self.count += 1;
        let number = self.count;
        if writeln!(self.commands, "{number} {line}").is_err() {
            return Err(self.failed("takes no more commands"));
        }
        self.answer(number, deadline)
    }

    /// Leaves it running when the value is dropped: it goes on without its serial line.
    pub(super) fn keep(mut self) {
        self.kept = true;
    }

    fn answer(&mut self, number: u32, deadline: Deadline) -> Result<Answer, LabError> {
        let mut text = String::new();
        loop {
            match self.answers.recv_timeout(deadline.left().min(std::time::Duration::from_millis(100))) {
                Ok(line) => {
                    let Some((of, status)) = line.strip_prefix("@@ ").and_then(|rest| rest.split_once(' '))
                    else {
                        text.push_str(&line);
                        text.push('\n');
                        continue;
                    };
                    if of.parse() == Ok(number) {
                        return Ok(Answer {
                            status: status.trim().parse().unwrap_or(-1),
                            text: text.trim().to_owned(),
                        });
                    }
                    text.clear(); // of a command that was given up
                }
                Err(RecvTimeoutError::Timeout) => {
                    crate::interrupt::check()?;
                    // On a busy machine the guest can sleep through an interrupt; the next wakes it.
                    // An empty line is no command.
                    let _ = self.commands.write_all(b"\n");
                    if deadline.passed() {
                        return Err(self.failed(&format!("did not answer in {:?}", deadline.waited())));
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return Err(self.failed("has ended")),
            }
        }
    }

    fn failed(&self, what: &str) -> LabError {
        let console = std::fs::read(&self.console).unwrap_or_default();
        LabError::Guest { what: what.to_owned(), console: String::from_utf8_lossy(&console).into_owned() }
    }
}

impl Drop for Uml {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        // Its helper processes are in its group; what escapes ends with the namespace.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = run::wait(&mut self.child, &Deadline::seconds(5));
    }
}

fn lines(output: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            let text = String::from_utf8_lossy(&line);
            if sender.send(text.trim_end_matches(['\r', '\n']).to_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
    receiver
}

fn initramfs_bytes() -> std::io::Result<Vec<u8>> {
    let mut archive = Archive::default();
    for directory in ["bin", "lib", "dev", "proc", "sys", "tmp"] {
        archive.directory(directory);
    }
    archive.file("init", INIT.as_bytes());
    archive.file("bin/busybox", &installed(Path::new("/usr/bin/busybox"), "busybox-static")?);
    for module in MODULES {
        let name = format!("{module}.ko");
        let path = find(Path::new("/usr/lib/uml/modules"), &name, 8).ok_or_else(|| {
            std::io::Error::other(format!("{name} is not in /usr/lib/uml/modules (package user-mode-linux)"))
        })?;
        archive.file(&format!("lib/{name}"), &std::fs::read(path)?);
    }
    Ok(archive.finish())
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
