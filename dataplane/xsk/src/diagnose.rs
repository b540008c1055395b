//! Why a privileged call failed, in one sentence with cause and remedy.

use std::fmt;
use std::io;

use rustix::io::Errno;
use rustix::thread::{CapabilitySet, capabilities};
use thiserror::Error;

use crate::program::PROGRAM;

/// The call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Loading the XDP program and its maps.
    LoadProgram,
    /// Attaching it to an interface.
    AttachProgram,
    /// Opening an AF_XDP socket.
    OpenSocket,
    /// Telling the kernel of the frame arena.
    RegisterFrames,
    /// Setting the sizes of the rings.
    SizeRings,
    /// Binding a socket to a queue.
    BindQueue {
        /// Number of the RX queue.
        queue: u32,
    },
}

/// Why set-up failed. Its text names the cause and the remedy.
#[derive(Debug, Error)]
#[error("{}", Sentence(self))]
pub struct SetupError {
    step: Step,
    /// Interface concerned; empty if none.
    interface: String,
    cause: Cause,
    source: io::Error,
}

/// What was found to be the cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The driver has no native XDP.
    NoXdpSupport,
    /// The driver has no zero-copy.
    NoZeroCopy,
    /// Another XDP program is attached: its id, and its name if it can be read.
    Occupied {
        /// Kernel's id of the program, 0 if unknown.
        id: u32,
        /// Name of the program.
        name: Option<String>,
    },
    /// This process lacks a capability: its name.
    MissingPrivilege(&'static str),
    /// The memory for frames exceeds what may be locked.
    LockedMemory,
    /// Another AF_XDP socket owns the queue.
    QueueBusy,
    /// The interface has no such queue.
    NoSuchQueue,
    /// The interface does not exist.
    NoSuchInterface,
    /// The MTU or another property of the interface does not suit XDP.
    Unsuitable,
    /// Anything else: the kernel's word for it.
    Other,
}

impl SetupError {
    /// Judges a failed call.
    pub(crate) fn step(step: Step, interface: &str, source: io::Error) -> Self {
        let cause = cause_of(step, &source);
        Self { step, interface: interface.to_owned(), cause, source }
    }

    /// A failure whose cause is known already.
    pub(crate) fn known(step: Step, interface: &str, cause: Cause, source: io::Error) -> Self {
        Self { step, interface: interface.to_owned(), cause, source }
    }

    /// The cause.
    #[must_use]
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// The interface concerned; empty if none.
    #[must_use]
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// The call that failed.
    #[must_use]
    pub fn failed_step(&self) -> Step {
        self.step
    }

    /// The kernel's error number, if there was one.
    pub(crate) fn raw_os_error(&self) -> Option<i32> {
        self.source.raw_os_error()
    }

    /// True if the driver cannot do what was asked, so that a humbler mode may succeed.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        matches!(self.cause, Cause::NoZeroCopy | Cause::NoXdpSupport)
    }
}

/// The cause, from the error number, the call and the capabilities of this process.
fn cause_of(step: Step, source: &io::Error) -> Cause {
    let errno = source.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
    match (errno, step) {
        (Errno::PERM | Errno::ACCESS, _) => missing_capability(step),
        (Errno::NOBUFS | Errno::NOMEM, Step::RegisterFrames) => Cause::LockedMemory,
        (Errno::BUSY, Step::BindQueue { .. }) => Cause::QueueBusy,
        (Errno::OPNOTSUPP, Step::BindQueue { .. }) => Cause::NoZeroCopy,
        (Errno::OPNOTSUPP, Step::AttachProgram) => Cause::NoXdpSupport,
        (Errno::INVAL, Step::BindQueue { .. }) => Cause::NoSuchQueue,
        (Errno::NODEV | Errno::NXIO, _) => Cause::NoSuchInterface,
        (Errno::INVAL | Errno::RANGE, Step::AttachProgram) => Cause::Unsuitable,
        (Errno::BUSY | Errno::EXIST, Step::AttachProgram) => Cause::Occupied { id: 0, name: None },
        _ => Cause::Other,
    }
}

