//! A numbered stream through the relay: a closed loop that knows what was lost.
//!
//! At most `window` packets are under way at any time, so nothing is lost because a queue was too
//! short, and every number that does not arrive is a loss to be explained.

use crate::socket::{Port, address, inner};
use crate::{Deadline, Host, LabError, World, eventually, packet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Port of the receiving end, and of a sending one.
const PORT: u16 = 4141;
const SENDER_PORT: u16 = 4142;
/// How long the loop waits for what is under way before it counts that as lost and goes on.
const PATIENCE: Duration = Duration::from_secs(3);
/// Marks our packets.
const MARK: [u8; 4] = *b"6lan";
/// Marks the packets before the first number: they make everybody on the way learn the neighbours.
const WARM_UP: [u8; 4] = *b"warm";
/// How often a warm-up packet is sent until one arrives.
const WARM_UP_EVERY: Duration = Duration::from_millis(20);

/// Which way the stream goes through the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the native host into the tunnel.
    Encap,
    /// Out of the tunnel to the native host.
    Decap,
    /// From the native host to another native host, by no tunnel.
    Native,
}

/// How the stream is driven.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Packets under way at most; half of the smallest ring, or fewer. (The smallest is veth's own, of 256.)
    pub window: u64,
    /// Packets a second at most.
    pub rate: u64,
    /// Length of each packet's UDP payload in bytes, at least 12.
    pub payload_bytes: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self { window: 128, rate: 10_000, payload_bytes: 36 }
    }
}

/// What one configuration writes into outer headers, as it arrives. A packet whose header mixes two is
/// damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Source address.
    pub source: Ipv4Addr,
    /// Type of service, the whole byte; `None`: any.
    pub tos: Option<u8>,
    /// Time to live on arrival; `None`: any.
    pub ttl: Option<u8>,
}

impl Mark {
    /// What a relay writes that nobody reconfigures.
    const PLAIN: Self = Self { source: address::RELAY4, tos: None, ttl: None };

    fn suits(&self, outer: &[u8]) -> bool {
        let is = |at: usize, byte: Option<u8>| byte.is_none_or(|byte| outer.get(at) == Some(&byte));
        outer.get(12..16) == Some(&self.source.octets()) && is(1, self.tos) && is(8, self.ttl)
    }
}

/// What became of the numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Packets sent.
    pub sent: u64,
    /// Different numbers that arrived.
    pub received: u64,
    /// Numbers that arrived again.
    pub doubled: u64,
    /// Packets that arrived with wrong bytes.
    pub damaged: u64,
    /// Longest time without an arrival.
    pub longest_gap: Duration,
    /// Packets that arrived under each [`Mark`].
    pub marked: Vec<u64>,
}

impl Tally {
    /// Numbers that did not arrive.
    pub fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.received)
    }
}

/// A stream that flows on its own thread until it is finished.
#[derive(Debug)]
pub struct Stream {
    stop: Arc<AtomicBool>,
    received: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<Tally, LabError>>>,
}

/// The sending end: numbered packets, as fast as the loop allows.
#[derive(Debug)]
pub struct Sender {
    port: Port,
    way: Way,
    far: Ipv6Addr,
    payload: Vec<u8>,
    next: u64,
}

/// The receiving end: which numbers have come.
#[derive(Debug)]
pub struct Sink {
    port: Port,
    way: Way,
    far: Ipv6Addr,
    seen: Vec<bool>,
    highest: u64,
    tally: Tally,
    last: Instant,
    payload_bytes: usize,
    warm: bool,
    marks: Vec<Mark>,
}

impl Sender {
    fn open(host: &Host, way: Way, far: Ipv6Addr, payload_bytes: usize) -> Result<Self, LabError> {
        let port = match way {
            Way::Encap | Way::Native => Port::udp6(host, address::HOST6, SENDER_PORT)?,
            Way::Decap => Port::raw4(host, packet::protocol::IPV6)?,
        };
        Ok(Self { port, way, far, payload: vec![0x5A; payload_bytes.max(12)], next: 0 })
    }

    fn send(&mut self) -> Result<(), LabError> {
        self.payload[..4].copy_from_slice(&MARK);
        self.payload[4..12].copy_from_slice(&self.next.to_be_bytes());
        self.next += 1;
        self.put()
    }

    fn warm_up(&mut self) -> Result<(), LabError> {
        self.payload[..4].copy_from_slice(&WARM_UP);
        self.put()
    }

