//! Alarms: what is wrong now, each with its cause and its remedy.

use std::collections::BTreeMap;

/// The alarms that control raises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Alarm {
    /// The nftables fence is not installed.
    FenceMissing,
    /// The kernel's own tunnel driver is loaded.
    SitLoaded,
    /// Tables do not hold what should be in them.
    TablesFull,
    /// A worker shows no sign of life.
    WorkerStuck,
    /// The kernel's neighbour table is full.
    NeighbourTableFull,
    /// The source of ICMPv6 errors is on no interface.
    RouterAddress,
    /// The relay's own IPv4 address is on no interface any more.
    RelayAddress,
    /// A port's interface has been deleted, or changed so that it cannot be a port.
    PortUnfit,
    /// Workers find records in the tables that point outside them.
    TableCorrupt,
    /// The interface that took the place of a deleted one cannot be the port.
    PortRefused,
    /// The XDP program's sets do not hold what they should.
    ProgramSets,
    /// The kernel's changes cannot be followed.
    NetlinkBroken,
    /// The admin socket is not there.
    AdminSocket,
    /// A port has a receive queue without a socket.
    QueueWithoutSocket,
    /// The keeper has died: nobody restarts what dies next.
    KeeperGone,
    /// A process dies again and again.
    ChildRestarting,
    /// A changed configuration was refused; the old one is in force.
    ReloadRefused,
    /// The interface of the door is down or gone.
    DoorDown,
    /// A prefix that is served has a route of somebody else.
    DoorRoute,
    /// Nobody can tell routes by FPM.
    FpmListen,
    /// The connection by which zebra tells its routes is lost.
    FpmLost,
    /// Somebody else than zebra's user wanted to tell routes.
    FpmStranger,
    /// Zebra tells more routes than it may.
    FpmLimit,
}

impl Alarm {
    /// The alarm's name in `show status` and in the metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::FenceMissing => "fence_missing",
            Self::SitLoaded => "sit_loaded",
            Self::TablesFull => "tables_full",
            Self::WorkerStuck => "worker_stuck",
            Self::NeighbourTableFull => "neighbour_table_full",
            Self::RouterAddress => "router_address",
            Self::RelayAddress => "relay_address",
            Self::PortUnfit => "port_unfit",
            Self::TableCorrupt => "table_corrupt",
            Self::PortRefused => "port_refused",
            Self::ProgramSets => "program_sets",
            Self::NetlinkBroken => "netlink_broken",
            Self::AdminSocket => "admin_socket",
            Self::QueueWithoutSocket => "queue_without_socket",
            Self::KeeperGone => "keeper_gone",
            Self::ChildRestarting => "child_restarting",
            Self::ReloadRefused => "reload_refused",
            Self::DoorDown => "door_down",
            Self::DoorRoute => "door_route",
            Self::FpmListen => "fpm_listen",
            Self::FpmLost => "fpm_lost",
            Self::FpmStranger => "fpm_stranger",
            Self::FpmLimit => "fpm_limit",
        }
    }
}

/// The alarms that stand. Each kind at most once, with its latest sentence.
#[derive(Debug, Default)]
pub(crate) struct Alarms {
    standing: BTreeMap<Alarm, String>,
}

impl Alarms {
    /// Raises an alarm, or renews its sentence. Logged when it is new.
    pub(crate) fn raise(&mut self, alarm: Alarm, text: String) {
        if self.standing.insert(alarm, text.clone()).is_none() {
            tracing::warn!("alarm {}: {text}", alarm.name());
        }
    }

    /// Takes an alarm back. Logged when it stood.
    pub(crate) fn clear(&mut self, alarm: Alarm) {
        if self.standing.remove(&alarm).is_some() {
            tracing::info!("alarm {} is over", alarm.name());
        }
    }

    /// Whether an alarm stands.
    pub(crate) fn stands(&self, alarm: Alarm) -> bool {
        self.standing.contains_key(&alarm)
    }

    /// The alarms that stand: name and sentence.
    pub(crate) fn standing(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.standing.iter().map(|(alarm, text)| (alarm.name(), text.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_stands_once_until_it_is_cleared() {
        let mut alarms = Alarms::default();
        alarms.raise(Alarm::FenceMissing, "first".into());
        alarms.raise(Alarm::FenceMissing, "second".into());
        assert_eq!(alarms.standing().collect::<Vec<_>>(), [("fence_missing", "second")]);
        alarms.clear(Alarm::FenceMissing);
        assert_eq!(alarms.standing().count(), 0);
    }
}
