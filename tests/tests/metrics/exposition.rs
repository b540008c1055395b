//! A strict reader of the OpenMetrics text format 1.0, of the parts that sixlane uses (counters and
//! gauges). Written from the specification, to judge what the observer says.

use std::collections::{BTreeMap, BTreeSet};

/// A sample: its name and its labels, sorted.
pub(crate) type Key = (String, BTreeMap<String, String>);

/// Reads an exposition.
///
/// # Errors
/// The first line that breaks a rule of the format.
pub(crate) fn parse(text: &str) -> Result<BTreeMap<Key, f64>, String> {
    let body = text.strip_suffix("# EOF\n").ok_or("it does not end with `# EOF`")?;
    let (mut samples, mut families) = (BTreeMap::new(), BTreeSet::new());
    let (mut family, mut kind) = (String::new(), String::new());
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or(format!("help without text: {line}"))?;
            if !families.insert(name.to_owned()) || help.is_empty() {
                return Err(format!("a family that was there, or an empty help: {line}"));
            }
            (family, kind) = (name.to_owned(), String::new());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, what) = rest.split_once(' ').ok_or(format!("type without a word: {line}"))?;
            if name != family || !kind.is_empty() || !["counter", "gauge"].contains(&what) {
                return Err(format!("a type out of place: {line}"));
            }
            kind = what.to_owned();
        } else {
            let (key, value) = sample(line).ok_or(format!("not a sample: {line}"))?;
            let expected = if kind == "counter" { format!("{family}_total") } else { family.clone() };
            if key.0 != expected || kind.is_empty() {
                return Err(format!("{line} does not belong to the {kind} {family}"));
            }
            if kind == "counter" && value < 0.0 {
                return Err(format!("a counter below 0: {line}"));
            }
            if samples.insert(key, value).is_some() {
                return Err(format!("a sample twice: {line}"));
            }
        }
    }
    Ok(samples)
}

fn sample(line: &str) -> Option<(Key, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    if !is_name(name) {
        return None;
    }
    let mut labels = BTreeMap::new();
    if let Some(mut inner) = rest.strip_prefix('{') {
        loop {
            let (label, value) = inner.split_once("=\"")?;
            let (value, after) = quoted(value)?;
            if !is_name(label) || labels.insert(label.to_owned(), value).is_some() {
                return None;
            }
            match after.strip_prefix(',') {
                Some(more) => inner = more,
                None => {
                    rest = after.strip_prefix('}')?;
                    break;
                }
            }
        }
    }
    let value = rest.strip_prefix(' ')?.parse().ok()?;
    Some(((name.to_owned(), labels), value))
}

/// The text up to the closing quote, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut escaped) = (String::new(), false);
    for (at, c) in text.char_indices() {
        match (escaped, c) {
            (false, '\\') => {
                escaped = true;
                continue;
            }
            (false, '"') => return Some((value, &text[at + 1..])),
            (true, 'n') => value.push('\n'),
            (true, '\\' | '"') | (false, _) => value.push(c),
            (true, _) => return None,
        }
        escaped = false;
    }
    None
}

fn is_name(name: &str) -> bool {
    let first = name.starts_with(|c: char| c.is_ascii_lowercase());
    first && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

#[test]
fn the_reader_is_strict() {
    let good = "# HELP a_b What.\n# TYPE a_b counter\na_b_total 1\n# HELP g G.\n# TYPE g gauge\n\
                g{x=\"a\\\"b\",y=\"\\\\\"} -2\n# EOF\n";
    let read = parse(good).unwrap();
    let labels = BTreeMap::from([("x".to_owned(), "a\"b".to_owned()), ("y".to_owned(), "\\".to_owned())]);
    assert_eq!(read[&("g".to_owned(), labels)], -2.0);
    for (from, to) in [
        ("# EOF\n", ""),
        ("a_b_total", "a_b"),
        ("counter", "countr"),
        ("a_b_total 1", "a_b_total 1\na_b_total 2"),
        ("# HELP g", "# HELP a_b"),
        ("y=\"\\\\\"", "x=\"\""),
        ("a_b_total 1", "a_b_total one"),
        ("a_b_total 1", "a_b_total -1"),
        ("{x", "{X"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert!(bad != good && parse(&bad).is_err(), "{bad}");
    }
}
