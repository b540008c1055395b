//! Mistakes of spelling: what the parser refused, with the nearest thing that it would accept.

use super::report::Finding;

/// Turns an error of the TOML stage into a finding; an unknown key gets its nearest neighbour.
pub(super) fn explain(error: &toml::de::Error) -> Finding {
    let place = error.span().unwrap_or(0..0);
    let message = error.message();
    // serde's sentence names the key first and then all keys that the section has.
    if let Some(rest) = message.strip_prefix("unknown field ") {
        let mut words = rest.split('`').skip(1).step_by(2);
        let key = words.next().unwrap_or_default().to_owned();
        let known: Vec<&str> = words.collect();
        return unknown_key(&key, &known, place);
    }
    // What serde refuses is a value; the rest is no TOML at all.
    let value = ["invalid type", "invalid value", "invalid length", "missing field", "data did not match"];
    let remedy = if value.iter().any(|begin| message.starts_with(begin)) {
        "see docs/configuration.md for what this key takes".to_owned()
    } else {
        "the file is TOML: [section], [[list]], key = \"text\" or number".to_owned()
    };
    Finding { cause: message.to_owned(), remedy, place }
}

fn unknown_key(key: &str, known: &[&str], place: std::ops::Range<usize>) -> Finding {
    let remedy = match nearest(key, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the keys known here are {}", known.join(", ")),
    };
    Finding { cause: format!("unknown key `{key}`"), remedy, place }
}

/// The candidate with the smallest edit distance, if it is near enough to be meant: at most a
/// third of the longer word's letters differ.
pub(super) fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let lower = word.to_ascii_lowercase();
    candidates
        .iter()
        .filter_map(|&candidate| Some((distance(&lower, candidate)?, candidate)))
        .filter(|&(distance, candidate)| distance * 3 <= candidate.len().max(lower.len()) + 1)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// The edit distance of two words, where swapping two neighbours counts as one step (optimal
/// string alignment). Words beyond 64 bytes are like nothing.
fn distance(left: &str, right: &str) -> Option<usize> {
    const LENGTH_MAX: usize = 64;
    if left.len() > LENGTH_MAX || right.len() > LENGTH_MAX {
        return None;
    }
    let (left, right) = (left.as_bytes(), right.as_bytes());
    let mut before = vec![0; right.len() + 1];
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (i, &a) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &b) in right.iter().enumerate() {
            let replaced = above[j] + usize::from(a != b);
            let mut best = replaced.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a == right[j - 1] && left[i - 1] == b {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    Some(above[right.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edit_distances() {
        for (left, right, expected) in
            [("", "", 0), ("", "abc", 3), ("mode", "mode", 0), ("moed", "mode", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(left, right), Some(expected), "{left} {right}");
            assert_eq!(distance(right, left), Some(expected), "{right} {left}");
        }
    }

    #[test]
    fn only_near_words_are_offered() {
        let keys = ["workers", "mode", "idle", "rx_ring", "tx_ring"];
        assert_eq!(nearest("wrokers", &keys), Some("workers"));
        assert_eq!(nearest("Workers", &keys), Some("workers"));
        assert_eq!(nearest("worker", &keys), Some("workers"));
        assert_eq!(nearest("rxring", &keys), Some("rx_ring"));
        assert_eq!(nearest("colour", &keys), None);
        assert_eq!(nearest(&"w".repeat(1 << 16), &keys), None);
    }
}
