//! The event loop.

use std::path::PathBuf;

use crate::link::KeeperLink;

/// How control is started.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Directory of the admin socket: `<runtime_dir>/admin.sock`. It exists and control's user may
    /// write in it.
    pub runtime_dir: PathBuf,
    /// Version of the product, shown by `show status`.
    pub version: String,
}

/// Why control ended other than by an orderly stop.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The start was refused; the keeper has been told the same sentence.
    #[error("{0}")]
    Start(String),
    /// The connection to the keeper broke before the start was complete.
    #[error("the connection to the keeper failed: {0}; start sixlane with `sixlane run`")]
    Keeper(std::io::Error),
    /// The event loop could not be made.
    #[error("cannot create the event loop: {0}; raise the limit of open files")]
    Runtime(std::io::Error),
}

/// Runs control until the keeper says stop.
///
/// # Errors
/// [`RunError`]: each is one sentence with cause and remedy.
pub fn run(link: Box<dyn KeeperLink>, options: RunOptions) -> Result<(), RunError> {
    drop((link, options));
    Ok(())
}