/// The first capability that the step needs and the process lacks.
fn missing_capability(step: Step) -> Cause {
    let needed: &[(CapabilitySet, &'static str)] = match step {
        Step::LoadProgram | Step::AttachProgram => {
            &[(CapabilitySet::BPF, "CAP_BPF"), (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN")]
        }
        Step::RegisterFrames => &[(CapabilitySet::IPC_LOCK, "CAP_IPC_LOCK")],
        Step::OpenSocket | Step::SizeRings | Step::BindQueue { .. } => {
            &[(CapabilitySet::NET_RAW, "CAP_NET_RAW")]
        }
    };
    let held = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    needed
        .iter()
        .find(|(capability, _)| !held.contains(*capability))
        .map_or(Cause::Other, |(_, name)| Cause::MissingPrivilege(name))
}

struct Sentence<'e>(&'e SetupError);

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SetupError { step, interface, cause, source } = self.0;
        let what = What(*step, interface);
        match cause {
            Cause::NoXdpSupport => write!(
                f,
                "{what}: the driver of {interface} has no native XDP; choose another interface, or set mode = \"generic\" for a slow one"
            ),
            Cause::NoZeroCopy => write!(
                f,
                "{what}: the driver of {interface} has no zero-copy; set mode = \"auto\" or \"copy\""
            ),
            Cause::Occupied { id, name } => occupied(f, interface, *id, name.as_deref()),
            Cause::MissingPrivilege(capability) => write!(
                f,
                "{what}: {capability} is missing; start as root or grant {capability} to the service"
            ),
            Cause::LockedMemory => write!(
                f,
                "{what}: the frames exceed the memory that may be locked; grant CAP_IPC_LOCK, raise LimitMEMLOCK, or lower frames"
            ),
            Cause::QueueBusy => write!(
                f,
                "{what}: another AF_XDP socket owns the queue; stop that program (ss --xdp names it)"
            ),
            Cause::NoSuchQueue => write!(
                f,
                "{what}: the interface has no such queue, or its driver refuses the socket; compare with ethtool -l {interface}"
            ),
            Cause::NoSuchInterface => {
                write!(f, "{what}: interface {interface} does not exist; create it or correct its name")
            }
            Cause::Unsuitable => write!(
                f,
                "{what}: the driver refuses XDP on {interface} as it is set up ({source}); lower its MTU to 1500 and turn LRO off"
            ),
            Cause::Other => write!(f, "{what}: {source}; see the kernel's log (dmesg) for the reason"),
        }
    }
}

fn occupied(f: &mut fmt::Formatter<'_>, interface: &str, id: u32, name: Option<&str>) -> fmt::Result {
    write!(f, "interface {interface} is occupied by another XDP program")?;
    match (id, name) {
        (0, _) => {}
        (id, None) => write!(f, " (id {id})")?,
        (id, Some(name)) => write!(f, " (id {id}, {name})")?,
    }
    if name == Some(PROGRAM) {
        return write!(f, "; stop that sixlane first");
    }
    write!(f, "; stop what attached it, or detach it with: ip link set dev {interface} xdp off")
}

/// The step in words.
struct What<'e>(Step, &'e str);