    /// Sends the payload as it stands.
    fn put(&self) -> Result<(), LabError> {
        match self.way {
            Way::Encap | Way::Native => self.port.send6(&self.payload, self.far, PORT)?,
            Way::Decap => {
                let inner = packet::udp6((self.far, SENDER_PORT), (address::HOST6, PORT), &self.payload);
                self.port.send4(&inner, address::RELAY4)?;
            }
        }
        Ok(())
    }
}

impl Sink {
    fn open(host: &Host, way: Way, far: Ipv6Addr, payload_bytes: usize) -> Result<Self, LabError> {
        let port = match way {
            Way::Encap => Port::raw4(host, packet::protocol::IPV6)?,
            Way::Decap => Port::udp6(host, address::HOST6, PORT)?,
            Way::Native => Port::udp6(host, far, PORT)?,
        };
        Ok(Self {
            port,
            way,
            far,
            seen: Vec::new(),
            highest: 0,
            tally: Tally::default(),
            last: Instant::now(),
            payload_bytes: payload_bytes.max(12),
            warm: false,
            marks: vec![Mark::PLAIN],
        })
    }

    /// Takes all that is there.
    fn drain(&mut self, buffer: &mut [u8]) -> Result<(), LabError> {
        while let Some(bytes) = self.port.receive(buffer)? {
            match self.way {
                Way::Decap | Way::Native => self.note(Some(bytes)),
                Way::Encap => {
                    let mark = self.marks.iter().position(|mark| mark.suits(bytes));
                    if let Some(count) = mark.and_then(|mark| self.tally.marked.get_mut(mark)) {
                        *count += 1;
                    }
                    self.note(mark.and_then(|_| unwrap(bytes, self.far)));
                }
            }
        }
        Ok(())
    }

    fn note(&mut self, payload: Option<&[u8]>) {
        if payload.is_some_and(|bytes| bytes.starts_with(&WARM_UP)) {
            self.warm = true;
            return;
        }
        let Some(number) = payload.and_then(|bytes| number(bytes, self.payload_bytes)) else {
            self.tally.damaged += 1;
            return;
        };
        self.tally.longest_gap = self.tally.longest_gap.max(self.last.elapsed());
        self.last = Instant::now();
        let at = usize::try_from(number).unwrap_or(usize::MAX);
        if self.seen.len() <= at {
            self.seen.resize(at + 1, false);
        }
        if std::mem::replace(&mut self.seen[at], true) {
            self.tally.doubled += 1;
        } else {
            self.tally.received += 1;
        }
        self.highest = self.highest.max(number + 1);
    }
}

/// Outer and inner header checked as far as the relay writes or must keep them; the payload.
fn unwrap(outer: &[u8], far: Ipv6Addr) -> Option<&[u8]> {
    let packet = inner(outer)?;
    let header = packet.get(..48)?;
    let right = header[8..24] == address::HOST6.octets() && header[24..40] == far.octets() && header[7] == 63;
    if right { packet.get(48..) } else { None }
}

fn number(payload: &[u8], length: usize) -> Option<u64> {
    let (mark, rest) = payload.split_first_chunk::<4>()?;
    let (number, filling) = rest.split_first_chunk::<8>()?;
    let right = *mark == MARK && payload.len() == length && filling.iter().all(|byte| *byte == 0x5A);
    right.then_some(u64::from_be_bytes(*number))
}

/// Sends packets without number until one arrives: until then neighbours are still being resolved,
/// and packets that wait for that may be dropped.
fn warm_up(sender: &mut Sender, sink: &mut Sink) -> Result<(), LabError> {
    let deadline = Deadline::seconds(10);
    let mut buffer = vec![0; 65_536];
    while !sink.warm {
        if deadline.passed() {
            return Err(deadline.missed("the arrival of a first packet"));
        }
        sender.warm_up()?;
        sink.port.wait(&Deadline::after(WARM_UP_EVERY))?;
        sink.drain(&mut buffer)?;
    }
    sink.last = Instant::now();
    Ok(())
}

impl Stream {
    /// Starts a stream between the native host and the bare far end of a world. Waits until a first
    /// packet without number has arrived.
    ///
    /// # Errors
    /// The sockets cannot be opened, or nothing arrives.
    pub fn start(world: &World, way: Way, pace: Pace) -> Result<Self, LabError> {
        Self::start_at(world, (world.host("site")?, address::SITE6), way, pace)
    }

