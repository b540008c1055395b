//! Everything that is linked may be linked: permissive licences only.

use crate::tree::{metadata, packages};

/// SPDX names that may be linked.
const ALLOWED: &[&str] = &[
    "MIT",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "Unlicense",
    "0BSD",
    "CC0-1.0",
    "MIT-0",
];

/// Exceptions that may follow `WITH`.
const EXCEPTIONS: &[&str] = &["LLVM-exception"];

#[test]
fn every_dependency_has_a_permissive_licence() {
    let metadata = metadata(&["--filter-platform", "x86_64-unknown-linux-gnu"]);
    let mut refused = Vec::new();
    for package in packages(&metadata) {
        let expression = package["license"].as_str().unwrap_or_default();
        if !permitted(expression) {
            refused.push(format!("{} {}: {expression:?}", package["name"], package["version"]));
        }
    }
    assert!(refused.is_empty(), "{refused:#?}");
    assert!(packages(&metadata).len() > 50, "the dependencies are listed");
}

#[test]
fn licence_expressions_are_understood() {
    for good in [
        "MIT",
        "MIT OR GPL-3.0",
        "GPL-3.0 OR MIT",
        "MIT/Apache-2.0",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
        "LGPL-2.1-only OR BSD-2-Clause",
    ] {
        assert!(permitted(good), "{good}");
    }
    for wrong in
        ["", "GPL-3.0", "MIT AND GPL-3.0", "EUPL-1.2", "(MIT AND MPL-2.0) OR LGPL-2.1", "MIT WITH other"]
    {
        assert!(!permitted(wrong), "{wrong}");
    }
}

/// Whether an SPDX expression leaves a way that uses only [`ALLOWED`] licences.
fn permitted(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let value = alternatives(&mut rest);
    value && rest.is_empty()
}

/// `a OR b`: the loosest binding.
fn alternatives(words: &mut &[&str]) -> bool {
    let mut value = conjunction(words);
    while let ["OR", rest @ ..] = *words {
        *words = rest;
        value |= conjunction(words);
    }
    value
}

fn conjunction(words: &mut &[&str]) -> bool {
    let mut value = single(words);
    while let ["AND", rest @ ..] = *words {
        *words = rest;
        value &= single(words);
    }
    value
}

fn single(words: &mut &[&str]) -> bool {
    match *words {
        ["(", rest @ ..] => {
            *words = rest;
            let value = alternatives(words);
            let closed = words.first() == Some(&")");
            *words = words.get(1..).unwrap_or_default();
            value && closed
        }
        [name, "WITH", exception, rest @ ..] => {
            *words = rest;
            ALLOWED.contains(name) && EXCEPTIONS.contains(exception)
        }
        [name, rest @ ..] => {
            *words = rest;
            ALLOWED.contains(name)
        }
        [] => false,
    }
}
