//! What a benchmark says: a table for people, one JSON object a case for everybody else.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::goals::{Better, Goal};

/// How a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The floor is held, with the whole interval on its good side.
    Pass,
    /// The floor is missed, with the whole interval on its bad side.
    Fail,
    /// The floor lies inside the interval, or the machine was too noisy.
    Undecided,
    /// Not measured; the note says why.
    Skip,
}

/// A measured figure with its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// The figure.
    pub ratio: f64,
    /// Lower end of its 95 % interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Figure {
    /// A figure without noise: instructions, bytes.
    #[must_use]
    pub fn exact(ratio: f64) -> Self {
        Self { ratio, low: ratio, high: ratio }
    }

    /// How the figure stands to a goal's floor; a case without a floor passes when it was measured.
    #[must_use]
    pub fn verdict(&self, goal: &Goal) -> Verdict {
        let Some(floor) = goal.floor else { return Verdict::Pass };
        let (good, bad) = match goal.better {
            Better::Higher => (self.low >= floor, self.high < floor),
            Better::Lower => (self.high <= floor, self.low > floor),
        };
        match (good, bad) {
            (true, _) => Verdict::Pass,
            (false, true) => Verdict::Fail,
            (false, false) => Verdict::Undecided,
        }
    }
}

/// One line of `results.jsonl`; the order of the fields is that of the line.
#[derive(Clone, Debug, Serialize)]
pub struct CaseResult {
    /// The goal's id.
    pub id: &'static str,
    /// The case.
    pub case: &'static str,
    /// `<time>-<pid>` of the run: UTC seconds as `20261124T150501Z`.
    pub run: String,
    /// The commit that was measured, with `+` when the tree had changes.
    pub commit: String,
    /// Which way is better.
    pub better: Better,
    /// The figure; `null` when skipped.
    pub ratio: Option<f64>,
    /// Lower end of its interval.
    pub low: Option<f64>,
    /// Upper end of its interval.
    pub high: Option<f64>,
    /// What binds.
    pub floor: Option<f64>,
    /// What is worked for.
    pub aim: Option<f64>,
    /// How it ended.
    pub verdict: Verdict,
    /// Samples that the figure is made of.
    pub samples: usize,
    /// Samples thrown away.
    pub rejected: usize,
    /// The command that measures it.
    pub command: &'static str,
    /// What else is to be known.
    pub note: String,
}

/// One run of a benchmark.
#[derive(Debug)]
pub struct Report {
    run: String,
    commit: String,
    path: PathBuf,
    results: Vec<CaseResult>,
}

impl Report {
    /// A run that writes to `target/bench/results.jsonl` under `root`, the repository.
    #[must_use]
    pub fn new(root: &Path, commit: String) -> Self {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let run = format!("{}-{}", utc(seconds), std::process::id());
        Self { run, commit, path: root.join("target/bench/results.jsonl"), results: Vec::new() }
    }

    /// Adds a case: its figure (`None` when it was skipped), the number of samples used and rejected.
    pub fn add(
        &mut self,
        goal: &Goal,
        figure: Option<Figure>,
        verdict: Verdict,
        samples: (usize, usize),
        note: String,
    ) {
        let round = |value: f64| (value * 10_000.0).round() / 10_000.0;
        self.results.push(CaseResult {
            id: goal.id,
            case: goal.case,
            run: self.run.clone(),
            commit: self.commit.clone(),
            better: goal.better,
            ratio: figure.map(|figure| round(figure.ratio)),
            low: figure.map(|figure| round(figure.low)),
            high: figure.map(|figure| round(figure.high)),
            floor: goal.floor,
            aim: goal.aim,
            verdict,
            samples: samples.0,
            rejected: samples.1,
            command: goal.command,
            note,
        });
    }

