//! One core's work, on one page.
//!
//! A turn is six verbs: **reclaim** what was sent, **refill** what can be received into, **receive** a
//! batch, **relay** it, **transmit** what is left of it, **tick**. No verb allocates, locks, logs, or
//! reads a clock; the only system calls are the wake-ups of `transmit`, once a port and batch.

use crate::batch::{Batch, Extent, Slot};
use crate::pipeline::Pipeline;
use crate::port::{Port, Submitted};
use crate::reply::Replies;
use crate::scene::{Origin, Scene};
use sixlane_tables::settings::PORTS;
use sixlane_tables::{Corrupt, Settings, Tables, WorkerSegment};
use sixlane_tunnel::Reason;
use sixlane_xsk::{FramePool, WakeError};
use std::sync::Arc;

/// No port of the worker.
const ABSENT: u8 = u8::MAX;

/// The poll loop of one core over its ports.
pub struct Worker<'a, P> {
    pub(crate) ports: Vec<P>,
    /// The place in `ports` of the first queue of each port.
    egress: [u8; PORTS],
    /// Where the next batch begins to be gathered, so that no port is always last.
    first: usize,
    /// When the kernel is asked next what it dropped, in nanoseconds.
    pub(crate) next_losses: u64,
    /// The interface of some port was deleted, as it seems.
    pub(crate) port_lost: bool,
    pub(crate) pool: FramePool<'a>,
    pub(crate) segment: &'a WorkerSegment,
    pub(crate) tables: Arc<Tables>,
    received: Batch,
    injected: Batch,
    replies: Replies,
    pub(crate) pipeline: Box<Pipeline>,
}

