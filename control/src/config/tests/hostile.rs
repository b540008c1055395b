//! ATK-58: nothing that a file says can bring the reader down.

use proptest::prelude::*;

use super::super::parse;
use super::RELAY;

fn survives(text: &str) {
    if let Err(report) = parse("noise.toml", text) {
        assert!(!report.sentences().is_empty());
        let _ = report.to_string();
    }
}

#[test]
fn deep_nesting_is_refused_and_does_not_overflow_the_stack() {
    let depth = 100_000;
    for text in [
        format!("a = {}", "[".repeat(depth)),
        format!("a = {}", "{a=".repeat(depth)),
        format!("[{}a]\n", "a.".repeat(depth)),
        format!("{}a = 1\n", "a.".repeat(depth)),
        "[a]\n".repeat(depth),
    ] {
        assert!(parse("deep.toml", &text).is_err());
    }
}

/// Sections of every kind, as many as a file of some megabytes holds.
#[test]
fn a_long_file_takes_no_quadratic_time() {
    let mut text = RELAY.to_owned();
    for n in 0..30_000 {
        let (a, b, c) = (n >> 16 & 255, n >> 8 & 255, n & 255);
        text += &format!("[[sixinfour]]\nname = \"t{n}\"\nlocal = \"8.0.0.1\"\nremote = \"9.{a}.{b}.{c}\"\n");
        text += &format!("[[sixrd]]\nname = \"r{n}\"\nprefix = \"2001:{n:x}::/32\"\n");
        text += "ipv4_prefix = \"10.0.0.0/8\"\nbr_address = \"10.0.0.1\"\nmtu = 1500\n";
    }
    let checked = parse("long.toml", &text).expect("valid");
    assert_eq!((checked.sixinfour.len(), checked.warnings.len()), (30_000, 30_000));
}

#[test]
fn a_long_list_of_clashes_takes_no_quadratic_time() {
    let tunnel = "[[sixinfour]]\nname = \"a\"\nlocal = \"8.0.0.1\"\nremote = \"8.0.0.2\"\n";
    let report = parse("many.toml", &format!("{RELAY}{}", tunnel.repeat(5_000))).expect_err("clashes");
    assert_eq!(report.sentences().len(), 2 * 4_999);
    assert!(report.to_string().contains("the first 20 shown"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_text_gets_an_answer(text in "\\PC{0,200}") {
        survives(&text);
    }

    #[test]
    fn any_damage_to_a_good_file_gets_an_answer(
        at in 0..RELAY.len(), cut in 0usize..12, insert in "[\\[\\]{}=\"'.#a-z0-9\n-]{0,12}"
    ) {
        let mut bytes = RELAY.as_bytes().to_vec();
        let end = (at + cut).min(bytes.len());
        bytes.splice(at..end, insert.bytes());
        survives(&String::from_utf8(bytes).expect("ASCII"));
    }

    #[test]
    fn any_number_and_word_gets_an_answer(number in any::<i64>(), word in "\\PC{0,40}") {
        for key in ["ttl", "mtu", "dscp", "df", "ecn", "allow", "oversize", "source", "relay"] {
            survives(&format!("{RELAY}{key} = {number}\n"));
            survives(&format!("{RELAY}{key} = {word:?}\n"));
            survives(&format!("{RELAY}{key} = [{word:?}]\n"));
        }
    }
}
