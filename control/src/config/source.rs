//! Getting at the text: what may be a configuration file at all.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::Report;

/// The largest file that is read, in bytes: 64 MiB.
pub const BYTES_MAX: u64 = 64 << 20;

/// Why a configuration could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file could not be opened or read.
    #[error("cannot read {path}: {error}: check the name and that this user may read it", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A directory, device, pipe or socket.
    #[error("{path} is not a regular file: name a TOML file", path = path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// Larger than [`BYTES_MAX`].
    #[error("{path} is larger than 64 MiB: that is not a configuration of sixlane", path = path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Anyone may write it.
    #[error("{path} can be written by any user: chmod o-w {path}", path = path.display())]
    WorldWritable {
        /// The file.
        path: PathBuf,
    },
    /// Not UTF-8.
    #[error("{path} is not UTF-8 text (byte {offset}): TOML is always UTF-8", path = path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// First byte that is not UTF-8.
        offset: usize,
    },
    /// It was read and says something wrong.
    #[error("{0}")]
    Invalid(Report),
}

/// Reads the text of a configuration file. Everything is judged on the open descriptor, so what
/// was checked is what is read, whatever happens to the name meanwhile.
///
/// # Errors
/// Every [`LoadError`] but `Invalid`.
pub fn read(path: &Path) -> Result<String, LoadError> {
    let failed = |error| LoadError::Read { path: path.to_owned(), error };
    // Without O_NONBLOCK a pipe of that name would block for ever.
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let mut options = File::options();
    let file = options.read(true).custom_flags(nonblocking).open(path).map_err(failed)?;
    judge(path, &file.metadata().map_err(failed)?)?;
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(LoadError::TooLarge { path: path.to_owned() });
    }
    String::from_utf8(bytes).map_err(|error| LoadError::NotText {
        path: path.to_owned(),
        offset: error.utf8_error().valid_up_to(),
    })
}

fn judge(path: &Path, meta: &Metadata) -> Result<(), LoadError> {
    let path = path.to_owned();
    if !meta.is_file() {
        Err(LoadError::NotAFile { path })
    } else if meta.len() > BYTES_MAX {
        Err(LoadError::TooLarge { path })
    } else if meta.mode() & 0o002 != 0 {
        Err(LoadError::WorldWritable { path })
    } else {
        Ok(())
    }
}
