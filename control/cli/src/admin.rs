//! A client of the admin sockets: one JSON line out, one in, perhaps with descriptors.

use std::io::{self, ErrorKind, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::{Value, json};

use crate::failure::Failure;

/// Name of the reading socket in the runtime directory.
const READING: &str = "admin.sock";
/// Name of the changing one.
const CHANGING: &str = "change.sock";
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most descriptors of one answer (the kernel's own limit).
const DESCRIPTORS_MAX: usize = 253;
/// Most bytes of an answer: routes of a full table are asked for in part.
const ANSWER_MAX: usize = 64 << 20;

/// What the relay said.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The object, as it came.
    pub(crate) value: Value,
    /// What came with it.
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// Asks the relay in `runtime` for `what`.
///
/// # Errors
/// Exit code 3 when none is running there, else 1 with the cause.
pub(crate) fn ask(runtime: &Path, what: &str) -> Result<Answer, Failure> {
    exchange(runtime, READING, &json!({ "v": 1, "get": what }), PATIENCE)
}

/// Orders the relay in `runtime` to do `what`.
///
/// # Errors
/// As [`ask`]; exit code 2 when the configuration is at fault.
pub(crate) fn order(runtime: &Path, what: &str, patience: Duration) -> Result<Answer, Failure> {
    exchange(runtime, CHANGING, &json!({ "v": 1, "do": what }), patience)
}

/// Sends `request` to the socket of this name in `runtime` and waits at most `patience` for each part of
/// the answer. A refusal by the relay is a failure.
///
/// # Errors
/// As [`ask`].
pub(crate) fn exchange(
    runtime: &Path,
    socket: &str,
    request: &Value,
    patience: Duration,
) -> Result<Answer, Failure> {
    let mut stream = connect(runtime, socket)?;
    let failed = |error: io::Error| {
        Failure::failed(format!("the relay did not answer ({error}): see what it logs, then try again"))
    };
    stream.set_read_timeout(Some(patience)).map_err(failed)?;
    stream.set_write_timeout(Some(patience)).map_err(failed)?;
    // A relay that refuses to listen may have said why: its answer is read all the same.
    let sent = stream.write_all(format!("{request}\n").as_bytes());
    let (line, descriptors) = read_line(&stream).map_err(|error| failed(sent.err().unwrap_or(error)))?;
    let value: Value = serde_json::from_slice(&line).map_err(|error| failed(error.into()))?;
    match value.get("error").and_then(Value::as_str) {
        // The configuration's own fault is told as `sixlane check` tells it.
        Some(sentence) => Err(match value.get("report").and_then(Value::as_str) {
            Some(report) => Failure::usage(report),
            None => Failure::failed(sentence),
        }),
        None => Ok(Answer { value, descriptors }),
    }
}

fn connect(runtime: &Path, socket: &str) -> Result<UnixStream, Failure> {
    // Through the directory's descriptor: a socket's path may only be 107 bytes long. Members of the admin
    // group may pass through the directory but not open it.
    let directory = std::fs::File::open(runtime);
    let path = directory.as_ref().map_or_else(
        |_| runtime.join(socket),
        |directory| format!("/proc/self/fd/{}/{socket}", directory.as_raw_fd()).into(),
    );
    UnixStream::connect(path).map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => forbidden(runtime),
        _ => Failure::not_running(runtime),
    })
}

fn forbidden(runtime: &Path) -> Failure {
    Failure::failed(format!(
        "you may not ask the relay in {}: become a member of its admin group (`[admin] group`) or use sudo",
        runtime.display()
    ))
}

fn read_line(stream: &UnixStream) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut line = Vec::new();
    let mut descriptors = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    loop {
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let received = recvmsg(stream, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        for item in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = item {
                descriptors.extend(fds);
            }
        }
        if received.bytes == 0 || line.len() > ANSWER_MAX {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        line.extend_from_slice(&buffer[..received.bytes]);
        if line.last() == Some(&b'\n') {
            return Ok((line, descriptors));
        }
    }
}
