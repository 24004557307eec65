//! The live view of the demo: drafts and invoices with what comes next, and what just happened.

use std::io;

use ratatui::DefaultTerminal;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::{Block, Paragraph, Row, Table};

use super::demo::Shown;
use crate::invoice::instant::Instant;

/// A terminal that is drawn on until it is dropped.
pub(super) struct LiveView {
    terminal: DefaultTerminal,
    lines: Vec<String>,
}

impl LiveView {
    pub(super) fn open() -> io::Result<LiveView> {
        Ok(LiveView { terminal: ratatui::try_init()?, lines: Vec::new() })
    }

    pub(super) fn say(&mut self, line: String) {
        self.lines.push(line);
    }

    pub(super) fn draw<'a>(&mut self, now: Instant, invoices: impl Iterator<Item = &'a Shown>) {
        let rows: Vec<Row<'_>> = invoices
            .map(|shown| {
                let color = match shown.status.as_str() {
                    "draft" => Color::Yellow,
                    "overdue" => Color::Red,
                    _ => Color::Green,
                };
                let cells = [&shown.customer, &shown.period, &shown.status, &shown.total, &shown.next];
                Row::new(cells.map(String::as_str)).style(Style::new().fg(color))
            })
            .collect();
        let lines = &self.lines;
        let drawn = self.terminal.draw(|frame| {
            let height = rows.len() as u16 + 3;
            let [head, table, log] =
                Layout::vertical([Constraint::Length(1), Constraint::Length(height), Constraint::Min(3)])
                    .areas(frame.area());
            let clock = now.to_string();
            frame.render_widget(
                Line::from(format!(" Graceline demo   {}   two days a second", &clock[..16])).bold(),
                head,
            );
            let widths = [12, 12, 11, 16, 26].map(Constraint::Length);
            let header = Row::new(["customer", "period from", "status", "total", "next"]).bold();
            frame.render_widget(
                Table::new(rows, widths).header(header).block(Block::bordered().title(" invoices ")),
                table,
            );
            let room = usize::from(log.height.saturating_sub(2));
            let last: Vec<Line<'_>> = lines
                .iter()
                .skip(lines.len().saturating_sub(room))
                .map(|line| Line::from(line.as_str()))
                .collect();
            frame.render_widget(Paragraph::new(last).block(Block::bordered().title(" what happens ")), log);
        });
        // A terminal that can't be drawn on any more doesn't stop the story.
        drop(drawn);
    }
}

impl Drop for LiveView {
    fn drop(&mut self) {
        ratatui::restore();
        for line in &self.lines {
            println!("{line}");
        }
    }
}
