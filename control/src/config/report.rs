//! Mistakes, shown the way a compiler shows them: the sentence, the line, the place, the remedy.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// Mistakes beyond this many are only counted.
const SHOWN_MAX: usize = 20;

/// Where the lines of a text begin.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    pub(super) fn of(text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n');
        Self { starts: ends.map(|(index, _)| index + 1).collect() }
    }

    /// The line, counted from 1, that a byte position lies in.
    pub(super) fn at(&self, position: usize) -> usize {
        self.starts.partition_point(|&start| start <= position) + 1
    }
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// What is wrong and why.
    pub(super) cause: String,
    /// What to do about it.
    pub(super) remedy: String,
    /// Where, in bytes of the text.
    pub(super) place: Range<usize>,
}

/// Everything that is wrong with a file. Its `Display` form is for people; it has no colours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    name: String,
    text: String,
    findings: Vec<Finding>,
}

impl Report {
    pub(super) fn new(name: &str, text: &str, findings: Vec<Finding>) -> Self {
        Self { name: name.to_owned(), text: text.to_owned(), findings }
    }

    pub(super) fn one(name: &str, text: &str, finding: Finding) -> Self {
        Self::new(name, text, vec![finding])
    }

    /// The mistakes as plain sentences, `file:line: cause: remedy`, one each.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        let lines = Lines::of(&self.text);
        self.findings
            .iter()
            .map(|finding| {
                let line = lines.at(finding.place.start);
                format!("{}:{line}: {}: {}", self.name, finding.cause, finding.remedy)
            })
            .collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let renderer = Renderer::plain();
        let lines = Lines::of(&self.text);
        for finding in self.findings.iter().take(SHOWN_MAX) {
            let (excerpt, place) = excerpt(&self.text, &finding.place);
            let group = Level::ERROR.primary_title(finding.cause.as_str()).element(
                Snippet::source(excerpt)
                    .line_start(lines.at(finding.place.start))
                    .path(self.name.as_str())
                    .annotation(AnnotationKind::Primary.span(place)),
            );
            let help = Level::HELP.message(finding.remedy.as_str());
            writeln!(f, "{}\n", renderer.render(&[group.element(help)]))?;
        }
        match self.findings.len() {
            1 => write!(f, "1 mistake in {}", self.name),
            count if count > SHOWN_MAX => {
                write!(f, "{count} mistakes in {}, the first {SHOWN_MAX} shown", self.name)
            }
            count => write!(f, "{count} mistakes in {}", self.name),
        }
    }
}

impl std::error::Error for Report {}

/// The line that a place begins in, and the place within it: the renderer would look through the
/// whole text otherwise. A line that is too long to read is cut around the place.
fn excerpt<'t>(text: &'t str, place: &Range<usize>) -> (&'t str, Range<usize>) {
    const BESIDE_MAX: usize = 200;
    let at = text.floor_char_boundary(place.start);
    let begin = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[at..].find('\n').map_or(text.len(), |length| at + length);
    let first = text.ceil_char_boundary(begin.max(at.saturating_sub(BESIDE_MAX)));
    let last = text.floor_char_boundary(end.min(at + BESIDE_MAX)).max(first);
    let place = at - first..place.end.clamp(at, last) - first;
    (&text[first..last], place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_from_one() {
        let lines = Lines::of("a\nbc\n\nd");
        for (position, line) in [(0, 1), (1, 1), (2, 2), (4, 2), (5, 3), (6, 4), (99, 4)] {
            assert_eq!(lines.at(position), line, "{position}");
        }
    }

    #[test]
    fn an_excerpt_is_one_line_and_never_long() {
        assert_eq!(excerpt("a\nbcd\ne", &(3..4)), ("bcd", 1..2));
        assert_eq!(excerpt("a\nbcd\ne", &(3..7)), ("bcd", 1..3), "the rest of the line");
        assert_eq!(excerpt("", &(0..0)), ("", 0..0));
        assert_eq!(excerpt("ab", &(2..2)), ("ab", 2..2));
        let long = "ä".repeat(100_000);
        let (text, place) = excerpt(&long, &(100_000..100_002));
        assert!(text.len() <= 402 && text.is_char_boundary(place.start), "{place:?}");
    }
}
