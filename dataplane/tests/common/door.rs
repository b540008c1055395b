//! A worker with control's side of the door, played by the tables' writer as the real one uses it.

use super::{Outcome, Rig, Sizes, topology};
use sixlane_tables::packets::{PACKET_MAX, PacketConsumer};
use sixlane_tables::{Injector, PacketKind, Settings, TableWriter, WorkerView};

/// A worker with a control beside it.
pub struct Door {
    pub rig: Rig,
    pub writer: TableWriter,
    pub injector: Injector,
    pub view: WorkerView,
    pub consumer: PacketConsumer,
}

impl Door {
    /// With the common topology.
    pub fn new() -> Self {
        Self::with(|_| ())
    }

    /// Under other settings.
    pub fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings { door: 1, ..topology::settings() };
        change(&mut settings);
        let mut writer = topology::writer(&settings);
        let injector = writer.open_inject(0).expect("room for a ring");
        let rig = Rig::over(topology::attach(&writer), Sizes::default());
        let fd = rig.segment.segment().share().expect("a descriptor");
        let view = WorkerView::attach_read_only(fd).expect("a worker's segment");
        let line = writer.packet_partner(0).expect("control's line");
        let consumer = PacketConsumer::attach(view.packet_ring(), line, 1);
        Self { rig, writer, injector, view, consumer }
    }

    /// What was punted: kind, port and packet.
    pub fn punted(&mut self) -> Vec<(PacketKind, u8, Vec<u8>)> {
        let line = self.writer.packet_partner(0).expect("control's line");
        let mut buffer = [0; PACKET_MAX];
        let mut punted = Vec::new();
        while let Some(taken) = self.consumer.pop(self.view.packet_ring(), line, &mut buffer) {
            let packet = taken.expect("a sound slot");
            punted.push((packet.kind, packet.port, packet.bytes.to_vec()));
        }
        punted
    }

    /// Hands a packet to the worker.
    pub fn inject(&mut self, packet: &[u8]) {
        self.injector.push(self.view.inject_partner(), packet).expect("room");
    }

    /// Sends one packet from the kernel.
    pub fn injected(&mut self, packet: &[u8]) -> Outcome {
        self.inject(packet);
        let outcome = self.rig.run();
        assert_eq!((outcome.counters.injected, outcome.counters.received), (1, 0));
        outcome
    }
}
