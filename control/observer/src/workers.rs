//! The workers' counters: the living are mapped, the dead are sums. What the keeper has said of a life
//! counts exactly once, and totals never go backward, whether control answers or not.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use sixlane_tables::{SegmentError, SocketSnapshot, WorkerView};

use crate::figures::{Dead, Figures};

#[derive(Debug)]
struct Life {
    worker: u16,
    incarnation: u32,
    view: WorkerView,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    living: Vec<Life>,
    /// Sums by incarnation of those whose death control has not added up yet.
    ended: BTreeMap<u32, Figures>,
    /// What control has added up.
    dead: Dead,
}

/// A living worker now.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    pub(crate) worker: u16,
    pub(crate) figures: Figures,
    pub(crate) sockets: BTreeMap<u8, SocketSnapshot>,
    pub(crate) turns: u64,
    /// CLOCK_MONOTONIC; 0 before its first turn.
    pub(crate) heartbeat_ns: u64,
}

impl Workers {
    /// Takes a segment.
    ///
    /// # Errors
    /// [`SegmentError`]: it is not a worker's segment of this build.
    pub(crate) fn add(&mut self, worker: u16, incarnation: u32, fd: OwnedFd) -> Result<(), SegmentError> {
        let view = WorkerView::attach_read_only(fd)?;
        if incarnation <= self.dead.incarnation || self.ended.contains_key(&incarnation) {
            return Ok(());
        }
        self.living.push(Life { worker, incarnation, view });
        Ok(())
    }

    /// The data plane of `incarnation` is dead: its figures are final.
    pub(crate) fn down(&mut self, incarnation: u32) {
        if incarnation <= self.dead.incarnation {
            return;
        }
        let (over, living) =
            std::mem::take(&mut self.living).into_iter().partition(|life| life.incarnation <= incarnation);
        self.living = living;
        let over: Vec<Life> = over;
        let sum = self.ended.entry(incarnation).or_default();
        for life in over {
            sum.add(&Figures::of(&life.view.counters(), &life.view.ports()));
        }
    }

    /// Control has added the dead up, up to an incarnation.
    pub(crate) fn totals(&mut self, dead: Dead) {
        if dead.incarnation < self.dead.incarnation {
            return;
        }
        self.living.retain(|life| life.incarnation > dead.incarnation);
        self.ended.retain(|&incarnation, _| incarnation > dead.incarnation);
        self.dead = dead;
    }

    /// The living.
    pub(crate) fn shown(&self) -> Vec<Shown> {
        let show = |life: &Life| {
            let ports = life.view.ports();
            let epoch = life.view.epoch();
            Shown {
                worker: life.worker,
                figures: Figures::of(&life.view.counters(), &ports),
                sockets: (0..).zip(ports.iter().map(|port| port.sockets)).collect(),
                turns: epoch.turns(),
                heartbeat_ns: epoch.heartbeat_ns(),
            }
        };
        self.living.iter().map(show).collect()
    }

    /// The sum over the dead and these living.
    pub(crate) fn total(&self, living: &[Shown]) -> Figures {
        let mut sum = self.dead.figures.clone();
        let more = self.ended.values().chain(living.iter().map(|shown| &shown.figures));
        more.for_each(|figures| sum.add(figures));
        sum
    }
}

#[cfg(test)]
mod tests {
    use sixlane_tables::{WorkerLayout, WorkerSegment};

    use super::*;

    fn segment(received: u64) -> WorkerSegment {
        let layout =
            WorkerLayout { worker: 0, adjacencies: 4, frames: 8, ports: 2, punt_slots: 8, packet_slots: 8 };
        let segment = WorkerSegment::create(layout).unwrap();
        segment.counters().received.add(received);
        segment
    }

    fn received(workers: &Workers) -> u64 {
        workers.total(&workers.shown()).get("received")
    }

    fn sums(incarnation: u32, received: u64) -> Dead {
        let text = format!(
            r#"{{"incarnation":{incarnation},"figures":{{"named":{{"received":{received}}},"dropped":{{"no_route":2}},"ports":{{"1":{{"rx_packets":3,"rx_bytes":4,"tx_packets":5,"tx_bytes":6}}}}}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn every_life_counts_once_whenever_control_adds_it_up() {
        let mut workers = Workers::default();
        let first = segment(5);
        workers.add(0, 1, first.segment().share().unwrap()).unwrap();
        assert_eq!(received(&workers), 5);
        first.counters().received.add(1);
        assert_eq!(received(&workers), 6, "the segment is mapped, not copied");
        workers.down(1);
        assert_eq!(received(&workers), 6, "control has not heard of it");
        let second = segment(10);
        workers.add(0, 2, second.segment().share().unwrap()).unwrap();
        assert_eq!(received(&workers), 16);
        workers.totals(sums(1, 6));
        assert_eq!(received(&workers), 16, "its sum replaces ours");
        assert_eq!(workers.total(&[]).ports[&1].tx_bytes, 6);
        workers.add(0, 1, first.segment().share().unwrap()).unwrap();
        workers.down(1);
        assert_eq!(received(&workers), 16, "old news");
        workers.totals(sums(2, 16));
        assert_eq!(received(&workers), 16, "the sum may come before the news of the death");
    }

    #[test]
    fn what_is_no_segment_is_refused() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(Workers::default().add(0, 1, file.into()).is_err());
    }
}
