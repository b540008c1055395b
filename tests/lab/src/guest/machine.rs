//! A whole Linux machine: Debian's kernel in QEMU, without KVM, for what the kernel of this machine has
//! not (802.1Q). It has no disk and no network: everything that a test needs is in its initramfs, and
//! its namespaces are its laboratory.

use super::{Answer, cpio::Archive, find, serial::Serial};
use crate::{Deadline, Host, Lab, LabError, lab::require, program, run};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

const INIT: &str = include_str!("machine.sh");

/// What is loaded, in this order.
const MODULES: [&str; 10] =
    ["llc", "stp", "garp", "mrp", "8021q", "veth", "tun", "tunnel4", "ip_tunnel", "sit"];

/// Programs besides busybox, each with its package: its `ip` does not know enough, and its shell takes no
/// other.
const PROGRAMS: [(&str, &str); 3] = [("ip", "iproute2"), ("ethtool", "ethtool"), ("dash", "dash")];

/// All that QEMU emulates, except the one instruction (CMPXCHG16B) that it gets wrong in Debian 12: with it
/// Linux 6.12 dies at its boot.
const PROCESSOR: &str = "max,-cx16";
/// Its memory in MiB.
const MEMORY: &str = "768";

/// A running machine. Dropping it ends it.
#[derive(Debug)]
pub struct Machine(Serial);

impl Machine {
    /// Boots a machine that has the `sixlane` of this build; `host` only names the namespace that its
    /// process lives in. Takes some seconds.
    ///
    /// # Errors
    /// A package is missing, or it did not come up in a minute (with its console).
    pub fn boot(lab: &Lab, host: &Host) -> Result<Self, LabError> {
        let qemu = require("qemu-system-x86_64", "qemu-system-x86")?;
        let kernel = kernel_directory()?;
        let directory = lab.directory().join(format!("machine-{}", host.name()));
        let initramfs = directory.join("initramfs");
        let console = directory.join("console");
        std::fs::create_dir_all(&directory)
            .map_err(|error| LabError::io("making the machine's directory", error))?;
        let image = kernel_image(&kernel)?;
        let contents = initramfs_bytes(&kernel, &directory)?;
        std::fs::write(&initramfs, contents)
            .map_err(|error| LabError::io("making the machine's initramfs", error))?;
        let mut command = host.command(qemu);
        command
            .args(["-accel", "tcg", "-cpu", PROCESSOR, "-smp", "2", "-m", MEMORY])
            .args(["-nodefaults", "-display", "none", "-no-reboot"])
            .args(["-append", "console=ttyS0 quiet panic=-1 mitigations=off"])
            .arg("-kernel")
            .arg(image)
            .arg("-initrd")
            .arg(&initramfs)
            .arg("-chardev")
            .arg(format!("file,id=console,append=on,path={}", console.display()))
            .args(["-serial", "chardev:console", "-serial", "stdio"]);
        Serial::start(&mut command, console).map(Self)
    }

    /// Runs a shell line that must succeed and gives its output.
    ///
    /// # Errors
    /// It failed, did not end in time, or the machine is gone.
    pub fn sh(&mut self, line: &str, deadline: Deadline) -> Result<String, LabError> {
        let answer = self.shell(line, deadline)?;
        if answer.status == 0 {
            return Ok(answer.text);
        }
        Err(LabError::Command {
            command: format!("machine: {line}"),
            status: format!("exit status {}", answer.status),
            output: answer.text,
        })
    }

    /// Runs a shell line, whatever its exit status.
    ///
    /// # Errors
    /// It did not end in time, or the machine is gone.
    pub fn shell(&mut self, line: &str, deadline: Deadline) -> Result<Answer, LabError> {
        self.0.shell(line, deadline)
    }
}

/// Where `scripts/deps.sh test` unpacks the kernel's package: `guest-kernel` of the build directory.
fn kernel_directory() -> Result<PathBuf, LabError> {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target")), PathBuf::from);
    let directory = target.join("guest-kernel");
    if directory.join("complete").is_file() {
        return Ok(directory);
    }
    Err(LabError::Shown(format!(
        "the kernel of the test machine is not in {}: `make deps-test` brings it",
        directory.display()
    )))
}

