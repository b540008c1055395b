//! `sixlane show`: what the running relay knows. With `--json` it is the admin socket's own object.

use std::path::PathBuf;

use clap::ValueEnum;
use serde_json::{Map, Value};

use crate::admin;
use crate::failure::Failure;
use crate::output::{Align, Table, print, print_json};
use crate::run::DEFAULT_RUNTIME;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What to show
    what: What,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// Directory of the relay
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUNTIME)]
    runtime: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Processes, ports and alarms
    Status,
    /// What happened to packets, and whether the sums agree
    Counters,
    /// Why packets were dropped, with the clause of the RFC
    Drops,
    /// The routes in use
    Routes,
    /// The neighbours in use
    Neighbours,
}

impl What {
    fn word(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Counters => "counters",
            Self::Drops => "drops",
            Self::Routes => "routes",
            Self::Neighbours => "neighbours",
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let answer = admin::ask(&arguments.runtime, arguments.what.word())?;
    if arguments.json {
        return print_json(&answer.value);
    }
    print(&for_people(&answer.value))
}

/// Any answer as text: plain values first, then a table for each list.
fn for_people(value: &Value) -> String {
    let empty = Map::new();
    let object = value.as_object().unwrap_or(&empty);
    let mut plain = Table::new(&[("", Align::Left), ("", Align::Left)]);
    let mut lists = String::new();
    for (key, value) in object.iter().filter(|(key, _)| *key != "v" && *key != "get") {
        match value {
            Value::Object(inside) => {
                for (name, value) in inside {
                    plain.row(vec![format!("{} {}", words(key), words(name)), cell(value)]);
                }
            }
            Value::Array(rows) if rows.iter().all(Value::is_object) => {
                lists.push_str(&list(key, rows));
            }
            other => plain.row(vec![words(key), cell(other)]),
        }
    }
    let plain = if plain.is_empty() { String::new() } else { plain.render().trim_start().to_owned() };
    match (plain.is_empty(), lists.is_empty()) {
        (false, false) => format!("{plain}{lists}"),
        _ => plain + lists.trim_start(),
    }
}

/// A list of objects as a table; its columns are the keys of the first.
fn list(key: &str, rows: &[Value]) -> String {
    let Some(Value::Object(first)) = rows.first() else {
        return format!("\nno {}\n", words(key));
    };
    let names: Vec<&String> = first.keys().collect();
    let numbers = |name: &str| rows.iter().all(|row| row.get(name).is_none_or(Value::is_number));
    let headings: Vec<(String, Align)> = names
        .iter()
        .map(|name| (words(name), if numbers(name) { Align::Right } else { Align::Left }))
        .collect();
    let headings: Vec<(&str, Align)> = headings.iter().map(|(name, align)| (name.as_str(), *align)).collect();
    let mut table = Table::new(&headings);
    for row in rows {
        table.row(names.iter().map(|name| row.get(*name).map_or_else(String::new, cell)).collect());
    }
    format!("\n{}", table.render())
}

/// `hop_limit` is `hop limit` to people.
fn words(key: &str) -> String {
    key.replace('_', " ")
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.into(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        Value::Object(inside) => {
            let pairs = inside.iter().map(|(name, value)| format!("{} {}", words(name), cell(value)));
            pairs.collect::<Vec<_>>().join(", ")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn plain_values_come_first_and_lists_are_tables() {
        let answer = json!({"v": 1, "get": "drops", "total": 3, "drops": [
            {"reason": "no_route", "packets": 3, "clause": "RFC 4443 §3.1"},
            {"reason": "x", "packets": 12, "clause": "y"},
        ]});
        let text = for_people(&answer);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "total  3");
        assert!(
            lines.iter().any(|line| line.contains("no_route") && line.contains("RFC 4443 §3.1")),
            "{text}"
        );
        assert!(!text.contains("get"));
    }

    #[test]
    fn an_empty_list_says_so() {
        assert_eq!(for_people(&json!({"v": 1, "routes": []})), "no routes\n");
    }
}
