//! Which files are read at all.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use super::super::{BYTES_MAX, LoadError, load, read};
use super::RELAY;

#[test]
fn a_plain_file_is_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("sixlane.toml");
    fs::write(&path, RELAY).expect("written");
    assert!(load(&path).is_ok());
    let link = directory.path().join("link.toml");
    std::os::unix::fs::symlink(&path, &link).expect("linked");
    assert!(load(&link).is_ok(), "a link is fine, its target is judged");
}

#[test]
fn a_file_that_anyone_can_write_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("sixlane.toml");
    fs::write(&path, RELAY).expect("written");
    fs::set_permissions(&path, Permissions::from_mode(0o666)).expect("changed");
    let error = load(&path).expect_err("world-writable");
    assert!(matches!(error, LoadError::WorldWritable { .. }));
    assert!(error.to_string().contains("chmod o-w"), "{error}");
}

#[test]
fn pipes_directories_and_absent_files_are_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    assert!(matches!(load(directory.path()), Err(LoadError::NotAFile { .. })));
    let pipe = directory.path().join("pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).expect("a pipe");
    assert!(matches!(load(&pipe), Err(LoadError::NotAFile { .. })), "and it does not block");
    let error = load(&directory.path().join("absent")).expect_err("absent");
    assert!(error.to_string().contains("check the name"), "{error}");
}

#[test]
fn a_file_beyond_the_size_limit_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("sixlane.toml");
    let file = fs::File::create(&path).expect("created");
    file.set_len(BYTES_MAX + 1).expect("a sparse file");
    assert!(matches!(read(&path), Err(LoadError::TooLarge { .. })));
}

#[test]
fn a_file_that_is_not_text_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("sixlane.toml");
    fs::write(&path, b"version = 1\n\xff").expect("written");
    assert!(matches!(read(&path), Err(LoadError::NotText { offset: 12, .. })));
}