    /// Appends the lines to the file and prints the table.
    ///
    /// # Errors
    /// What the file system refuses.
    pub fn finish(&self) -> io::Result<()> {
        if let Some(parent) = self.path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        for result in &self.results {
            let line = serde_json::to_string(result)?;
            writeln!(file, "{line}")?;
        }
        println!("{}", self.table());
        Ok(())
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> String {
        let figure = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
        let mut text = format!(
            "{:<5}{:<18}{:>9}{:>9}{:>9}{:>9}{:>9}  {:<10}{:>8}{:>9}\n",
            "id", "case", "ratio", "low", "high", "floor", "aim", "verdict", "samples", "rejected"
        );
        for result in &self.results {
            text.push_str(&format!(
                "{:<5}{:<18}{:>9}{:>9}{:>9}{:>9}{:>9}  {:<10}{:>8}{:>9}\n",
                result.id,
                result.case,
                figure(result.ratio),
                figure(result.low),
                figure(result.high),
                figure(result.floor),
                figure(result.aim),
                format!("{:?}", result.verdict).to_lowercase(),
                result.samples,
                result.rejected
            ));
            if !result.note.is_empty() {
                text.push_str(&format!("     {}\n", result.note));
            }
        }
        text
    }

    /// The exit code of the run: 1 if a case failed, else 75 (neither pass nor fail) if one is undecided,
    /// else 0.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        let any = |verdict| self.results.iter().any(|result| result.verdict == verdict);
        match (any(Verdict::Fail), any(Verdict::Undecided)) {
            (true, _) => 1,
            (false, true) => 75,
            (false, false) => 0,
        }
    }
}

/// `20261124T150501Z` from seconds since 1970 (the civil calendar, counted in eras of 400 years).
fn utc(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::goals::goal;

    #[test]
    fn verdicts_follow_the_interval() {
        let lower = goal("G10", "native-84").unwrap();
        let higher = goal("G12", "encap-84").unwrap();
        let of = |low, high| Figure { ratio: (low + high) / 2.0, low, high };
        assert_eq!(of(2.0, 2.5).verdict(lower), Verdict::Pass);
        assert_eq!(of(2.4, 2.6).verdict(lower), Verdict::Undecided);
        assert_eq!(of(2.51, 2.6).verdict(lower), Verdict::Fail);
        assert_eq!(of(0.95, 0.99).verdict(higher), Verdict::Pass);
        assert_eq!(of(0.94, 0.96).verdict(higher), Verdict::Undecided);
        assert_eq!(of(0.90, 0.94).verdict(higher), Verdict::Fail);
        assert_eq!(of(0.1, 0.2).verdict(goal("R15", "encap").unwrap()), Verdict::Pass);
    }

    #[test]
    fn a_line_has_the_fields_of_the_design_in_their_order() {
        let root = tempfile::tempdir().unwrap();
        let mut report = Report::new(root.path(), "abc1234".to_owned());
        let goal = goal("G12", "encap-84").unwrap();
        report.add(
            goal,
            Some(Figure { ratio: 0.97, low: 0.96, high: 0.98 }),
            Verdict::Pass,
            (31, 4),
            "n".to_owned(),
        );
        report.add(goal, None, Verdict::Skip, (0, 0), String::new());
        report.finish().unwrap();
        report.finish().unwrap();
        let text = std::fs::read_to_string(root.path().join("target/bench/results.jsonl")).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 4, "a run is appended");
        let head = r#"{"id":"G12","case":"encap-84","run":""#;
        let tail = r#"","commit":"abc1234","better":"higher","ratio":0.97,"low":0.96,"high":0.98,"floor":0.95,"aim":0.95,"verdict":"pass","samples":31,"rejected":4,"command":"make bench-wire","note":"n"}"#;
        assert!(lines[0].starts_with(head) && lines[0].ends_with(tail), "{}", lines[0]);
        assert!(lines[1].contains(r#""ratio":null,"low":null,"high":null"#));
        assert_eq!(report.exit_code(), 0);
        report.add(goal, None, Verdict::Undecided, (0, 0), String::new());
        assert_eq!(report.exit_code(), 75);
        report.add(goal, None, Verdict::Fail, (0, 0), String::new());
        assert_eq!(report.exit_code(), 1);
    }

    #[test]
    fn time_is_written_in_utc() {
        assert_eq!(utc(0), "19700101T000000Z");
        assert_eq!(utc(951_782_400), "20000229T000000Z");
        assert_eq!(utc(1_795_532_701), "20261124T150501Z");
    }
}
