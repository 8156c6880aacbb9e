//! The figures as Markdown.

use super::phase::{Figures, Phase};

const HEAD: [&str; 2] = [
    "| | what goes on | s | wanted/s | reached/s | p50 ms | p99 ms | p99.9 ms | max ms | p99.9 / p99 | failed | sent late, p99.9 ms | tables written |",
    "|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
];

/// A line for each phase, numbered as in the picture.
pub fn lines(wanted_per_second: u64, phases: &[(Phase, Figures)]) -> Vec<String> {
    let row = |(at, (phase, figures)): (usize, &(Phase, Figures))| {
        let ms = |us: u64| format!("{:.2}", us as f64 / 1000.0);
        let seconds = (phase.end.saturating_sub(phase.begin)).as_secs_f64();
        let cells = [
            (at + 1).to_string(),
            phase.name.clone(),
            format!("{seconds:.0}"),
            wanted_per_second.to_string(),
            format!("{:.0}", figures.reached),
            ms(figures.p50_us),
            ms(figures.p99_us),
            ms(figures.p999_us),
            ms(figures.max_us),
            format!("{:.1}", figures.ratio()),
            figures.failed.to_string(),
            ms(figures.sent_late_p999_us),
            phase.tables.to_string(),
        ];
        format!("| {} |", cells.join(" | "))
    };
    HEAD.iter().map(|line| line.to_string()).chain(phases.iter().enumerate().map(row)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn every_row_has_a_cell_for_every_column() {
        let phase =
            Phase { name: "quiet".to_owned(), begin: Duration::from_secs(3), end: Duration::from_secs(13), tables: 2 };
        let figures = Figures {
            reached: 4999.6,
            failed: 1,
            p50_us: 512,
            p99_us: 2_000,
            p999_us: 5_500,
            max_us: 12_345,
            sent_late_p999_us: 80,
        };
        let lines = lines(5_000, &[(phase.clone(), figures.clone()), (phase, figures)]);
        assert_eq!(lines[3], "| 2 | quiet | 10 | 5000 | 5000 | 0.51 | 2.00 | 5.50 | 12.35 | 2.8 | 1 | 0.08 | 2 |");
        let columns: Vec<usize> = lines.iter().map(|line| line.matches('|').count()).collect();
        assert_eq!(columns, [14; 4]);
    }
}
