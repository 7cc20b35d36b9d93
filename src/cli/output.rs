//! What commands print: bytes and lines for people, objects for machines.

use std::io::{self, IsTerminal, Read, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value};

use super::exit::Failure;

/// Writes to standard output. A reader that has seen enough is no failure.
pub fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let written = io::stdout().write_all(bytes).and_then(|()| io::stdout().flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::file("write to", "standard output", &error))
        }
        _ => Ok(()),
    }
}

/// Writes a line to standard output.
pub fn print_line(line: &str) -> Result<(), Failure> {
    print_bytes(format!("{line}\n").as_bytes())
}

/// Writes rows as columns: those of words begin below each other, and those of numbers end so.
pub fn print_table(rows: &[Vec<String>], words: &[usize]) -> Result<(), Failure> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column| rows.iter().filter_map(|row| row.get(column)).map(String::len).max();
    let widths: Vec<usize> = (0..columns).filter_map(width).collect();
    rows.iter().try_for_each(|row| print_line(&aligned(row, &widths, words)))
}

fn aligned(row: &[String], widths: &[usize], words: &[usize]) -> String {
    let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
        if words.contains(&column) { format!("{cell:width$}") } else { format!("{cell:>width$}") }
    });
    cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

/// Writes a line to standard error.
pub fn note(line: &str) {
    // Whoever does not read it does not miss it.
    writeln!(io::stderr(), "{line}").ok();
}

/// Whether a person looks at standard output.
pub fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// A bar of bytes with their rate, on a terminal only. Without a size, nobody knows how many
/// there will be.
pub fn progress_bar(size: Option<u64>) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match size {
        Some(size) => (
            ProgressBar::new(size),
            "{bar:30} {percent:>3} %  {bytes}/{total_bytes}  {bytes_per_sec}  {msg}  {eta} left",
        ),
        None => (ProgressBar::new_spinner(), "{spinner} {bytes}  {bytes_per_sec}  {msg}"),
    };
    let style = ProgressStyle::with_template(template).expect("the template is well formed");
    bar.with_style(style)
}

/// Puts bytes under `name`, or under `name_base64` when they are not UTF-8.
pub fn put_bytes(object: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(name.to_owned(), text.into()),
        Err(_) => object.insert(format!("{name}_base64"), STANDARD.encode(bytes).into()),
    };
}

/// An operand that is a value: itself, or with `-` what standard input holds, byte for byte.
pub fn value_operand(operand: &str) -> Result<Vec<u8>, Failure> {
    if operand != "-" {
        return Ok(operand.as_bytes().to_vec());
    }
    let mut bytes = Vec::new();
    io::stdin()
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::file("read", "standard input", &error))?;
    Ok(bytes)
}
