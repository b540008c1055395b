//! `docs/conformance/requirements.tsv`: every requirement once, and what its state rests on.

use std::collections::{BTreeMap, BTreeSet};

use crate::tree::{root, sources};

/// How many requirements each family of the catalogue has; together 325.
const FAMILIES: &[(&str, usize)] = &[
    ("6RD", 19),
    ("6TO4", 30),
    ("BEN", 22),
    ("BOG", 3),
    ("CHK", 3),
    ("ECN", 8),
    ("ETH", 6),
    ("FLT", 5),
    ("FWD", 19),
    ("ICMP", 13),
    ("ISA", 14),
    ("LOOP", 11),
    ("MLD", 8),
    ("ND", 14),
    ("PMTU", 5),
    ("RA", 10),
    ("RED", 4),
    ("SAS", 3),
    ("SEC", 22),
    ("TRC", 11),
    ("TRD", 14),
    ("TRR", 18),
    ("TRS", 23),
    ("TRX", 10),
    ("TUN", 30),
];

const STATES: &[&str] = &["tested", "kernel", "not applicable", "not done"];

struct Row {
    id: String,
    state: String,
    evidence: String,
}

fn rows() -> Vec<Row> {
    let path = root().join("docs/conformance/requirements.tsv");
    let text = std::fs::read_to_string(path).expect("the list of requirements");
    let rows = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [id, state, evidence, _level, _source] = fields[..] else {
            panic!("{line:?} has not five fields");
        };
        Row { id: id.to_owned(), state: state.to_owned(), evidence: evidence.to_owned() }
    });
    rows.collect()
}

#[test]
fn every_requirement_stands_once() {
    let mut families: BTreeMap<String, usize> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for row in rows() {
        let (family, number) = row.id.rsplit_once('-').expect("FAMILY-NN");
        assert!(number.len() == 2 && number.bytes().all(|digit| digit.is_ascii_digit()), "{}", row.id);
        assert!(seen.insert(row.id.clone()), "{} stands twice", row.id);
        *families.entry(family.to_owned()).or_default() += 1;
    }
    let expected: BTreeMap<String, usize> =
        FAMILIES.iter().map(|&(family, count)| (family.to_owned(), count)).collect();
    assert_eq!(families, expected);
    assert_eq!(seen.len(), 325);
    // The numbers of a family have no holes.
    for (family, count) in FAMILIES {
        let first = usize::from(!seen.contains(&format!("{family}-00")));
        for number in first..first + count {
            assert!(seen.contains(&format!("{family}-{number:02}")), "{family}-{number:02} is missing");
        }
    }
}

#[test]
fn every_state_rests_on_something() {
    let sources = sources();
    let mut sums: BTreeMap<&str, usize> = BTreeMap::new();
    let rows = rows();
    for row in &rows {
        let state = STATES.iter().find(|state| **state == row.state);
        assert!(state.is_some(), "{}: {:?} is not a state", row.id, row.state);
        assert!(!row.evidence.trim().is_empty(), "{} gives neither test nor reason", row.id);
        *sums.entry(&row.state).or_default() += 1;
        if row.state != "tested" {
            continue;
        }
        for test in row.evidence.split(' ') {
            let (file, function) = test.rsplit_once("::").unwrap_or_else(|| panic!("{}: {test:?}", row.id));
            let source = sources.iter().find(|source| source.path == file);
            let Some(source) = source else { panic!("{}: there is no file {file}", row.id) };
            let written = source.text.contains(&format!("fn {function}("));
            assert!(written, "{}: {file} has no test {function}", row.id);
        }
    }
    let sums: Vec<String> = sums.iter().map(|(state, count)| format!("{count} {state}")).collect();
    println!("{} requirements: {}", rows.len(), sums.join(", "));
}

/// The table of attacks names tests that exist, too.
#[test]
fn the_table_of_attacks_names_real_tests() {
    let text = std::fs::read_to_string(root().join("docs/conformance/security.md")).expect("the table");
    let sources = sources();
    let mut named = 0;
    for line in text.lines().filter(|line| line.starts_with('|')) {
        let mut file = String::new();
        for word in line.split('`').filter(|word| word.contains("::")) {
            let (place, function) = word.rsplit_once("::").unwrap_or_default();
            match place {
                "" => {}
                "fixtures" => file = "dataplane/xsk/tests/xdp/fixtures.rs".to_owned(),
                place => file = place.to_owned(),
            }
            let source = sources.iter().find(|source| source.path == file);
            let found = source.is_some_and(|source| source.text.contains(&format!("fn {function}(")));
            assert!(found, "{file} has no test {function}");
            named += 1;
        }
    }
    assert!(named > 30, "the table has been read");
}