fn kernel_image(kernel: &Path) -> Result<PathBuf, LabError> {
    let boot = std::fs::read_dir(kernel.join("boot"))
        .map_err(|error| LabError::io("looking for the machine's kernel", error))?;
    let images = boot.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with("vmlinuz"));
    images.map(|entry| entry.path()).next().ok_or_else(|| {
        LabError::Shown(format!("no kernel in {}: remove it and run `make deps-test`", kernel.display()))
    })
}

fn initramfs_bytes(kernel: &Path, scratch: &Path) -> Result<Vec<u8>, LabError> {
    let reading = |error| LabError::io("collecting the machine's files", error);
    let mut files = Files::default();
    files.add("init", INIT.as_bytes().to_vec());
    files.add(
        "bin/busybox",
        super::installed(Path::new("/usr/bin/busybox"), "busybox-static").map_err(reading)?,
    );
    files.add("modules/order", MODULES.map(|module| format!("{module}\n")).concat().into_bytes());
    for module in MODULES {
        files.add(&format!("modules/{module}.ko"), module_bytes(kernel, module)?);
    }
    for (name, package) in PROGRAMS {
        files.program(&format!("sbin/{name}"), &require(name, package)?).map_err(reading)?;
    }
    let stripped = stripped(&program()?, &scratch.join("sixlane"));
    files.program("sbin/sixlane", &stripped).map_err(reading)?;
    Ok(files.archive())
}

/// A module of the kernel; some Debians compress them.
fn module_bytes(kernel: &Path, module: &str) -> Result<Vec<u8>, LabError> {
    let name = format!("{module}.ko");
    let modules = kernel.join("lib/modules");
    if let Some(plain) = find(&modules, &name, 8) {
        return std::fs::read(plain).map_err(|error| LabError::io(format!("reading {name}"), error));
    }
    let compressed = find(&modules, &format!("{name}.xz"), 8).ok_or_else(|| {
        LabError::Shown(format!("{name} is not in {}: remove it and run `make deps-test`", kernel.display()))
    })?;
    let done = Command::new(require("xz", "xz-utils")?).arg("-dc").arg(&compressed).output();
    match done {
        Ok(done) if done.status.success() => Ok(done.stdout),
        Ok(done) => {
            Err(LabError::Shown(format!("{} does not unpack ({})", compressed.display(), done.status)))
        }
        Err(error) => Err(LabError::io("starting xz", error)),
    }
}

/// The program without its symbols, which are most of it; as it is where that cannot be.
fn stripped(program: &Path, to: &Path) -> PathBuf {
    let done = run::output(Command::new("strip").arg("-o").arg(to).arg(program), Deadline::seconds(20));
    if done.is_ok_and(|done| done.status.success()) { to.to_owned() } else { program.to_owned() }
}

/// The files of an initramfs, each once.
#[derive(Default)]
struct Files {
    names: BTreeSet<String>,
    directories: BTreeSet<String>,
    contents: Vec<(String, Vec<u8>)>,
}

impl Files {
    fn add(&mut self, name: &str, content: Vec<u8>) {
        if self.names.insert(name.to_owned()) {
            let above = Path::new(name).ancestors().skip(1).filter(|path| !path.as_os_str().is_empty());
            self.directories.extend(above.map(|path| path.to_string_lossy().into_owned()));
            self.contents.push((name.to_owned(), content));
        }
    }

    /// A program, with the libraries that it is linked to under their own names.
    fn program(&mut self, name: &str, path: &Path) -> std::io::Result<()> {
        self.add(name, std::fs::read(path)?);
        // A static program has none: ldd fails.
        let listed = run::output(Command::new("ldd").arg(path), Deadline::seconds(20));
        let listed = listed.map(|listed| listed.stdout).unwrap_or_default();
        for library in listed.split_whitespace().filter(|word| word.starts_with('/')) {
            self.add(library.trim_start_matches('/'), std::fs::read(library)?);
        }
        Ok(())
    }

    fn archive(self) -> Vec<u8> {
        let mut archive = Archive::default();
        // Sorted: a directory comes before what is in it.
        self.directories.iter().for_each(|name| archive.directory(name));
        self.contents.iter().for_each(|(name, content)| archive.file(name, content));
        archive.finish()
    }
}
