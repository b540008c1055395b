//! The configuration: from the text of a file to values that the rest of the product can trust.
//!
//! Two stages. [`raw`] is what the file says, [`checked`] what it means; `check` leads from one to
//! the other and collects every mistake it finds. A mistake is one sentence with its cause and its
//! remedy, shown with the line it stands in ([`Report`]). The grammar is complete from the first
//! version on; what this version cannot do yet is refused by name when it should *run*
//! ([`refuse_unbuilt`]).
//!
//! The file is hostile until read: it is bounded in size and depth, must be a regular file that
//! strangers cannot write, and nothing in it is ever executed or expanded.

mod check;
pub mod checked;
pub(crate) mod fixed;
mod nearest;
mod raw;
mod report;
mod source;

pub use checked::Checked;
pub use report::Report;
pub use source::{BYTES_MAX, LoadError, read};

use std::fmt;
use std::path::Path;

/// Something the grammar knows and this version cannot do yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unbuilt {
    /// The section or key, as written: `[[sixrd]]`, `sixtofour.anycast`.
    pub what: String,
    /// Line of the file, counted from 1.
    pub line: usize,
    /// Name of the file.
    pub file: String,
}

impl fmt::Display for Unbuilt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: {} is valid, but this version of sixlane does not have it yet: remove it to run the rest",
            self.file, self.line, self.what
        )
    }
}

impl std::error::Error for Unbuilt {}

/// Reads and checks a file.
///
/// # Errors
/// [`LoadError`]: the file cannot be read, may be written by anyone, or says something wrong.
pub fn load(path: &Path) -> Result<Checked, LoadError> {
    let text = read(path)?;
    parse(&path.display().to_string(), &text).map_err(LoadError::Invalid)
}

/// Checks a text. `name` is what reports call the file; nothing is opened.
///
/// # Errors
/// A [`Report`] with everything that is wrong.
pub fn parse(name: &str, text: &str) -> Result<Checked, Report> {
    let raw: raw::File =
        toml::from_str(text).map_err(|error| Report::one(name, text, nearest::explain(&error)))?;
    check::check(name, text, &raw)
}

/// Refuses a configuration that needs what this version does not have, naming the first such
/// section or key. `sixlane run` calls it, `sixlane check` does not.
///
/// # Errors
/// The first [`Unbuilt`] of the file.
pub fn refuse_unbuilt(checked: &Checked) -> Result<(), Unbuilt> {
    checked.unbuilt.first().map_or(Ok(()), |first| Err(first.clone()))
}

#[cfg(test)]
mod tests;
