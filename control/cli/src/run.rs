//! `sixlane run`: parses the configuration and hands the keeper its plan.

use std::path::{Path, PathBuf};

use sixlane_control::config::checked::{self, Checked};
use sixlane_control::config::{self, LoadError};
use sixlane_keeper::plan::{Idle, Mode, Plan, PortPlan, Users, WorkerPlan};
use sixlane_keeper::protocol::Rings;

use crate::failure::Failure;
use crate::trace;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The configuration
    config: PathBuf,
    /// Directory of lock and admin socket
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUNTIME)]
    runtime: PathBuf,
}

/// Where a relay lives unless it is told otherwise.
pub(crate) const DEFAULT_RUNTIME: &str = "/run/sixlane";

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    trace::start();
    let text = config::read(&arguments.config).map_err(Failure::usage)?;
    let name = arguments.config.display().to_string();
    let checked = config::parse(&name, &text).map_err(LoadError::Invalid).map_err(Failure::usage)?;
    config::refuse_unbuilt(&checked).map_err(Failure::usage)?;
    if checked.ports.is_empty() {
        let sentence = format!("{name} has no [[port]]: name an interface, as docs/configuration.md shows");
        return Err(Failure::usage(sentence));
    }
    for warning in &checked.warnings {
        tracing::warn!("{warning}");
    }
    sixlane_keeper::run(&plan(arguments, &checked, text)).map_err(Failure::failed)
}

/// A path that means the same to processes that run elsewhere.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

/// The part of a configuration that is the keeper's.
fn plan(arguments: &Arguments, checked: &Checked, text: String) -> Plan {
    let data_plane = &checked.dataplane;
    Plan {
        runtime: absolute(&arguments.runtime),
        config_path: absolute(&arguments.config),
        config_text: text,
        ports: checked
            .ports
            .iter()
            .map(|port| PortPlan { name: port.name.clone(), vlan: port.vlan })
            .collect(),
        workers: match &data_plane.workers {
            checked::Workers::Auto => WorkerPlan::Auto,
            checked::Workers::Cores(cores) => {
                WorkerPlan::Cores(cores.iter().map(|core| u16::try_from(*core).unwrap_or(u16::MAX)).collect())
            }
        },
        mode: match data_plane.mode {
            checked::Mode::Auto => Mode::Auto,
            checked::Mode::ZeroCopy => Mode::ZeroCopy,
            checked::Mode::Copy => Mode::Copy,
            checked::Mode::Generic => Mode::Generic,
        },
        idle: match data_plane.idle {
            checked::Idle::Auto => Idle::Auto,
            checked::Idle::Sleep => Idle::Sleep,
            checked::Idle::Spin => Idle::Spin,
        },
        rings: Rings {
            rx: data_plane.rx_ring,
            tx: data_plane.tx_ring,
            fill: data_plane.fill_ring,
            completion: data_plane.completion_ring,
        },
        frames: data_plane.frames,
        stuck_seconds: data_plane.stuck_seconds,
        users: Users {
            control: checked.process.control_user.clone(),
            data_plane: checked.process.dataplane_user.clone(),
            observer: checked.process.observer_user.clone(),
        },
        admin_group: checked.admin.group.clone(),
        metrics: checked.metrics,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_says_what_the_configuration_says() {
        let text = "version = 1\n[dataplane]\nworkers = [3, 1]\nmode = \"copy\"\nidle = \"spin\"\n\
                    rx_ring = 512\nframes = 4096\n[[port]]\nname = \"wan4\"\n[[port]]\nname = \"wan6\"\n";
        let checked = config::parse("x.toml", text).unwrap();
        let arguments = Arguments { config: "x.toml".into(), runtime: "/tmp/x".into() };
        let plan = plan(&arguments, &checked, text.into());
        let names: Vec<&str> = plan.ports.iter().map(|port| port.name.as_str()).collect();
        assert_eq!(names, ["wan4", "wan6"]);
        assert_eq!((plan.mode, plan.idle), (Mode::Copy, Idle::Spin));
        assert_eq!(plan.workers, WorkerPlan::Cores(vec![3, 1]));
        assert_eq!((plan.rings.rx, plan.frames), (512, Some(4096)));
        assert_eq!(plan.config_text, text);
    }
}
