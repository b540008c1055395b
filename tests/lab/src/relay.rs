//! The relay under test: `sixlane run` inside a namespace, and its processes.

use crate::{Deadline, Host, Lab, LabError, Process, eventually, run};
use rustix::process::Signal;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// A process of the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Configuration, netlink, tables.
    Control,
    /// The poll loops.
    DataPlane,
    /// Metrics.
    Observer,
}

impl Part {
    /// The word in its command line: `sixlane internal WORD`.
    fn word(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::DataPlane => "dataplane",
            Self::Observer => "observer",
        }
    }
}

/// A running relay. Dropping it stops it in order, and kills what does not stop.
#[derive(Debug)]
pub struct Relay {
    child: Child,
    host: Host,
    program: PathBuf,
    runtime: PathBuf,
    config: PathBuf,
    log: PathBuf,
    kept: bool,
}

impl Relay {
    /// Starts the relay in `host` with this configuration and waits until it forwards.
    ///
    /// # Errors
    /// It ended or was not ready in 15 seconds (with its log).
    pub fn start(lab: &Lab, host: &Host, config: &str) -> Result<Self, LabError> {
        Self::start_through(&[], lab, host, config)
    }

    /// Starts the relay through a command that executes it, such as `unshare` with options.
    ///
    /// # Errors
    /// As [`Relay::start`].
    pub fn start_through(through: &[&str], lab: &Lab, host: &Host, config: &str) -> Result<Self, LabError> {
        let mut relay = Self::launch(through, lab, host, config)?;
        relay.wait_ready()?;
        Ok(relay)
    }

    fn launch(through: &[&str], lab: &Lab, host: &Host, config: &str) -> Result<Self, LabError> {
        let program = program()?;
        let directory = lab.directory().join(format!("relay-{}", host.name()));
        let (runtime, file, log) =
            (directory.join("runtime"), directory.join("sixlane.toml"), directory.join("log"));
        let output = std::fs::create_dir_all(&runtime)
            .and_then(|()| std::fs::write(&file, config))
            .and_then(|()| File::create(&log))
            .map_err(|error| LabError::io(format!("writing {}", directory.display()), error))?;
        let mut words = through.iter().map(OsString::from).chain([program.clone().into_os_string()]);
        let child = host
            .command(words.next().unwrap_or_default())
            .args(words)
            .arg("run")
            .arg(&file)
            .arg("--runtime")
            .arg(&runtime)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .process_group(0)
            .spawn()
            .map_err(|error| LabError::io(format!("starting {}", program.display()), error))?;
        Ok(Self { child, host: host.clone(), program, runtime, config: file, log, kept: false })
    }

