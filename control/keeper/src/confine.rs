//! How a process gives up what it does not need: users, capabilities, system calls.
//!
//! Each process confines itself, in one place, before it does its work; afterwards it looks whether
//! the privilege has really gone. System calls are filtered per thread: a thread that has not started
//! yet inherits the filter of the one that starts it, so the order is from wide to narrow.

use std::collections::BTreeMap;
use std::io;

use rustix::fs::{Gid, Uid};
use rustix::process::DumpableBehavior;
use rustix::thread::{CapabilitySet, CapabilitySets};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

use crate::host;
use crate::users::Identity;

/// System calls of a worker thread after its start: at most twelve (TGT-18). `write` is for last words.
const WORKER_CALLS: [i64; 11] = [
    libc::SYS_ppoll,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_getsockopt,
    libc::SYS_clock_gettime,
    libc::SYS_futex,
    libc::SYS_write,
    libc::SYS_sched_yield,
    libc::SYS_rt_sigreturn,
    libc::SYS_restart_syscall,
    libc::SYS_exit_group,
];

/// What the attach thread needs beside: receiving and mapping segments, and the allocator.
const ATTACH_CALLS: [i64; 24] = [
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_close,
    libc::SYS_read,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_lseek,
    libc::SYS_memfd_create,
    libc::SYS_ftruncate,
    libc::SYS_fchmod,
    libc::SYS_clock_nanosleep,
    libc::SYS_membarrier,
    libc::SYS_rt_sigprocmask,
    libc::SYS_sigaltstack,
    libc::SYS_getrandom,
    libc::SYS_exit,
];

/// What the observer needs beside these: its event loop, and the sockets that it has been given. It can
/// open none, nor any file.
const OBSERVER_CALLS: [i64; 15] = [
    libc::SYS_accept4,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_wait,
    libc::SYS_getpeername,
    libc::SYS_getpid,
    libc::SYS_getsockname,
    libc::SYS_gettid,
    libc::SYS_ioctl,
    libc::SYS_rt_sigaction,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_tgkill,
    libc::SYS_writev,
    libc::SYS_readv,
];

/// What nobody in the product needs, the keeper's children included: they inherit this filter.
const NEVER: [i64; 29] = [
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_finit_module,
    libc::SYS_init_module,
    libc::SYS_io_uring_setup,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_mount,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
];

