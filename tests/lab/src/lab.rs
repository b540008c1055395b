//! A laboratory: hosts under one random prefix, released together.

use crate::{Host, LabError, registry};
use std::path::{Path, PathBuf};

/// A laboratory. Dropping it ends every process inside and removes namespaces and files.
#[derive(Debug)]
pub struct Lab {
    prefix: String,
    directory: PathBuf,
    kept: bool,
}

impl Lab {
    /// Begins an empty laboratory, after removing what killed runs left behind.
    ///
    /// # Errors
    /// Not root, or a tool is missing.
    pub fn new() -> Result<Self, LabError> {
        for (program, package) in [("ip", "iproute2"), ("ethtool", "ethtool")] {
            require(program, package)?;
        }
        registry::reap();
        let (prefix, directory) = registry::claim()?;
        Ok(Self { prefix, directory, kept: false })
    }

    /// Leaves everything running when the value is dropped, for `sixlane lab down` to remove.
    ///
    /// # Errors
    /// The owner file cannot be written.
    pub(crate) fn keep(mut self) -> Result<(), LabError> {
        registry::keep(&self.prefix)?;
        self.kept = true;
        Ok(())
    }

    /// The prefix of its names, `sx` and six hexadecimal digits.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Its directory, for files that end with it.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Adds a host.
    ///
    /// # Errors
    /// The namespace cannot be made.
    pub fn host(&self, name: &str) -> Result<Host, LabError> {
        Host::create(&self.prefix, name)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !self.kept {
            registry::remove(&self.prefix);
        }
    }
}

/// Finds a program in the usual places.
///
/// # Errors
/// [`LabError::Missing`] with the package that has it.
pub fn require(program: &str, package: &'static str) -> Result<PathBuf, LabError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
        .ok_or_else(|| LabError::Missing { program: program.to_owned(), package })
}
