//! What the keeper is asked to do: plain data, made by the command from the checked configuration.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::protocol::Rings;

/// Everything the keeper needs to know of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Directory of the lock and the admin socket.
    pub runtime: PathBuf,
    /// Where the configuration came from: for messages.
    pub config_path: PathBuf,
    /// Text of the configuration, handed to control as it was checked.
    pub config_text: String,
    /// Interfaces in the order of the configuration, 1..=64.
    pub ports: Vec<PortPlan>,
    /// How many workers, on which cores.
    pub workers: WorkerPlan,
    /// How sockets are bound and the program is attached.
    pub mode: Mode,
    /// What idle workers do.
    pub idle: Idle,
    /// Ring sizes of every socket.
    pub rings: Rings,
    /// Frames of each worker; `None`: as many as the rings of its sockets can hold.
    pub frames: Option<u32>,
    /// Seconds without a heartbeat after which a worker counts as stuck; 0: never.
    pub stuck_seconds: u32,
    /// Users of the children.
    pub users: Users,
    /// Group that may open the admin socket.
    pub admin_group: String,
    /// Where metrics are served; `None`: nowhere, and no process for it.
    pub metrics: Option<SocketAddr>,
}

/// One port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortPlan {
    /// Name of the device.
    pub name: String,
    /// Its frames carry one tag with this id; `None`: none. Several ports may share a device.
    pub vlan: Option<u16>,
}

/// How many workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerPlan {
    /// The smallest queue count of the ports, at most the allowed cores.
    Auto,
    /// One on each of these cores.
    Cores(Vec<u16>),
}

/// How sockets are bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Zero-copy if every port accepts it, else copy.
    Auto,
    /// Zero-copy or nothing.
    ZeroCopy,
    /// Copy.
    Copy,
    /// Copy, with the program in the kernel's generic mode.
    Generic,
}

/// What idle workers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    /// Sleep where the workers leave at most one core free, else spin.
    Auto,
    /// Park in `poll`.
    Sleep,
    /// Keep turning.
    Spin,
}

/// Names of the users that the children become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Users {
    /// User of control.
    pub control: String,
    /// User of the data plane.
    pub data_plane: String,
    /// User of the observer.
    pub observer: String,
}

/// The cores of the workers.
///
/// `allowed` are the cores this process may run on, `queues` the smallest number of receive queues of
/// a port: a worker sends by a port through its own socket there, so each needs one on every port.
///
/// # Errors
/// A core that is configured but not allowed, no core at all, or more cores than queues.
pub fn worker_cores(workers: &WorkerPlan, allowed: &[u16], queues: u16) -> Result<Vec<u16>, CoreError> {
    match workers {
        WorkerPlan::Auto => {
            let count = usize::from(queues.max(1)).min(crate::protocol::MAX_WORKERS);
            let cores: Vec<u16> = allowed.iter().copied().take(count).collect();
            if cores.is_empty() {
                return Err(CoreError::NoCores);
            }
            Ok(cores)
        }
        WorkerPlan::Cores(cores) => match cores.iter().find(|core| !allowed.contains(core)) {
            Some(&core) => Err(CoreError::NotAllowed {
                core,
                allowed: allowed.iter().map(u16::to_string).collect::<Vec<_>>().join(", "),
            }),
            None if cores.is_empty() => Err(CoreError::NoCores),
            None if cores.len() > usize::from(queues.max(1)) => {
                Err(CoreError::Queues { workers: cores.len(), queues })
            }
            None => Ok(cores.clone()),
        },
    }
}

/// Whether workers spin: `workers` of them on a machine that allows `allowed` cores.
pub fn spins(idle: Idle, workers: usize, allowed: usize) -> bool {
    match idle {
        Idle::Auto => workers + 1 < allowed,
        Idle::Sleep => false,
        Idle::Spin => true,
    }
}

/// Why workers cannot have their cores.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CoreError {
    /// A configured core does not exist or is outside the process's mask.
    #[error(
        "core {core} of `dataplane.workers` is not available (cores {allowed} are): choose from those or write workers = \"auto\""
    )]
    NotAllowed {
        /// The core.
        core: u16,
        /// Those that are available.
        allowed: String,
    },
    /// A port has too few queues.
    #[error(
        "`dataplane.workers` names {workers} cores and a port has {queues} receive queues, but each worker needs \
         one on every port to send by it: give all ports {workers} queues with ethtool -L, or name fewer cores"
    )]
    Queues {
        /// Cores that are configured.
        workers: usize,
        /// The fewest queues of a port.
        queues: u16,
    },
    /// Nothing to run on.
    #[error("no core is available to workers: widen the CPU affinity of sixlane")]
    NoCores,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_takes_a_core_per_queue_as_far_as_they_go() {
        assert_eq!(worker_cores(&WorkerPlan::Auto, &[2, 4, 6], 2), Ok(vec![2, 4]));
        assert_eq!(worker_cores(&WorkerPlan::Auto, &[2, 4], 8), Ok(vec![2, 4]));
        assert_eq!(worker_cores(&WorkerPlan::Auto, &[2], 0), Ok(vec![2]));
        assert_eq!(worker_cores(&WorkerPlan::Auto, &[], 1), Err(CoreError::NoCores));
    }

    #[test]
    fn configured_cores_must_be_allowed() {
        let wanted = WorkerPlan::Cores(vec![1, 5]);
        assert_eq!(worker_cores(&wanted, &[0, 1, 5], 2), Ok(vec![1, 5]));
        let error = worker_cores(&wanted, &[0, 1, 5], 1).unwrap_err();
        assert_eq!(error, CoreError::Queues { workers: 2, queues: 1 });
        assert!(error.to_string().contains("ethtool -L"), "{error}");
        let error = worker_cores(&wanted, &[0, 1], 1).unwrap_err();
        assert_eq!(error, CoreError::NotAllowed { core: 5, allowed: "0, 1".into() });
    }

    #[test]
    fn auto_sleeps_when_at_most_one_core_is_left() {
        assert!(!spins(Idle::Auto, 1, 2));
        assert!(!spins(Idle::Auto, 2, 2));
        assert!(spins(Idle::Auto, 1, 3));
        assert!(spins(Idle::Spin, 2, 2));
        assert!(!spins(Idle::Sleep, 1, 8));
    }
}