/// Why a process could not be confined; it must not go on.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// A step was refused.
    #[error("cannot {step} ({cause}): start sixlane as root, with the capabilities of the service file")]
    Step {
        /// What was tried.
        step: &'static str,
        /// The system's answer.
        cause: io::Error,
    },
    /// The steps succeeded but a privilege is still there.
    #[error("the process still has {0} after giving up its privileges: report this as a defect")]
    Left(&'static str),
    /// The filter of system calls cannot be installed.
    #[error("cannot install the filter of system calls ({0}): use a kernel with CONFIG_SECCOMP_FILTER")]
    Filter(#[from] seccompiler::Error),
}

/// Gives `step` its name when it fails.
fn step<T>(step: &'static str, outcome: rustix::io::Result<T>) -> Result<T, ConfineError> {
    outcome.map_err(|error| ConfineError::Step { step, cause: error.into() })
}

/// Confines the keeper: uid 0 stays, the capabilities are the needed ones, for the children too.
///
/// # Errors
/// [`ConfineError`].
pub fn keeper() -> Result<(), ConfineError> {
    bound(host::needed())?;
    let sets = CapabilitySets {
        effective: host::needed(),
        permitted: host::needed(),
        inheritable: CapabilitySet::empty(),
    };
    step("drop capabilities", rustix::thread::set_capabilities(None, sets))?;
    apply(&denying(&NEVER)?)
}

/// Confines control: its own user, with CAP_NET_ADMIN and CAP_NET_RAW, which `nft` inherits.
///
/// # Errors
/// [`ConfineError`].
pub fn control(identity: Identity) -> Result<(), ConfineError> {
    let kept = CapabilitySet::NET_ADMIN | CapabilitySet::NET_RAW;
    become_user(identity, kept)?;
    for capability in [CapabilitySet::NET_ADMIN, CapabilitySet::NET_RAW] {
        step(
            "keep capabilities for nft",
            rustix::thread::configure_capability_in_ambient_set(capability, true),
        )?;
    }
    verify(kept)
}

/// Confines the data plane: its own user and no capability. The threads' filters come later
/// ([`worker_thread`], [`attach_thread`]), when descriptors and threads are there.
///
/// # Errors
/// [`ConfineError`].
pub fn data_plane(identity: Identity) -> Result<(), ConfineError> {
    become_user(identity, CapabilitySet::empty())?;
    verify(CapabilitySet::empty())
}

/// Confines the observer: its own user and no capability. Its filter comes later ([`observer_thread`]).
///
/// # Errors
/// [`ConfineError`].
pub fn observer(identity: Identity) -> Result<(), ConfineError> {
    data_plane(identity)
}

/// Filters the observer's one thread, when its event loop is there.
///
/// # Errors
/// [`ConfineError::Filter`].
pub fn observer_thread() -> Result<(), ConfineError> {
    let calls: Vec<i64> = [&WORKER_CALLS[..], &ATTACH_CALLS, &OBSERVER_CALLS].concat();
    apply(&allowing(&calls)?)
}

/// Filters the calling worker thread: these few calls, any other ends the process.
///
/// # Errors
/// [`ConfineError::Filter`].
pub fn worker_thread() -> Result<(), ConfineError> {
    apply(&allowing(&WORKER_CALLS)?)
}

/// Filters the attach thread. Threads that it starts later would inherit the filter.
///
/// # Errors
/// [`ConfineError::Filter`].
pub fn attach_thread() -> Result<(), ConfineError> {
    let calls: Vec<i64> = WORKER_CALLS.iter().chain(&ATTACH_CALLS).copied().collect();
    apply(&allowing(&calls)?)
}

/// Changes user and group, keeps exactly `kept`, and shuts the doors behind.
fn become_user(identity: Identity, kept: CapabilitySet) -> Result<(), ConfineError> {
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    let extra: Vec<Gid> = identity.extra_group.map(Gid::from_raw).into_iter().collect();
    bound(kept)?;
    step("leave the groups of root", rustix::thread::set_thread_groups(&extra))?;
    step("change the group", rustix::thread::set_thread_res_gid(gid, gid, gid))?;
    step("keep capabilities", rustix::thread::set_keep_capabilities(!kept.is_empty()))?;
    step("change the user", rustix::thread::set_thread_res_uid(uid, uid, uid))?;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: kept };
    step("drop capabilities", rustix::thread::set_capabilities(None, sets))?;
    step("give up new privileges", rustix::thread::set_no_new_privs(true))?;
    step(
        "forbid core dumps and tracing",
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable),
    )
}

/// Takes everything but `kept` out of the bounding set.
fn bound(kept: CapabilitySet) -> Result<(), ConfineError> {
    for capability in (CapabilitySet::all() - kept).iter() {
        // A capability that this kernel does not know or that is already out needs no removal.
        if rustix::thread::capability_is_in_bounding_set(capability).unwrap_or(false) {
            step("narrow the bounding set", rustix::thread::remove_capability_from_bounding_set(capability))?;
        }
    }
    Ok(())
}

/// Looks whether the privileges have really gone.
fn verify(kept: CapabilitySet) -> Result<(), ConfineError> {
    let sets = step("read capabilities", rustix::thread::capabilities(None))?;
    if sets.effective != kept || sets.permitted != kept {
        return Err(ConfineError::Left("capabilities"));
    }
    if rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).is_ok() {
        return Err(ConfineError::Left("the way back to root"));
    }
    Ok(())
}

fn target() -> Result<TargetArch, seccompiler::Error> {
    Ok(TargetArch::try_from(std::env::consts::ARCH)?)
}

fn filter(
    calls: &[i64],
    otherwise: SeccompAction,
    listed: SeccompAction,
) -> Result<BpfProgram, seccompiler::Error> {
    let rules: BTreeMap<i64, Vec<_>> = calls.iter().map(|call| (*call, Vec::new())).collect();
    Ok(SeccompFilter::new(rules, otherwise, listed, target()?)?.try_into()?)
}

/// Everything but `calls` ends the process.
fn allowing(calls: &[i64]) -> Result<BpfProgram, seccompiler::Error> {
    filter(calls, SeccompAction::KillProcess, SeccompAction::Allow)
}

/// `calls` are answered with EPERM.
fn denying(calls: &[i64]) -> Result<BpfProgram, seccompiler::Error> {
    let refused = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    filter(calls, SeccompAction::Allow, refused)
}

fn apply(program: &BpfProgram) -> Result<(), ConfineError> {
    Ok(seccompiler::apply_filter(program)?)
}

#[cfg(test)]
#[path = "confine_tests.rs"]
mod tests;
