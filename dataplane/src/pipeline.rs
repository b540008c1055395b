//! The stages of a pass, in order, and the arrays that they share. One for each worker, made once.

use crate::batch::{Batch, Column, List};
use crate::classify::{Packet, Refused};
use crate::door::Door;
use crate::ident::Identifications;
use crate::neighbour::Neighbours;
use crate::relay::Entering;
use crate::reply::Budgets;
use crate::scene::{Origin, Scene};
use crate::tally::Tally;
use crate::vlan::Vlans;
use crate::waiting::Waiting;
use sixlane_tables::{NextHopId, PacketKind, Settings, Tables, WorkerSegment};
use sixlane_tunnel::sixinfour::OuterTemplate;
use sixlane_tunnel::{Reason, Verdict};
use sixlane_xsk::FramePool;

/// Keys of the IPv6 look-up and its answers, dense: in the order of the live packets.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) hi: Column<u64>,
    pub(crate) lo: Column<u64>,
    pub(crate) next_hops: Column<NextHopId>,
}

/// What the outer headers of this worker are made of.
#[derive(Debug)]
pub(crate) struct Outer {
    pub(crate) template: OuterTemplate,
    pub(crate) ids: Identifications,
}

/// The stages' common memory.
#[derive(Debug)]
pub(crate) struct Pipeline {
    /// Generation of the settings from which `outer` and `budgets` were made; 0 = none.
    generation: u64,
    pub(crate) packets: Column<Packet>,
    pub(crate) live: List,
    pub(crate) refused: Refused,
    pub(crate) keys: Keys,
    pub(crate) entering: Entering,
    pub(crate) outer: Outer,
    pub(crate) budgets: Budgets,
    pub(crate) neighbours: Neighbours,
    pub(crate) door: Door,
    pub(crate) vlans: Vlans,
    pub(crate) waiting: Waiting,
    pub(crate) tally: Tally,
}

impl Pipeline {
    /// For the owner of `segment`, under `settings` of `tables`. `start` is the clock, in nanoseconds.
    pub(crate) fn new(segment: &WorkerSegment, tables: &Tables, settings: &Settings, start: u64) -> Self {
        let worker = segment.layout().worker;
        let workers = worker_count(settings);
        Self {
            generation: 0,
            packets: Column::new(Packet::BLANK),
            live: List::new(),
            refused: Refused::new(),
            keys: Keys { hi: Column::new(0), lo: Column::new(0), next_hops: Column::new(NextHopId::NONE) },
            entering: Entering::new(),
            outer: Outer {
                template: OuterTemplate::new(&settings.sixtofour),
                ids: Identifications::new(worker, workers, settings.hash_key, start),
            },
            budgets: Budgets::new(settings, worker),
            neighbours: Neighbours::new(segment, workers),
            door: Door::new(segment, tables, settings),
            vlans: Vlans::default(),
            waiting: Waiting::new(),
            tally: Tally::new(),
        }
    }

    /// Makes what follows from the settings anew, if they have changed. Gives whether they have.
    #[inline]
    pub(crate) fn follow(&mut self, scene: &Scene<'_>) -> bool {
        let changed = self.generation != scene.settings.generation;
        if changed {
            self.renew(scene);
        }
        changed
    }

    #[cold]
    fn renew(&mut self, scene: &Scene<'_>) {
        self.generation = scene.settings.generation;
        self.outer.template = OuterTemplate::new(&scene.settings.sixtofour);
        self.outer.ids.rekey(scene.settings.hash_key);
        self.budgets.renew(scene.settings, scene.worker, scene.now);
        self.door.renew(scene.settings, scene.worker, scene.now);
    }

    /// The settings of the next batch are of another set of tables, whose generations count anew.
    pub(crate) fn forget_generation(&mut self) {
        self.generation = 0;
        self.vlans.forget();
    }

    /// One pass: parse all, look up all, rewrite all. What is left of the batch afterwards has an egress
    /// or is in `refused`.
    #[inline]
    pub(crate) fn pass(&mut self, batch: &mut Batch, origin: Origin, scene: &Scene<'_>) {
        self.live.clear();
        self.refused.list.clear();
        self.entering.list.clear();
        self.waiting.begin(origin);
        if origin == Origin::Kernel {
            self.classify_injected(batch, scene);
        } else {
            self.classify(batch, origin, scene);
        }
        self.forward(batch, origin, scene);
        if !self.entering.list.is_empty() {
            self.encapsulate(batch, origin, scene);
        }
    }

    /// Ends what is not forwarded: counts what was refused, hands over what is for the kernel, and gives
    /// the frames back.
    #[inline]
    pub(crate) fn settle_refused(&mut self, batch: &mut Batch, pool: &mut FramePool<'_>, scene: &Scene<'_>) {
        for k in 0..self.refused.list.len() {
            let at = self.refused.list.as_slice().get(k).copied().unwrap_or_default();
            match *self.refused.verdicts.at(at) {
                Verdict::Drop(Reason::NeighQueue)
                    if self.waiting.keep(at, batch.at_mut(at), scene.now, pool) =>
                {
                    self.tally.held(1);
                    continue;
                }
                Verdict::Drop(reason) | Verdict::Reply(_, reason) => self.tally.dropped(reason),
                Verdict::Local => self.hand_over(batch, at, PacketKind::Local, scene),
                Verdict::Punt(_) => self.hand_over(batch, at, PacketKind::GivenBack, scene),
                Verdict::Forward => continue,
            }
            if let Some(frame) = batch.at_mut(at).frame.take() {
                pool.release(frame);
            }
        }
    }
}

/// The part of a worker in a total: divided by the workers; the first ones get the remainder, so that the
/// sum is the total. But where there is a total, no worker has nothing: a host whose packets always reach the
/// same one must hear.
pub(crate) fn share(total: u32, settings: &Settings, worker: u16) -> u32 {
    let workers = u32::from(worker_count(settings));
    let part = total / workers + u32::from(u32::from(worker) < total % workers);
    part.max(total.min(1))
}

/// Among how many workers rates and identifications are divided.
pub(crate) fn worker_count(settings: &Settings) -> u16 {
    u16::try_from(settings.worker_count).unwrap_or(u16::MAX).max(1)
}
