//! TCP between the native host and the guest.

use crate::socket::address;
use crate::{Deadline, LabError, World, deadline, interrupt};
use std::io::{Read, Write};
use std::net::{SocketAddrV6, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const PORT: u16 = 4180;
const PATIENCE: Duration = Duration::from_secs(30);

/// What a transfer came to.
#[derive(Debug, Clone, Copy)]
pub struct Transfer {
    /// Bytes that arrived and were right.
    pub bytes: usize,
    /// How long it took, from the connection to the last byte.
    pub time: Duration,
}

impl Transfer {
    /// Megabits a second.
    pub fn megabits(&self) -> f64 {
        let bits = u32::try_from(self.bytes * 8).map_or(f64::INFINITY, f64::from);
        bits / self.time.as_secs_f64() / 1e6
    }
}

fn fail(what: &'static str) -> impl FnOnce(std::io::Error) -> LabError {
    move |error| LabError::io(format!("TCP between host6 and the guest: {what}"), error)
}

/// A connection from the native host to the guest, which counts what comes.
#[derive(Debug)]
pub struct ToGuest {
    stream: TcpStream,
    count: String,
}

impl ToGuest {
    /// Lets the guest listen and connects to it.
    ///
    /// # Errors
    /// No connection.
    pub fn connect(world: &mut World) -> Result<Self, LabError> {
        let native = world.host("host6")?.clone();
        let guest = world.guest()?;
        let count = guest.scratch().join("count").display().to_string();
        guest.sh(&format!(
            "rm -f {count}; (nc -l -p {PORT} </dev/null | wc -c >{count}.part; mv {count}.part {count}) >/dev/null 2>&1 & \
             until netstat -ltn | grep -q :{PORT}; do usleep 20000; done"
        ))?;
        let to = SocketAddrV6::new(address::SITE6, PORT, 0, 0);
        let stream = native
            .within(|| TcpStream::connect_timeout(&to.into(), PATIENCE))?
            .map_err(fail("connecting"))?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(fail("time-out"))?;
        Ok(Self { stream, count })
    }

    /// Sends `bytes` zeros and waits for the guest's count of them. `sent` follows what has gone into
    /// the connection.
    ///
    /// # Errors
    /// It stalled.
    pub fn send(mut self, world: &mut World, bytes: usize, sent: &AtomicUsize) -> Result<Transfer, LabError> {
        let begin = Instant::now();
        let zeros = [0; 16_384];
        while let left @ 1.. = bytes - sent.load(Ordering::Relaxed) {
            interrupt::check()?;
            let part = &zeros[..left.min(zeros.len())];
            self.stream.write_all(part).map_err(fail("writing"))?;
            sent.fetch_add(part.len(), Ordering::Release);
        }
        self.stream.shutdown(std::net::Shutdown::Write).map_err(fail("ending"))?;
        let wait = format!("until [ -s {count} ]; do usleep 20000; done; cat {count}", count = self.count);
        let count = world.guest()?.shell(&wait, Deadline::after(PATIENCE))?.text;
        Ok(Transfer { bytes: count.trim().parse().unwrap_or(0), time: begin.elapsed() })
    }
}

/// The native host connects and sends `bytes` zeros; the guest counts what came.
///
/// # Errors
/// No connection, or it stalled.
pub fn to_guest(world: &mut World, bytes: usize) -> Result<Transfer, LabError> {
    ToGuest::connect(world)?.send(world, bytes, &AtomicUsize::new(0))
}

/// The guest connects and sends `bytes` zeros; the native host checks and counts them.
///
/// # Errors
/// No connection, or it stalled.
pub fn from_guest(world: &mut World, bytes: usize) -> Result<Transfer, LabError> {
    let native = world.host("host6")?.clone();
    let address = SocketAddrV6::new(address::HOST6, PORT, 0, 0);
    let listener = native.within(|| TcpListener::bind(address))?.map_err(fail("listening"))?;
    let line = format!("(head -c {bytes} /dev/zero | nc -w 20 {} {PORT}) >/dev/null 2>&1 &", address.ip());
    world.guest()?.sh(&line)?;
    if !deadline::readable(&listener, &Deadline::after(PATIENCE))? {
        return Err(Deadline::after(PATIENCE).missed("a TCP connection from the guest"));
    }
    let (mut stream, _) = listener.accept().map_err(fail("accepting"))?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(fail("time-out"))?;
    let begin = Instant::now();
    let (mut count, mut buffer) = (0, vec![0; 65_536]);
    while count < bytes {
        interrupt::check()?;
        let length = stream.read(&mut buffer).map_err(fail("reading"))?;
        let right = buffer.get(..length).is_some_and(|part| part.iter().all(|byte| *byte == 0));
        if length == 0 || !right {
            break;
        }
        count += length;
    }
    Ok(Transfer { bytes: count, time: begin.elapsed() })
}