    /// The same with another far end: a host and its 6to4 address, of which it need only hold the
    /// IPv4 part; or a native host and its address.
    ///
    /// # Errors
    /// The sockets cannot be opened, or nothing arrives.
    pub fn start_at(
        world: &World,
        (far, far6): (&Host, Ipv6Addr),
        way: Way,
        pace: Pace,
    ) -> Result<Self, LabError> {
        Self::start_marked(world, (far, far6), way, pace, Vec::new())
    }

    /// The same into the tunnel, where outer headers may carry any of these marks; without any: what the
    /// relay of the first laboratory writes.
    ///
    /// # Errors
    /// The sockets cannot be opened, or nothing arrives.
    pub fn start_marked(
        world: &World,
        (far, far6): (&Host, Ipv6Addr),
        way: Way,
        pace: Pace,
        marks: Vec<Mark>,
    ) -> Result<Self, LabError> {
        let native = world.host("host6")?;
        let (from, to) = match way {
            Way::Encap | Way::Native => (native, far),
            Way::Decap => (far, native),
        };
        let mut sink = Sink::open(to, way, far6, pace.payload_bytes)?;
        if !marks.is_empty() {
            sink.marks = marks;
        }
        sink.tally.marked = vec![0; sink.marks.len()];
        let mut sender = Sender::open(from, way, far6, pace.payload_bytes)?;
        warm_up(&mut sender, &mut sink)?;
        let stop = Arc::new(AtomicBool::new(false));
        let received = Arc::new(AtomicU64::new(0));
        let flow = Flow {
            sender,
            sink,
            pace,
            began: Instant::now(),
            quiet_since: Instant::now(),
            written_off: 0,
            stop: Arc::clone(&stop),
            received: Arc::clone(&received),
        };
        let thread = std::thread::spawn(move || flow.run());
        Ok(Self { stop, received, thread: Some(thread) })
    }

    /// Numbers that have arrived so far.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Acquire)
    }

    /// Waits until `more` further packets have arrived.
    ///
    /// # Errors
    /// They did not before the deadline.
    pub fn progress(&self, more: u64, deadline: Deadline) -> Result<(), LabError> {
        let goal = self.received() + more;
        eventually("the stream's progress", deadline, || (self.received() >= goal).then_some(()))
    }

    /// Ends the stream: no new packets, then waits for those under way.
    ///
    /// # Errors
    /// A socket failed.
    pub fn finish(mut self) -> Result<Tally, LabError> {
        self.stop.store(true, Ordering::Release);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            _ => Err(LabError::Shown("the stream's thread failed".to_owned())),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The loop of one stream.
struct Flow {
    sender: Sender,
    sink: Sink,
    pace: Pace,
    began: Instant,
    /// When something last arrived, or nothing was under way.
    quiet_since: Instant,
    /// Numbers below this are no longer waited for.
    written_off: u64,
    stop: Arc<AtomicBool>,
    received: Arc<AtomicU64>,
}

impl Flow {
    fn run(mut self) -> Result<Tally, LabError> {
        let mut buffer = vec![0; 65_536];
        loop {
            let stopping = self.stop.load(Ordering::Acquire);
            let mut wait = Duration::from_millis(50);
            while !stopping && self.under_way() < self.pace.window {
                let due = Duration::from_secs(1) / u32::try_from(self.pace.rate).unwrap_or(1);
                let due = due * u32::try_from(self.sender.next).unwrap_or(u32::MAX);
                let early = due.saturating_sub(self.began.elapsed());
                if !early.is_zero() {
                    wait = wait.min(early);
                    break;
                }
                self.sender.send()?;
            }
            let before = self.sink.tally.received;
            self.sink.drain(&mut buffer)?;
            let arrived = self.sink.tally.received != before;
            self.received.store(self.sink.tally.received, Ordering::Release);
            let under_way = self.under_way();
            if arrived || under_way == 0 {
                self.quiet_since = Instant::now();
            }
            let hopeless = self.quiet_since.elapsed() > PATIENCE;
            if stopping && (under_way == 0 || hopeless) {
                break;
            }
            if hopeless {
                self.written_off = self.sender.next;
                self.quiet_since = Instant::now();
            }
            self.sink.port.wait(&Deadline::after(wait))?;
        }
        self.sink.tally.sent = self.sender.next;
        Ok(self.sink.tally)
    }

    /// Numbers sent and neither arrived, overtaken nor written off.
    fn under_way(&self) -> u64 {
        self.sender.next.saturating_sub(self.sink.highest.max(self.written_off))
    }
}
