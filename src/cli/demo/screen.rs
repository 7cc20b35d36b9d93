//! Where the demo tells its story: a terminal, or lines in a file.

use std::env;
use std::io::{self, IsTerminal, Write};

use super::picture::{Colour, Palette};
use crate::cli::exit::Failure;
use crate::cli::output::{note, print_line};

/// Takes away the line that the cursor is in.
const CLEAR_LINE: &str = "\r\x1b[2K";

/// What people see. Standard output, unless that is for machines: then standard error.
#[derive(Debug)]
pub struct Screen {
    for_machines: bool,
    /// Whether lines can be changed.
    is_terminal: bool,
    /// The last line on the screen is one that changes.
    is_live: bool,
    /// The colours, if there are any.
    pub palette: Palette,
}

impl Screen {
    /// An empty screen.
    pub fn new(for_machines: bool) -> Self {
        let looked_at =
            if for_machines { io::stderr().is_terminal() } else { io::stdout().is_terminal() };
        let is_dumb = env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
        let is_terminal = looked_at && !is_dumb;
        let no_colour = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let palette = Palette { coloured: is_terminal && !no_colour };
        Self { for_machines, is_terminal, is_live: false, palette }
    }

    /// Begins a step of the story: its number, its name, and what happens in it.
    pub fn step(&mut self, number: usize, name: &str, lines: &[&str]) -> Result<(), Failure> {
        self.say("")?;
        let heading = self.palette.paint(Colour::Bold, &format!("{number}. {name}"));
        self.say(&heading)?;
        lines.iter().try_for_each(|line| self.tell(line))
    }

    /// A line of a step.
    pub fn tell(&mut self, line: &str) -> Result<(), Failure> {
        self.say(&format!("   {line}"))
    }

    /// A line from the margin.
    pub fn say(&mut self, line: &str) -> Result<(), Failure> {
        self.rest();
        if self.for_machines {
            note(line);
            return Ok(());
        }
        print_line(line)
    }

    /// Shows a line until the next one, on a terminal only. Up to 76 characters fit.
    pub fn live(&mut self, line: &str) {
        if self.is_terminal {
            self.is_live = true;
            self.write_raw(&format!("{CLEAR_LINE}   {line}"));
        }
    }

    /// Takes away the line that changes.
    pub fn rest(&mut self) {
        if std::mem::take(&mut self.is_live) {
            self.write_raw(CLEAR_LINE);
        }
    }

    fn write_raw(&self, text: &str) {
        // A terminal that is gone shows nothing, and nobody misses it.
        if self.for_machines {
            io::stderr().write_all(text.as_bytes()).ok();
        } else {
            io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()).ok();
        }
    }
}
