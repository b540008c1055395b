//! Tests of the grammar, of what each mistake is told, and of hostile files.

mod files;
mod grammar;
mod hostile;
mod mistakes;

use super::{Checked, Report, parse};

/// The smallest useful file: one port and the 6to4 relay.
const RELAY: &str = r#"version = 1
[[port]]
name = "wan4"
[sixtofour]
role = "relay"
address = "9.254.253.252"
"#;

fn good(text: &str) -> Checked {
    parse("test.toml", text).unwrap_or_else(|report| panic!("{report}"))
}

fn bad(text: &str) -> Report {
    match parse("test.toml", text) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(report) => report,
    }
}

/// Refuses the text with exactly one mistake; its sentence must contain every given part.
fn refused(text: &str, parts: &[&str]) {
    let sentences = bad(text).sentences();
    assert_eq!(sentences.len(), 1, "{sentences:#?}\n{text}");
    for part in parts {
        assert!(sentences[0].contains(part), "{part:?} is not in {:?}\n{text}", sentences[0]);
    }
}
