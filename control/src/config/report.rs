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
        for finding in self.findings.iter().take(SHOWN_MAX) {
            let group = Level::ERROR.primary_title(finding.cause.as_str()).element(
                Snippet::source(self.text.as_str())
                    .path(self.name.as_str())
                    .annotation(AnnotationKind::Primary.span(finding.place.clone()))
                    .fold(true),
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
