//! Any bytes as a configuration file (ATK-58): judged, never a crash, and every refusal can be shown.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sixlane_control::config;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match config::parse("fuzz.toml", text) {
        Ok(checked) => drop(config::refuse_unbuilt(&checked)),
        Err(report) => {
            assert!(!report.sentences().is_empty(), "a refusal says why");
            assert!(!report.to_string().is_empty());
        }
    }
});
