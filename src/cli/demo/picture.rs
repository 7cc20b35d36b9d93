//! What is drawn: the nodes in a row, and the acknowledged writes over time.

use crate::types::ServerId;

/// A text's colour, on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// Good: it works, it leads.
    Green = 32,
    /// Bad: it is dead, it is missing.
    Red = 31,
    /// Under way.
    Yellow = 33,
    /// Of a heading.
    Bold = 1,
    /// By the way.
    Dim = 2,
}

/// Whether colours are used.
#[derive(Clone, Copy, Debug)]
pub struct Palette {
    /// Else every text stays as it is.
    pub coloured: bool,
}

impl Palette {
    /// The text in this colour.
    pub fn paint(self, colour: Colour, text: &str) -> String {
        if self.coloured { format!("\x1b[{}m{text}\x1b[0m", colour as u8) } else { text.to_owned() }
    }
}

/// How a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its process does not answer.
    Silent,
    /// It knows of no leader.
    Electing,
    /// It follows a leader.
    Follower,
    /// It leads.
    Leader,
    /// Its process was killed.
    Dead,
}

/// All nodes in one line.
pub fn nodes(standings: &[(ServerId, Standing)], palette: Palette) -> String {
    let node = |(id, standing): &(ServerId, Standing)| {
        let (colour, sign, verb) = match standing {
            Standing::Silent => (Colour::Yellow, '○', "starts"),
            Standing::Electing => (Colour::Yellow, '◌', "elects"),
            Standing::Follower => (Colour::Green, '●', "follows"),
            Standing::Leader => (Colour::Green, '★', "leads"),
            Standing::Dead => (Colour::Red, '✗', "is dead"),
        };
        palette.paint(colour, &format!("{:18}", format!("{sign} node {id} {verb}")))
    };
    standings.iter().map(node).collect::<String>()
}

const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const EIGHTHS: usize = 8;
/// How high the chart is.
const ROWS: usize = 3;

/// A chart of the counts: a column for each, scaled to the highest, and an axis below with
/// words at some columns, which are given in order.
pub fn chart(counts: &[usize], words: &[(usize, &str)], palette: Palette) -> Vec<String> {
    let most = counts.iter().copied().max().unwrap_or(0);
    let label = most.to_string();
    let width = label.len();
    let mut lines: Vec<String> = (0..ROWS)
        .map(|row| {
            let label = if row == 0 { label.as_str() } else { "" };
            let bars = palette.paint(Colour::Green, &bars(counts, most, ROWS - 1 - row));
            format!("{label:>width$} │{bars}")
        })
        .collect();
    let is_named = |column: usize| words.iter().any(|(named, _)| *named == column);
    let tick = |column: usize| if is_named(column) { '┴' } else { '─' };
    let axis: String = (0..counts.len()).map(tick).collect();
    let below = words.iter().fold(String::new(), |line, (column, word)| {
        let gap = column.saturating_sub(line.chars().count());
        format!("{line}{:gap$}{word}", "")
    });
    lines.push(format!("{:width$} └{axis}", ""));
    lines.push(format!("{:width$}  {below}", ""));
    lines
}

/// What the row shows that has so many rows below it.
fn bars(counts: &[usize], most: usize, rows_below: usize) -> String {
    let eighths = |count: usize| height(count, most, ROWS * EIGHTHS);
    let block =
        |count: &usize| BLOCKS[eighths(*count).saturating_sub(rows_below * EIGHTHS).min(EIGHTHS)];
    counts.iter().map(block).collect::<String>().trim_end().to_owned()
}

/// The counts in one line, scaled to the highest.
pub fn sparkline(counts: &[usize], palette: Palette) -> String {
    let most = counts.iter().copied().max().unwrap_or(0);
    let bars: String = counts.iter().map(|count| BLOCKS[height(*count, most, EIGHTHS)]).collect();
    palette.paint(Colour::Green, &bars)
}

/// A count's height: all of `full` for the most, and something for everything but zero.
fn height(count: usize, most: usize, full: usize) -> usize {
    (count * full).div_ceil(most.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Palette = Palette { coloured: false };

    #[test]
    fn nodes_stand_in_columns_whatever_they_do() {
        let standings = [Standing::Dead, Standing::Leader, Standing::Follower];
        let standings: Vec<_> = (1..).map(ServerId).zip(standings).collect();
        let expected = "✗ node 1 is dead  ★ node 2 leads    ● node 3 follows  ";
        assert_eq!(nodes(&standings, PLAIN), expected);
        let coloured = nodes(&standings, Palette { coloured: true });
        assert!(coloured.starts_with("\x1b[31m✗ node 1 is dead"));
        assert_eq!(coloured.matches("\x1b[0m").count(), 3);
    }

    #[test]
    fn a_pause_is_a_hole_in_the_chart_and_the_least_write_is_seen() {
        let lines = chart(&[24, 12, 0, 0, 1, 16], &[(0, "a"), (2, "kill")], PLAIN);
        let expected = ["24 │█", "   │█▄   █", "   │██  ▁█", "   └┴─┴───", "    a kill"];
        assert_eq!(lines, expected);
        assert_eq!(sparkline(&[80, 40, 0, 1], PLAIN), "█▄ ▁");
    }

    #[test]
    fn nothing_at_all_is_drawn_as_nothing() {
        assert_eq!(chart(&[0, 0], &[], PLAIN), ["0 │", "  │", "  │", "  └──", "   "]);
        assert_eq!(sparkline(&[], PLAIN), "");
    }
}
