//! Values as indented lines that need no knowledge of Rust to be read.

use std::fmt::Debug;

use quorate::wire::Header;

/// The longest line; longer ones are cut.
const LINE_CHARS_MAX: usize = 96;
/// Types around a single number, and the option around a value, go without their names.
const UNNAMED: [&str; 11] = [
    "DirectoryId",
    "Digest",
    "GenesisId",
    "Incarnation",
    "LogIndex",
    "LogTime",
    "ReadRound",
    "Sequence",
    "ServerId",
    "Some",
    "Term",
];

/// The header in two lines.
pub fn header(header: &Header) -> Vec<String> {
    let echo =
        header.echo.map_or("none".into(), |echo| format!("{} age {}", echo.packet, echo.age));
    vec![
        format!(
            "cluster {:08x} genesis {:08x} sender {} destination {}",
            header.cluster.0, header.genesis.0, header.sender, header.destination
        ),
        format!(
            "directory {} incarnation {} life {} packet {} echo {echo}",
            header.directory, header.incarnation, header.life, header.packet
        ),
    ]
}

/// The value, one field in each line.
pub fn value(value: &impl Debug) -> Vec<String> {
    let pretty = format!("{value:#?}");
    let mut lines: Vec<String> = pretty.lines().map(String::from).collect();
    while let Some((at, length)) = lines.iter().enumerate().find_map(|(at, _)| tuple_at(&lines, at))
    {
        let joined = join_tuple(&lines[at..at + length]);
        lines.splice(at..at + length, [joined]);
    }
    let mut lines: Vec<String> = lines.iter().filter_map(|line| unbracketed(line)).collect();
    if lines.len() > 1 && !lines[0].contains(':') && !lines[1].contains(':') {
        // The kind's name says enough; that of its struct is left out.
        lines.remove(1);
        lines[1..].iter_mut().for_each(|line| *line = line.replacen("  ", "", 1));
    }
    lines
}

/// Whether a tuple of plain values begins in this line, and how many lines it takes.
fn tuple_at(lines: &[String], at: usize) -> Option<(usize, usize)> {
    let opens = |line: &String| line.ends_with(['(', '{', '[']);
    let closes = |line: &String| line.trim_start().starts_with([')', '}', ']']);
    if !lines[at].ends_with('(') {
        return None;
    }
    let values = lines[at + 1..].iter().take_while(|line| !opens(line) && !closes(line)).count();
    let end = lines.get(at + 1 + values)?;
    end.trim_start().starts_with(')').then_some((at, values + 2))
}

/// `term: Term(`, `3,`, `),` become `term: 3,`.
fn join_tuple(lines: &[String]) -> String {
    let (first, last) = (&lines[0], lines.last().expect("a tuple ends"));
    let name = first.trim_end_matches('(');
    let label = name.trim_end_matches(|c: char| c.is_alphanumeric());
    let name = &name[label.len()..];
    let name =
        if name.is_empty() || UNNAMED.contains(&name) { String::new() } else { format!("{name} ") };
    let values: Vec<&str> =
        lines[1..lines.len() - 1].iter().map(|line| line.trim().trim_end_matches(',')).collect();
    let rest = last.trim_start().trim_start_matches(')');
    format!("{label}{name}{}{rest}", values.join(" "))
}

/// The line without brackets and commas, indented by two; none if nothing is left.
fn unbracketed(line: &str) -> Option<String> {
    let indent = (line.len() - line.trim_start().len()) / 2;
    let text = line.trim().trim_end_matches(',');
    let text = text.strip_suffix(['(', '{', '[']).unwrap_or(text).trim_end();
    if text.is_empty() || text.chars().all(|c| ")}]".contains(c)) {
        return None;
    }
    let line = format!("{:indent$}{text}", "");
    let cut = line.char_indices().nth(LINE_CHARS_MAX).map(|(at, _)| at);
    Some(cut.map_or(line.clone(), |at| format!("{}…", &line[..at])))
}