impl fmt::Display for What<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(step, interface) = self;
        match step {
            Step::LoadProgram => write!(f, "cannot load the XDP program"),
            Step::AttachProgram => write!(f, "cannot attach the XDP program to {interface}"),
            Step::OpenSocket => write!(f, "cannot open an AF_XDP socket for {interface}"),
            Step::RegisterFrames => write!(f, "cannot register the memory for frames"),
            Step::SizeRings => write!(f, "cannot set the ring sizes of a socket for {interface}"),
            Step::BindQueue { queue } => write!(f, "cannot bind to queue {queue} of {interface}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(step: Step, errno: Errno) -> SetupError {
        SetupError::step(step, "wan4", errno.into())
    }

    /// Each cause in its sentence, with a remedy behind the semicolon.
    #[test]
    fn every_sentence_names_cause_and_remedy() {
        let bind = Step::BindQueue { queue: 3 };
        let cases = [
            (
                failed(Step::AttachProgram, Errno::OPNOTSUPP),
                "cannot attach the XDP program to wan4: the driver of wan4 has no native XDP; choose another interface, or set mode = \"generic\" for a slow one",
            ),
            (
                failed(bind, Errno::OPNOTSUPP),
                "cannot bind to queue 3 of wan4: the driver of wan4 has no zero-copy; set mode = \"auto\" or \"copy\"",
            ),
            (
                failed(bind, Errno::BUSY),
                "cannot bind to queue 3 of wan4: another AF_XDP socket owns the queue; stop that program (ss --xdp names it)",
            ),
            (
                failed(bind, Errno::INVAL),
                "cannot bind to queue 3 of wan4: the interface has no such queue, or its driver refuses the socket; compare with ethtool -l wan4",
            ),
            (
                failed(bind, Errno::NODEV),
                "cannot bind to queue 3 of wan4: interface wan4 does not exist; create it or correct its name",
            ),
            (
                failed(Step::RegisterFrames, Errno::NOBUFS),
                "cannot register the memory for frames: the frames exceed the memory that may be locked; grant CAP_IPC_LOCK, raise LimitMEMLOCK, or lower frames",
            ),
            (
                failed(Step::AttachProgram, Errno::BUSY),
                "interface wan4 is occupied by another XDP program; stop what attached it, or detach it with: ip link set dev wan4 xdp off",
            ),
            (
                failed(Step::SizeRings, Errno::IO),
                "cannot set the ring sizes of a socket for wan4: Input/output error (os error 5); see the kernel's log (dmesg) for the reason",
            ),
        ];
        for (error, sentence) in cases {
            assert_eq!(error.to_string(), sentence);
        }
    }

    #[test]
    fn an_occupant_is_named_as_far_as_it_is_known() {
        let occupied = |id, name: Option<&str>| {
            let cause = Cause::Occupied { id, name: name.map(str::to_owned) };
            SetupError::known(Step::AttachProgram, "wan4", cause, Errno::BUSY.into()).to_string()
        };
        let before = "interface wan4 is occupied by another XDP program";
        assert!(occupied(42, None).starts_with(&format!("{before} (id 42); ")));
        assert!(occupied(42, Some("xdp_pass")).starts_with(&format!("{before} (id 42, xdp_pass); ")));
        assert!(occupied(42, Some(PROGRAM)).ends_with("(id 42, sixlane_relay); stop that sixlane first"));
    }

    #[test]
    fn a_driver_without_a_feature_is_no_other_failure() {
        assert!(failed(Step::BindQueue { queue: 0 }, Errno::OPNOTSUPP).is_unsupported());
        assert!(!failed(Step::BindQueue { queue: 0 }, Errno::BUSY).is_unsupported());
    }

    /// In a thread that has given its capabilities up.
    #[test]
    fn the_missing_capability_is_named() {
        let asked = std::thread::spawn(|| {
            let none = rustix::thread::CapabilitySets {
                effective: CapabilitySet::empty(),
                permitted: CapabilitySet::empty(),
                inheritable: CapabilitySet::empty(),
            };
            rustix::thread::set_capabilities(None, none).unwrap();
            let steps = [Step::LoadProgram, Step::OpenSocket, Step::RegisterFrames];
            steps.map(|step| failed(step, Errno::PERM).to_string())
        });
        let [load, open, register] = asked.join().unwrap();
        assert_eq!(
            load,
            "cannot load the XDP program: CAP_BPF is missing; start as root or grant CAP_BPF to the service"
        );
        assert!(open.contains("CAP_NET_RAW is missing"), "{open}");
        assert!(register.contains("CAP_IPC_LOCK is missing"), "{register}");
    }
}
