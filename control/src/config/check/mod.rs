//! From what the file says to what it means.
//!
//! One [`Judge`] walks the sections and writes down every mistake; only a file without mistakes
//! becomes a [`Checked`]. A value that is wrong is replaced by its default while the walk goes on,
//! so that one mistake is reported once.

mod address;
mod base;
mod mechanism;
mod relations;
mod values;

use std::ops::Range;

use super::checked::{Bogons, Checked, Profile};
use super::report::{Finding, Lines, Report};
use super::{Unbuilt, raw};

/// The only version of the grammar.
const VERSION: i64 = 1;

/// What has been found so far, and what is needed to judge more.
struct Judge<'a> {
    name: &'a str,
    lines: Lines,
    bogons: Bogons,
    findings: Vec<Finding>,
    warnings: Vec<String>,
    unbuilt: Vec<Unbuilt>,
}

impl Judge<'_> {
    /// Writes down a mistake.
    fn reject(&mut self, place: Range<usize>, cause: impl Into<String>, remedy: impl Into<String>) {
        self.findings.push(Finding { cause: cause.into(), remedy: remedy.into(), place });
    }

    /// Writes down something valid that deserves a second look.
    fn warn(&mut self, place: &Range<usize>, sentence: &str) {
        let line = self.lines.at(place.start);
        self.warnings.push(format!("{}:{line}: {sentence}", self.name));
    }

    /// Writes down something valid that this version cannot do; once, where it first appears.
    fn not_built(&mut self, place: &Range<usize>, what: &str) {
        if self.unbuilt.iter().any(|known| known.what == what) {
            return;
        }
        let line = self.lines.at(place.start);
        self.unbuilt.push(Unbuilt { what: what.to_owned(), line, file: self.name.to_owned() });
    }
}

/// Judges a whole file.
pub(super) fn check(name: &str, text: &str, file: &raw::File) -> Result<Checked, Report> {
    let mut judge = Judge {
        name,
        lines: Lines::of(text),
        bogons: Bogons::Internet,
        findings: Vec::new(),
        warnings: Vec::new(),
        unbuilt: Vec::new(),
    };
    let checked = judge.file(file);
    match checked {
        Some(mut checked) if judge.findings.is_empty() => {
            judge.unbuilt.sort_by_key(|unbuilt| unbuilt.line);
            checked.warnings = judge.warnings;
            checked.unbuilt = judge.unbuilt;
            Ok(checked)
        }
        _ => {
            judge.findings.sort_by_key(|finding| finding.place.start);
            Err(Report::new(name, text, judge.findings))
        }
    }
}

impl Judge<'_> {
    fn file(&mut self, file: &raw::File) -> Option<Checked> {
        self.version(file);
        let bogons = [("internet", Bogons::Internet), ("lab", Bogons::Lab)];
        self.bogons = self.choice("profile.bogons", &file.profile.bogons, &bogons);
        let ports = self.ports(&file.port);
        let sixtofour = file.sixtofour.as_ref().map(|section| self.sixtofour(section));
        let sixrd: Vec<_> = file.sixrd.iter().map(|section| self.sixrd(section)).collect();
        let teredo_relay = file.teredo.relay.as_ref().map(|section| self.teredo_relay(section));
        let teredo_server = file.teredo.server.as_ref().map(|section| self.teredo_server(section));
        let isatap = file.isatap.as_ref().map(|section| self.isatap(section));
        let sixinfour: Vec<_> = file.sixinfour.iter().map(|section| self.sixinfour(section)).collect();
        let checked = Checked {
            dataplane: self.dataplane(&file.dataplane),
            router: self.router(&file.router),
            profile: Profile { bogons: self.bogons },
            icmp: self.icmp(&file.icmp),
            limits: self.limits(&file.limits),
            process: self.process(&file.process),
            admin: self.admin(&file.admin),
            advertise: self.advertise(&file.advertise, &ports, file.sixtofour.as_ref()),
            known_relays: self.networks4("known_relays", &file.known_relays),
            aliases: self.aliases(&file.aliases),
            fpm: file.fpm.as_ref().and_then(|section| self.fpm(section, &file.limits)),
            status: file.status.as_ref().and_then(|section| self.status(section)),
            metrics: file.metrics.as_ref().and_then(|section| self.metrics(section)),
            ports,
            sixtofour: optional(sixtofour)?,
            sixrd: every(sixrd)?,
            teredo_relay: optional(teredo_relay)?,
            teredo_server: optional(teredo_server)?,
            isatap: optional(isatap)?,
            sixinfour: every(sixinfour)?,
            warnings: Vec::new(),
            unbuilt: Vec::new(),
        };
        // What ties sections together is judged only when each of them stands.
        if self.findings.is_empty() {
            self.relations(file, &checked);
        }
        Some(checked)
    }

    fn version(&mut self, file: &raw::File) {
        match &file.version {
            Some(version) if *version.get_ref() == VERSION => {}
            Some(version) => self.reject(
                version.span(),
                format!("version {} of the grammar is not known", version.get_ref()),
                "this sixlane reads version = 1",
            ),
            None => self.reject(0..0, "the file does not say its version", "begin it with version = 1"),
        }
    }
}

/// A section that is absent is fine; one that is there must have been understood.
#[allow(clippy::option_option)]
fn optional<T>(section: Option<Option<T>>) -> Option<Option<T>> {
    match section {
        None => Some(None),
        Some(None) => None,
        Some(understood) => Some(understood),
    }
}

/// All of them, or none.
fn every<T>(sections: Vec<Option<T>>) -> Option<Vec<T>> {
    sections.into_iter().collect()
}
