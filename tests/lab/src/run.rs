//! Commands with a deadline, and the end of processes.

use crate::{Deadline, LabError, deadline};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};

/// Runs a command to its end and gives its standard output.
///
/// # Errors
/// It is not installed, failed, or did not end in 20 seconds.
pub fn run(command: &mut Command) -> Result<String, LabError> {
    let done = output(command, Deadline::seconds(20))?;
    if done.status.success() {
        return Ok(done.stdout);
    }
    Err(LabError::Command {
        command: line(command),
        status: done.status.to_string(),
        output: format!("{}{}", done.stdout, done.stderr).trim().to_owned(),
    })
}

/// What a command left.
#[derive(Debug, Clone)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Runs a command to its end, whatever its exit status.
///
/// # Errors
/// It is not installed, or did not end in time (it is killed then).
pub fn output(command: &mut Command, deadline: Deadline) -> Result<Output, LabError> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| LabError::io(format!("starting `{}`", line(command)), error))?;
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let ended = wait(&mut child, &deadline);
    if !matches!(ended, Ok(Some(_))) {
        let _ = child.kill();
        let _ = child.wait();
    }
    let status = ended?.ok_or_else(|| deadline.missed(format!("the end of `{}`", line(command))))?;
    Ok(Output {
        status,
        stdout: stdout.join().unwrap_or_default(),
        stderr: stderr.join().unwrap_or_default(),
    })
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Waits for a child's end; `None` when the deadline passed first.
///
/// # Errors
/// The system refused, or the user asked for the end.
pub fn wait(child: &mut Child, deadline: &Deadline) -> Result<Option<ExitStatus>, LabError> {
    let pid = Pid::from_child(child);
    let watch = pidfd_open(pid, PidfdFlags::empty())
        .map_err(|error| LabError::io("watching a child process", error))?;
    if !deadline::readable(&watch, deadline)? {
        return Ok(None);
    }
    child.wait().map(Some).map_err(|error| LabError::io("waiting for a child process", error))
}

/// Ends a child in order: asks it to stop, and kills it when it has not by the deadline: then `None`.
///
/// # Errors
/// The system refused, or the user asked for the end; the child is killed then too.
pub(crate) fn end(child: &mut Child, deadline: &Deadline) -> Result<Option<ExitStatus>, LabError> {
    // Not waited for yet, so the number is still its own.
    if let Some(process) = i32::try_from(child.id()).ok().and_then(Process::open) {
        process.signal(Signal::TERM);
    }
    let ended = wait(child, deadline);
    if !matches!(ended, Ok(Some(_))) {
        let _ = child.kill();
        let _ = child.wait();
    }
    ended
}

/// A process that is not our child: its number and a descriptor that cannot come to mean another.
#[derive(Debug)]
pub struct Process {
    pid: i32,
    watch: std::os::fd::OwnedFd,
}

impl Process {
    /// Takes hold of a running process; `None` when there is none of that number.
    pub fn open(pid: i32) -> Option<Self> {
        let watch = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        Some(Self { pid, watch })
    }

    /// Its number.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Sends a signal; a process that is gone is no failure.
    pub fn signal(&self, signal: Signal) {
        let _ = rustix::process::pidfd_send_signal(&self.watch, signal);
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It was still there at the deadline.
    pub fn ended(&self, deadline: &Deadline) -> Result<(), LabError> {
        if deadline::readable(&self.watch, deadline)? {
            return Ok(());
        }
        Err(deadline.missed(format!("the end of process {}", self.pid)))
    }

    /// Kills it and waits until it is gone.
    ///
    /// # Errors
    /// It was still there after ten seconds.
    pub fn kill(&self) -> Result<(), LabError> {
        self.signal(Signal::KILL);
        self.ended(&Deadline::seconds(10))
    }
}

/// Ends processes by number and waits a little for their end; used where no handle was kept.
pub(crate) fn end_all(pids: &[i32]) {
    let processes: Vec<Process> = pids.iter().filter_map(|pid| Process::open(*pid)).collect();
    for process in &processes {
        process.signal(Signal::KILL);
    }
    // A stopped or traced process needs its tracer's end first: twice does it.
    for process in &processes {
        if let Some(pid) = Pid::from_raw(process.pid) {
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = process.ended(&Deadline::seconds(5));
    }
}

/// The command as one line, for messages.
pub(crate) fn line(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}