    /// Waits until the relay says that it is ready.
    ///
    /// # Errors
    /// It ended or was not ready in 15 seconds (with its log).
    pub fn wait_ready(&mut self) -> Result<(), LabError> {
        let ready = eventually("the relay's readiness", Deadline::seconds(15), || {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(Err(status));
            }
            let status = self.ask("status").ok()?;
            forwards(&status).then_some(Ok(()))
        });
        match ready {
            Ok(Ok(())) => Ok(()),
            Ok(Err(status)) => Err(self.failed(format!("ended at its start ({status})"))),
            Err(LabError::Interrupted) => Err(LabError::Interrupted),
            Err(_) => Err(self.failed("was not ready in 15 seconds")),
        }
    }

    /// The log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Where the log is.
    pub fn log_file(&self) -> &Path {
        &self.log
    }

    /// A failure that carries the log.
    pub fn failed(&self, what: impl Into<String>) -> LabError {
        LabError::Relay { what: what.into(), log: self.log() }
    }

    /// Its runtime directory.
    pub fn runtime(&self) -> &Path {
        &self.runtime
    }

    /// Its configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Asks the reading admin socket one question.
    ///
    /// # Errors
    /// Nobody listens, or the answer is no JSON.
    pub fn ask(&self, get: &str) -> Result<serde_json::Value, LabError> {
        let fail = |error| LabError::io("asking the admin socket", error);
        let mut stream = UnixStream::connect(self.runtime.join("admin.sock")).map_err(fail)?;
        stream.set_read_timeout(Some(std::time::Duration::from_secs(5))).map_err(fail)?;
        writeln!(stream, "{}", serde_json::json!({"v": 1, "get": get})).map_err(fail)?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).map_err(fail)?;
        serde_json::from_str(&line).map_err(|error| fail(error.into()))
    }

    /// Puts another text in the place of its configuration file, by one rename.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn configure(&self, text: &str) -> Result<(), LabError> {
        let fresh = self.config.with_extension("fresh");
        std::fs::write(&fresh, text)
            .and_then(|()| std::fs::rename(&fresh, &self.config))
            .map_err(|error| LabError::io("writing the configuration", error))
    }

    /// Gives one order to the changing admin socket.
    ///
    /// # Errors
    /// Nobody listens, or the answer is no JSON.
    pub fn order(&self, order: &str) -> Result<serde_json::Value, LabError> {
        let fail = |error| LabError::io("ordering something", error);
        let mut stream = UnixStream::connect(self.runtime.join("change.sock")).map_err(fail)?;
        stream.set_read_timeout(Some(std::time::Duration::from_secs(30))).map_err(fail)?;
        writeln!(stream, "{}", serde_json::json!({"v": 1, "do": order})).map_err(fail)?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).map_err(fail)?;
        serde_json::from_str(&line).map_err(|error| fail(error.into()))
    }

    /// A `sixlane` command that speaks to this relay, inside its namespace.
    pub fn sixlane(&self, arguments: &[&str]) -> Command {
        let mut command = self.host.command(&self.program);
        command.args(arguments).arg("--runtime").arg(&self.runtime);
        command
    }

    /// The output of a `sixlane` command that must succeed.
    ///
    /// # Errors
    /// It failed.
    pub fn show(&self, arguments: &[&str]) -> Result<String, LabError> {
        run::run(&mut self.sixlane(arguments))
    }

    /// The parsed output of a `sixlane … --json` command.
    ///
    /// # Errors
    /// It failed or is no JSON.
    pub fn show_json(&self, arguments: &[&str]) -> Result<serde_json::Value, LabError> {
        let text = run::run(self.sixlane(arguments).arg("--json"))?;
        serde_json::from_str(&text)
            .map_err(|error| LabError::io(format!("reading `{text}`"), std::io::Error::from(error)))
    }

    /// The keeper's process, while it has not been waited for.
    pub fn keeper(&self) -> Option<Process> {
        i32::try_from(self.child.id()).ok().and_then(Process::open)
    }

    /// Kills the keeper alone and waits until it is gone.
    ///
    /// # Errors
    /// It would not die.
    pub fn kill_keeper(&mut self) -> Result<(), LabError> {
        self.child.kill().map_err(|error| LabError::io("killing the keeper", error))?;
        run::wait(&mut self.child, &Deadline::seconds(10)).map(drop)
    }

    /// The running process of a part.
    pub fn part(&self, part: Part) -> Option<Process> {
        let pid = self.host.processes().into_iter().find(|pid| is_part(*pid, part))?;
        Process::open(pid)
    }

    /// Kills a part and gives its process number.
    ///
    /// # Errors
    /// It was not running.
    pub fn kill(&self, part: Part) -> Result<i32, LabError> {
        let process = eventually("a running process to kill", Deadline::seconds(10), || self.part(part))
            .map_err(|_| self.failed(format!("has no {} process", part.word())))?;
        process.kill()?;
        Ok(process.pid())
    }

    /// Kills keeper, control and data plane, in this order, so that nobody restarts anything.
    ///
    /// # Errors
    /// One of them would not die.
    pub fn kill_all(&mut self) -> Result<(), LabError> {
        let parts: Vec<Process> =
            [Part::Control, Part::DataPlane].into_iter().filter_map(|part| self.part(part)).collect();
        self.kill_keeper()?;
        for part in &parts {
            part.kill()?;
        }
        Ok(())
    }

    /// Waits until a part runs under another process number and the relay is ready again.
    ///
    /// # Errors
    /// It was not restarted in ten seconds (with the log).
    pub fn restarted(&self, part: Part, before: i32) -> Result<(), LabError> {
        eventually("a restart", Deadline::seconds(10), || {
            let now = self.part(part)?;
            let status = self.ask("status").ok()?;
            (now.pid() != before && forwards(&status)).then_some(())
        })
        .map_err(|_| self.failed(format!("did not restart {} in 10 seconds", part.word())))
    }

    /// Stops it in order and gives its exit status.
    ///
    /// # Errors
    /// It did not end within ten seconds (with its log).
    pub fn stop(&mut self) -> Result<ExitStatus, LabError> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Ok(status);
        }
        // Not waited for yet, so the number still means the keeper.
        if let Some(keeper) = self.keeper() {
            keeper.signal(Signal::TERM);
        }
        run::wait(&mut self.child, &Deadline::seconds(10))?
            .ok_or_else(|| self.failed("did not stop in 10 seconds"))
    }

    /// Leaves it running when the value is dropped.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if self.stop().is_err() {
            let _ = self.kill_all();
        }
    }
}

/// Whether an answer to `status` says that packets are taken and forwarded.
fn forwards(status: &serde_json::Value) -> bool {
    status["dataplane"] == "forwarding"
}

fn is_part(pid: i32, part: Part) -> bool {
    let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else {
        return false;
    };
    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    words.get(1) == Some(&b"internal".as_slice()) && words.get(2) == Some(&part.word().as_bytes())
}

/// The `sixlane` binary: the one that runs, the one named by `SIXLANE_BIN`, or the one of the same
/// build as this test.
///
/// # Errors
/// It has not been built.
pub fn program() -> Result<PathBuf, LabError> {
    if let Some(named) = std::env::var_os("SIXLANE_BIN") {
        return Ok(PathBuf::from(named));
    }
    let this = std::env::current_exe().map_err(|error| LabError::io("finding this program", error))?;
    if this.file_name().is_some_and(|name| name == "sixlane") {
        return Ok(this);
    }
    this.ancestors()
        .skip(1)
        .take(3)
        .map(|directory| directory.join("sixlane"))
        .find(|file| file.is_file())
        .ok_or_else(|| {
            LabError::Shown("the sixlane binary is not built: run `cargo build -p sixlane` first".to_owned())
        })
}