impl<'a, P: Port<'a>> Worker<'a, P> {
    /// The owner of `segment`, at `now` (CLOCK_MONOTONIC in nanoseconds). It is online from here on.
    #[must_use]
    pub fn new(
        ports: Vec<P>,
        pool: FramePool<'a>,
        segment: &'a WorkerSegment,
        tables: Arc<Tables>,
        now: u64,
    ) -> Self {
        // The first turn may be long in coming: until then the beginning counts as a sign of life.
        segment.epoch().beat(now);
        segment.epoch().go_online(tables.token());
        let settings = tables.enter().map_or_else(|Corrupt| Settings::default(), |view| *view.settings());
        let pipeline = Box::new(Pipeline::new(segment, &tables, &settings, now));
        let egress = egress(&ports, &settings);
        Self {
            ports,
            egress,
            port_lost: false,
            first: 0,
            next_losses: now,
            pool,
            segment,
            tables,
            received: Batch::default(),
            injected: Batch::default(),
            replies: Replies::default(),
            pipeline,
        }
    }

    /// One turn at `now` (CLOCK_MONOTONIC in nanoseconds). Gives how many packets were received, from ports
    /// and from the kernel.
    pub fn turn(&mut self, now: u64) -> usize {
        self.reclaim();
        self.refill();
        if self.pipeline.waiting.is_due(now) {
            let resumed = self.pipeline.waiting.resume(now, &mut self.received, &self.pool);
            self.pipeline.tally.held(-resumed.cast_signed());
        }
        let count = self.receive();
        if count != 0 {
            self.relay(now);
        }
        self.transmit();
        self.tick(now);
        count
    }

    fn reclaim(&mut self) {
        for port in &mut self.ports {
            port.reclaim(&mut self.pool);
        }
    }

    fn refill(&mut self) {
        for port in &mut self.ports {
            port.refill(&mut self.pool);
        }
    }

    fn receive(&mut self) -> usize {
        let (before, after) = self.ports.split_at_mut(self.first);
        for port in after.iter_mut().chain(before) {
            let arrived = port.receive(&mut self.pool, &mut self.received);
            self.pipeline.tally.received(port.index(), arrived);
        }
        self.first = if self.first + 1 < self.ports.len() { self.first + 1 } else { 0 };
        self.pipeline.take_injected(&self.tables, self.segment, &mut self.pool, &mut self.injected);
        self.received.len() + self.injected.len()
    }

    fn relay(&mut self, now: u64) {
        let Self {
            ports, egress: places, tables, pool, pipeline, received, injected, replies, segment, ..
        } = self;
        let Ok(view) = tables.enter() else {
            pipeline.waiting.give_up();
            pipeline.tally.drop_all(received.slots_mut(), pool, Reason::TableCorrupt);
            return pipeline.tally.drop_all(injected.slots_mut(), pool, Reason::TableCorrupt);
        };
        let scene = Scene::new(tables, &view, pool.umem(), segment, now);
        if pipeline.follow(&scene) {
            *places = egress(ports, scene.settings);
        }
        for (batch, origin) in [(received, Origin::Wire), (injected, Origin::Kernel)] {
            if batch.is_empty() {
                continue;
            }
            pipeline.pass(batch, origin, &scene);
            if !pipeline.refused.list.is_empty() {
                pipeline.reply(batch, origin, replies, pool, &scene);
                pipeline.settle_refused(batch, pool, &scene);
            }
        }
        if !replies.routed.is_empty() {
            pipeline.pass(&mut replies.routed, Origin::Worker, &scene);
            pipeline.settle_refused(&mut replies.routed, pool, &scene);
        }
    }

    fn transmit(&mut self) {
        let Self { ports, egress, pool, pipeline, .. } = self;
        for batch in
            [&mut self.received, &mut self.injected, &mut self.replies.routed, &mut self.replies.linkward]
        {
            let mut slots = batch.slots_mut();
            while let Some(&Slot { extent: Extent { egress: port, .. }, .. }) = slots.first() {
                let place = egress[usize::from(port) % PORTS];
                let done = match ports.get_mut(usize::from(place)) {
                    Some(queue) => queue.submit(pool, slots),
                    None => Submitted { slots: 1, refused: 1, ..Submitted::default() },
                };
                let (seen, rest) = std::mem::take(&mut slots).split_at_mut(done.slots.max(1));
                pipeline.tally.submitted(port, &done);
                if done.refused != 0 {
                    let reason = if place == ABSENT { Reason::PortDown } else { Reason::TxFull };
                    pipeline.tally.drop_all(seen, pool, reason);
                }
                slots = rest;
            }
            batch.clear();
        }
        // Everything is handed on before what was received is given up: a successor loses nothing.
        ports.iter_mut().for_each(P::flush);
        ports.iter_mut().for_each(|port| port.release_received(pool));
        for port in ports {
            // A port that cannot send now keeps what was queued; when its ring is full, `tx_full` tells.
            if port.wake() == Err(WakeError::Gone) {
                self.port_lost = true;
            }
        }
    }

    /// The ports are other ones than before.
    pub(crate) fn ports_changed(&mut self) {
        let settings =
            self.tables.enter().map_or_else(|Corrupt| Settings::default(), |view| *view.settings());
        self.egress = egress(&self.ports, &settings);
        self.first = 0;
    }
}

/// The place in `ports` of the first queue of each port. One without sockets of its own leaves by those of
/// another port on the same device.
fn egress<'a, P: Port<'a>>(ports: &[P], settings: &Settings) -> [u8; PORTS] {
    let mut own = [ABSENT; PORTS];
    for (place, port) in ports.iter().enumerate().rev() {
        own[usize::from(port.index()) % PORTS] = place as u8;
    }
    let mut egress = own;
    let ports = settings.ports.get(..settings.port_count as usize).unwrap_or(&settings.ports);
    for (place, port) in egress.iter_mut().zip(ports).filter(|(place, _)| **place == ABSENT) {
        let on_device = ports.iter().zip(own).filter(|(other, _)| other.carrier() == port.carrier());
        *place = on_device.map(|(_, place)| place).find(|place| *place != ABSENT).unwrap_or(ABSENT);
    }
    egress
}
