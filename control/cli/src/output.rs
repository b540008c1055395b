//! What goes to stdout: aligned tables for people, one JSON object for programs. There is no colour,
//! so nothing has to be taken out for pipes, files or NO_COLOR.

use std::io::{ErrorKind, Write};

use crate::failure::Failure;

/// Where a column's text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A table with a heading and columns as wide as their widest cell.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub(crate) fn new(columns: &[(&str, Align)]) -> Self {
        let columns = columns.iter().map(|(name, align)| ((*name).to_owned(), *align)).collect();
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row; missing cells are empty.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The table as text, a line each, without blanks at the ends.
    pub(crate) fn render(&self) -> String {
        let heading: Vec<String> = self.columns.iter().map(|(name, _)| name.clone()).collect();
        let lines: Vec<&Vec<String>> = std::iter::once(&heading).chain(&self.rows).collect();
        let width = |index: usize| {
            lines.iter().filter_map(|cells| cells.get(index)).map(|cell| cell.chars().count()).max()
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(|index| width(index).unwrap_or(0)).collect();
        let mut text = String::new();
        for cells in lines {
            let mut line = String::new();
            for ((index, width), (_, align)) in widths.iter().enumerate().zip(&self.columns) {
                let cell = cells.get(index).map_or("", String::as_str);
                match align {
                    Align::Left => line.push_str(&format!("{cell:<width$}  ")),
                    Align::Right => line.push_str(&format!("{cell:>width$}  ")),
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Writes to stdout. A reader that has gone (`| head`) is no failure.
///
/// # Errors
/// Anything else, such as a full disk.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::failed(format!(
            "cannot write the output ({error}): free space or choose another file"
        ))),
        _ => Ok(()),
    }
}

/// Writes one JSON object and a line end.
///
/// # Errors
/// As [`print`].
pub(crate) fn print_json(value: &serde_json::Value) -> Result<(), Failure> {
    print(&format!("{value}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&[("name", Align::Left), ("packets", Align::Right), ("why", Align::Left)]);
        table.row(vec!["no_route".into(), "7".into(), "é".into()]);
        table.row(vec!["x".into(), "12345678".into()]);
        assert_eq!(table.render(), "name       packets  why\nno_route         7  é\nx         12345678\n");
    }
}
