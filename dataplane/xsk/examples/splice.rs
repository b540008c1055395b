//! Splices two interfaces: unicast IPv6 that arrives on one leaves on the other with a new
//! Ethernet header. The smallest complete use of this crate; needs root.
//!
//! `splice INTERFACE NEXT_HOP_MAC INTERFACE NEXT_HOP_MAC [SECONDS]`

use std::error::Error;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU8, AtomicU32};
use std::time::{Duration, Instant};

use sixlane_xsk::ledger::INTENT_WORDS;
use sixlane_xsk::program::{AttachMode, load};
use sixlane_xsk::socket::{Mode, Target, open_worker};
use sixlane_xsk::uapi::{FORWARD_ALL, Port};
use sixlane_xsk::{FramePool, Handed, Ledger, Memory, Queue, Received, RingSizes, Rings, TakeOver, Umem};

/// One end of the splice.
struct End {
    target: Target,
    mac: [u8; 6],
    next_hop: [u8; 6],
}

impl End {
    fn parse(interface: &str, next_hop: &str) -> Result<Self, Box<dyn Error>> {
        let sysfs = |file| std::fs::read_to_string(format!("/sys/class/net/{interface}/{file}"));
        let target =
            Target { interface: interface.to_owned(), ifindex: sysfs("ifindex")?.trim().parse()?, queue: 0 };
        Ok(Self { target, mac: parse_mac(sysfs("address")?.trim())?, next_hop: parse_mac(next_hop)? })
    }
}

fn parse_mac(text: &str) -> Result<[u8; 6], Box<dyn Error>> {
    let bytes: Result<Vec<u8>, _> = text.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect();
    bytes?.try_into().map_err(|_| "a MAC has six bytes".into())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [left, left_mac, right, right_mac, rest @ ..] = &arguments[..] else {
        return Err("usage: splice INTERFACE NEXT_HOP_MAC INTERFACE NEXT_HOP_MAC [SECONDS]".into());
    };
    let ends = [End::parse(left, left_mac)?, End::parse(right, right_mac)?];
    let seconds = rest.first().map_or(Ok(10), |text| text.parse())?;

    let sizes = RingSizes { rx: 512, tx: 512, fill: 1024, completion: 1024 };
    let frames = 2 * sizes.frames_needed();
    let umem = Umem::create(frames, Memory::Memfd)?;
    let targets: Vec<Target> = ends.iter().map(|end| end.target.clone()).collect();
    let opened = open_worker(&umem, &targets, Mode::Auto, sizes)?;
    println!(
        "zero-copy: {}; {}",
        opened.zero_copy,
        opened.copy_because.map_or(String::new(), |e| e.to_string())
    );

    let program = load()?;
    for (index, (end, socket)) in (0_u8..).zip(ends.iter().zip(&opened.sockets)) {
        let port = Port { index, flags: FORWARD_ALL, mac: end.mac };
        program.maps().set_port(end.target.ifindex, None, port)?;
        program.maps().set_socket(index, 0, socket.as_fd())?;
    }

    let ledger: Vec<AtomicU8> = (0..frames).map(|_| AtomicU8::new(0)).collect();
    let intents: Vec<AtomicU32> = (0..2 * INTENT_WORDS).map(|_| AtomicU32::new(0)).collect();
    let mut handed = Vec::new();
    for (number, socket) in (1..).zip(opened.sockets) {
        handed.push(Handed { rings: Some(Rings::attach(socket, sizes)?), number });
    }
    let take_over = TakeOver::prepare(&umem, handed, None, Ledger::new(&ledger), &intents)?;
    let (mut pool, queues) = take_over.resume();
    let mut queues: Vec<Queue<'_>> = queues.into_iter().flatten().collect();
    for queue in &mut queues {
        queue.refill(&mut pool);
    }
    let attach = |end: &End| program.attach(&end.target.interface, end.target.ifindex, AttachMode::Native);
    let _links = [attach(&ends[0])?, attach(&ends[1])?];

    let deadline = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < deadline {
        turn(&mut pool, &mut queues, &ends)?;
    }
    for (port, queue) in (0..).zip(&queues) {
        println!("{:?} {:?}", program.maps().counters(port)?, queue.statistics()?);
    }
    println!("{:?}", pool.census());
    Ok(())
}

fn turn<'a>(
    pool: &mut FramePool<'a>,
    queues: &mut [Queue<'a>],
    ends: &[End; 2],
) -> Result<(), Box<dyn Error>> {
    for queue in &mut *queues {
        queue.reclaim(pool);
        queue.refill(pool);
    }
    for (from, to) in [(0, 1), (1, 0)] {
        let mut batch = Vec::with_capacity(64);
        queues[from].receive(pool, 64, |received| batch.push(received));
        for Received { mut frame, start, len } in batch {
            let first = usize::from(start);
            let header = &mut pool.umem().bytes_mut(&mut frame)[first..first + 12];
            header[..6].copy_from_slice(&ends[to].next_hop);
            header[6..].copy_from_slice(&ends[to].mac);
            if let Err(frame) = queues[to].submit(pool, frame, start, len) {
                pool.release(frame);
            }
        }
    }
    for queue in &mut *queues {
        queue.flush();
        queue.release_received(pool);
    }
    for queue in queues {
        queue.wake()?;
    }
    Ok(())
}
