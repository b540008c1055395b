//! Manners: what a reader should never meet in this tree.

use crate::tree::{Source, metadata, packages, root, sources};

/// Longest source file, in lines; the aim is 500.
const FILE_LINES_MAX: usize = 650;
/// ARCHITECTURE.md stays readable in one sitting.
const ARCHITECTURE_LINES_MAX: usize = 300;

/// Files and folders that may hold unsafe code; the reasons are in docs/UNSAFE.md.
const UNSAFE_ALLOWED: &[&str] = &[
    "dataplane/tables/src/segment.rs",
    "dataplane/tables/src/quiescence.rs",
    "dataplane/tables/src/spsc.rs",
    "dataplane/tables/src/counters.rs",
    "dataplane/tables/src/fib/simd.rs",
    "dataplane/xsk/",
    "control/keeper/src/channel.rs",
    "control/keeper/src/door.rs",
    "benches/",
    "tests/",
];

fn is_code(source: &Source) -> bool {
    [".rs", ".c", ".h", ".sh"].iter().any(|end| source.path.ends_with(end)) || source.path == ".ci/run"
}

fn code_lines(source: &Source) -> impl Iterator<Item = (usize, &str)> {
    let lines = source.text.lines().enumerate();
    lines.filter(|(_, line)| !line.trim_start().starts_with("//")).map(|(index, line)| (index + 1, line))
}

/// FAIL-18: a wall clock that jumps by a day changes nothing, because nothing looks at it but `show status`, which
/// says when the configuration was loaded.
#[test]
fn the_wall_clock_decides_nothing() {
    const SHOWN: &str = "control/src/run/reload.rs";
    let clocks = ["SystemTime", "UNIX_EPOCH", "ClockId::Realtime", "CLOCK_REALTIME", "ClockId::Tai"];
    let product = |source: &&Source| {
        let path = &source.path;
        ["dataplane/", "control/", "bpf/"].iter().any(|part| path.starts_with(part))
            && !path.contains("tests")
    };
    let mut found = Vec::new();
    for source in sources().iter().filter(product).filter(|source| is_code(source)) {
        let looks = |(_, line): &(usize, &str)| clocks.iter().any(|clock| line.contains(clock));
        found.extend(code_lines(source).filter(looks).map(|(line, _)| format!("{}:{line}", source.path)));
    }
    assert!(found.iter().any(|place| place.starts_with(SHOWN)), "the list of clocks finds nothing");
    found.retain(|place| !place.starts_with(SHOWN));
    assert!(found.is_empty(), "the wall clock is read: {found:#?}");
}

#[test]
fn unsafe_lives_only_where_it_may() {
    let mut wrong = Vec::new();
    let mut undocumented = Vec::new();
    let proofs = std::fs::read_to_string(root().join("docs/UNSAFE.md")).expect("docs/UNSAFE.md");
    for source in sources().iter().filter(|source| source.path.ends_with(".rs")) {
        let keyword = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "allow(unsafe_code)"];
        let lines: Vec<usize> = code_lines(source)
            .filter(|(_, line)| keyword.iter().any(|keyword| line.contains(keyword)))
            .map(|(line, _)| line)
            .collect();
        if lines.is_empty() || source.path == "tests/tests/house/tidy.rs" {
            continue;
        }
        if !UNSAFE_ALLOWED.iter().any(|allowed| source.path.starts_with(allowed)) {
            wrong.push(format!("{}:{}", source.path, lines[0]));
        }
        let file = source.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
        let product = source.path.starts_with("dataplane/") || source.path.starts_with("control/");
        if product && !source.path.contains("test") && !proofs.contains(file) {
            undocumented.push(source.path.clone());
        }
    }
    assert!(wrong.is_empty(), "unsafe outside of its fence: {wrong:#?}");
    assert!(undocumented.is_empty(), "not in docs/UNSAFE.md: {undocumented:#?}");
}

#[test]
fn nothing_is_left_for_later() {
    // Written in two halves, so that this file does not find itself.
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:"), concat!("#[ig", "nore")];
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| is_code(source)) {
        for (index, line) in source.text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) {
                found.push(format!("{}:{}: {}", source.path, index + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn files_fit_into_the_head() {
    let mut long = Vec::new();
    for source in sources().iter().filter(|source| is_code(source)) {
        let lines = source.text.lines().count();
        if lines > FILE_LINES_MAX {
            long.push(format!("{}: {lines} lines", source.path));
        }
    }
    assert!(long.is_empty(), "longer than {FILE_LINES_MAX} lines: {long:#?}");
    let architecture = std::fs::read_to_string(root().join("docs/ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    assert!(architecture.lines().count() < ARCHITECTURE_LINES_MAX);
}

#[test]
fn the_tree_knows_no_machine() {
    let places =
        [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/tmp/tar", "get")];
    let mut found = Vec::new();
    for source in &sources() {
        for (index, line) in source.text.lines().enumerate() {
            if places.iter().any(|place| line.contains(place)) {
                found.push(format!("{}:{}: {}", source.path, index + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn text_is_clean() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| !source.path.ends_with(".json")) {
        let fixture = source.path.contains("/tests/") && source.path.ends_with(".txt");
        if fixture || source.path.starts_with("LICENSE") {
            continue;
        }
        for (index, line) in source.text.lines().enumerate() {
            let tabs = line.contains('\t')
                && !["Makefile", ".c", ".h", ".tsv", "allowed.txt"]
                    .iter()
                    .any(|end| source.path.ends_with(end));
            if line.ends_with([' ', '\t']) || line.contains('\r') || (tabs && source.path.ends_with(".rs")) {
                found.push(format!("{}:{}", source.path, index + 1));
            }
        }
        if !source.text.is_empty() && !source.text.ends_with('\n') {
            found.push(format!("{}: the last line does not end", source.path));
        }
    }
    assert!(found.is_empty(), "spaces at the end of lines, or tabs: {found:#?}");
}

/// Every crate takes the shared lints, version and licence.
#[test]
fn every_crate_follows_the_workspace() {
    let metadata = metadata(&["--no-deps"]);
    for package in packages(&metadata) {
        let manifest = package["manifest_path"].as_str().unwrap_or_default();
        let text = std::fs::read_to_string(manifest).expect("a manifest");
        for line in ["[lints]\nworkspace = true", "license.workspace = true", "version.workspace = true"] {
            assert!(text.contains(line), "{manifest} lacks {line:?}");
        }
        assert_eq!(package["license"], "Apache-2.0 OR MIT", "{manifest}");
    }
    for file in
        ["LICENSE-APACHE", "LICENSE-MIT", "Cargo.lock", "SECURITY.md", "CHANGELOG.md", "CONTRIBUTING.md"]
    {
        assert!(root().join(file).is_file(), "{file} is missing");
    }
}

/// A skip is a decision that is written down.
#[test]
fn skips_are_explained() {
    let text = std::fs::read_to_string(root().join("tests/skips-allowed.txt")).expect("the list of skips");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, reason) = line.split_once('\t').expect("name, tab, reason");
        assert!(!name.trim().is_empty() && reason.len() > 10, "{line:?}");
    }
}
