//! The generator: an XDP program that the kernel runs over live frames (`BPF_F_TEST_XDP_LIVE_FRAMES`) and
//! that sends them by g0. It makes several times what AF_XDP in copy mode can take.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use core_affinity::CoreId;
use libbpf_rs::{Link, MapCore, MapFlags, Object, ObjectBuilder, OpenObject, ProgramInput};
use sixlane_lab::Host;

use crate::wire::sink::put;
use crate::wire::traffic::Traffic;

const OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/generator.bpf.o"));

/// `BPF_F_TEST_XDP_LIVE_FRAMES` (linux/bpf.h).
const LIVE_FRAMES: u32 = 1 << 1;

/// Index of the loopback interface of every namespace.
const LOOPBACK: i32 = 1;

/// A loaded generator. Frames are numbered from 0.
pub struct Generator {
    object: Object,
    template: Vec<u8>,
    /// Keeps the program in the kernel's table of direct jumps (the XDP dispatcher): else every call would put it
    /// there and take it out again, waiting for a grace period of RCU each time.
    _attachment: Link,
}

impl Generator {
    /// Sends by an interface of `host`; [`Generator::send`] is to be called inside.
    ///
    /// # Errors
    /// The kernel refuses the program.
    pub fn new(host: &Host, interface: &str, traffic: &Traffic) -> Result<Self, String> {
        let ifindex = host.index(interface).map_err(|error| error.to_string())?;
        let fail = |error: libbpf_rs::Error| format!("the generator cannot be loaded: {error:#}");
        libbpf_rs::set_print(None);
        let object = ObjectBuilder::default().open_memory(OBJECT).and_then(OpenObject::load).map_err(fail)?;
        let map = object.maps().find(|map| map.name() == "destinations");
        let map = map.ok_or("the generator has no destinations")?;
        let (keys, values): (Vec<_>, Vec<_>) =
            (0u32..).zip(traffic.addresses()).map(|(at, address)| (at.to_ne_bytes(), address)).unzip();
        let count = keys.len() as u32;
        map.update_batch(&keys.concat(), &values.concat(), count, MapFlags::ANY, MapFlags::ANY)
            .map_err(fail)?;
        let order = [ifindex, count, u32::from(traffic.tunnelled()), 0];
        put(&object, "orders", &order.map(u32::to_ne_bytes).concat())?;
        let (object, attachment) =
            host.within(move || attach(object)).map_err(|error| error.to_string())??;
        Ok(Self { object, template: traffic.template(), _attachment: attachment })
    }

    /// Sends this many frames (at least one) at once. Frames that the other end has no room for are lost, as
    /// on a real wire.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn send(&mut self, frames: u32) -> Result<(), String> {
        let program = self.object.progs_mut().find(|program| program.name() == "generator");
        let program = program.ok_or("the generator's object has no program")?;
        let input = ProgramInput {
            data_in: Some(&self.template),
            flags: LIVE_FRAMES,
            repeat: frames,
            ..ProgramInput::default()
        };
        program.test_run(input).map(drop).map_err(|error| format!("no live frames: {error:#}"))
    }
}

/// Attaches the program where nothing passes.
fn attach(object: Object) -> Result<(Object, Link), String> {
    let program = object.progs_mut().find(|program| program.name() == "generator");
    let link = program.ok_or("the generator's object has no program")?.attach_xdp(LOOPBACK);
    let link = link.map_err(|error| format!("the generator cannot be attached: {error:#}"))?;
    Ok((object, link))
}

/// How fast.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// As fast as one processor can, in calls of this many frames.
    Saturating(u32),
    /// This many frames at every multiple of the interval since the start; a late one is caught up on.
    Paced(u32, Duration),
}

/// A generator at work on a thread of its own, until it is stopped or dropped.
pub struct Stream {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<(), String>>>,
}

impl Stream {
    /// Starts to send by an interface of `host`, on the processor `core`.
    ///
    /// # Errors
    /// The kernel refuses the program.
    pub fn start(
        host: &Host,
        interface: &str,
        traffic: &Traffic,
        pace: Pace,
        core: Option<usize>,
    ) -> Result<Self, String> {
        let mut generator = Generator::new(host, interface, traffic)?;
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (ended, counted, host) = (Arc::clone(&stop), Arc::clone(&sent), host.clone());
        // It begins on the processor of whoever starts it, who may be about to spin there.
        let (begun, has_begun) = std::sync::mpsc::channel();
        let work = move || {
            let paced = || {
                if let Some(id) = core {
                    core_affinity::set_for_current(CoreId { id });
                }
                let _ = begun.send(());
                run(&mut generator, pace, &ended, &counted)
            };
            host.within(paced).map_err(|error| error.to_string())?
        };
        let thread = std::thread::Builder::new().name("generator".into()).spawn(work);
        let thread = Some(thread.map_err(|error| error.to_string())?);
        // What ended it instead is told when it is stopped.
        let _ = has_begun.recv();
        Ok(Self { stop, sent, thread })
    }

    /// Frames sent so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Stops it and gives how many frames were sent.
    ///
    /// # Errors
    /// What ended it before.
    pub fn stop(mut self) -> Result<u64, String> {
        self.end()?;
        Ok(self.sent())
    }

    fn end(&mut self) -> Result<(), String> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take();
        thread.map_or(Ok(()), |thread| thread.join().unwrap_or_else(|_| Err("the generator died".into())))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

fn run(generator: &mut Generator, pace: Pace, stop: &AtomicBool, sent: &AtomicU64) -> Result<(), String> {
    let mut due = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let frames = match pace {
            Pace::Saturating(frames) => frames,
            Pace::Paced(frames, every) => {
                while Instant::now() < due {
                    std::hint::spin_loop();
                }
                due += every;
                frames
            }
        };
        generator.send(frames)?;
        sent.fetch_add(frames.into(), Ordering::Relaxed);
    }
    Ok(())
}
