//! The last resort at a stop: control is not there to take its fence away.

use std::process::{Command, Stdio};

/// Removes the table `inet sixlane` if it is there.
pub(crate) fn remove() {
    let mut command = Command::new("nft");
    command
        .args(["delete", "table", "inet", "sixlane"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    match command.status() {
        Ok(status) if status.success() => tracing::info!("the fence is removed"),
        Ok(_) => tracing::debug!("there was no fence to remove"),
        Err(error) => tracing::warn!(
            "nft cannot be run ({error}): if it is there, remove the table with `nft delete table inet sixlane`"
        ),
    }
}
