//! TCP between the native host and the guest.

use crate::socket::address;
use crate::{Deadline, LabError, World, deadline};
use std::io::{Read, Write};
use std::net::{SocketAddrV6, TcpListener, TcpStream};
use std::time::{Duration, Instant};

const PORT: u16 = 4180;
const PATIENCE: Duration = Duration::from_secs(20);

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

/// The native host connects and sends `bytes` zeros; the guest counts what came.
///
/// # Errors
/// No connection, or it stalled.
pub fn to_guest(world: &mut World, bytes: usize) -> Result<Transfer, LabError> {
    let native = world.host("host6")?.clone();
    let guest = world.guest()?;
    guest.sh(&format!(
        "rm -f /tmp/count; (nc -l -p {PORT} </dev/null | wc -c >/tmp/part; mv /tmp/part /tmp/count) >/dev/null 2>&1 & \
         until netstat -ltn | grep -q :{PORT}; do usleep 5000; done"
    ))?;
    let to = SocketAddrV6::new(address::SITE6, PORT, 0, 0);
    let mut stream =
        native.within(|| TcpStream::connect_timeout(&to.into(), PATIENCE))?.map_err(fail("connecting"))?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(fail("time-out"))?;
    let begin = Instant::now();
    stream.write_all(&vec![0; bytes]).map_err(fail("writing"))?;
    stream.shutdown(std::net::Shutdown::Write).map_err(fail("ending"))?;
    let wait = "until [ -s /tmp/count ]; do usleep 5000; done; cat /tmp/count";
    let count = guest.shell(wait, Deadline::after(PATIENCE))?.text;
    let time = begin.elapsed();
    let bytes = count.trim().parse().unwrap_or(0);
    Ok(Transfer { bytes, time })
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
        let length = stream.read(&mut buffer).map_err(fail("reading"))?;
        let right = buffer.get(..length).is_some_and(|part| part.iter().all(|byte| *byte == 0));
        if length == 0 || !right {
            break;
        }
        count += length;
    }
    Ok(Transfer { bytes: count, time: begin.elapsed() })
}
