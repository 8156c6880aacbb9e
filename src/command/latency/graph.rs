//! LATENCY GRAPH: the samples of an event as a small drawing.
//!
//! Contract: Redis's drawing: a title, a line, then up to 80 samples side by side in four rows of `_`, `o`, `#` over `|`, and
//! under each how long ago it was, read downwards.

use super::events::Sample;
use std::fmt::Write;

/// Samples side by side.
const COLUMNS: usize = 80;

/// Rows of the drawing.
const ROWS: usize = 4;

/// A cell's heights.
const HEIGHTS: [char; 3] = ['_', 'o', '#'];

/// Draws an event's samples, oldest first.
pub fn draw(event: &str, samples: &[Sample], most_ms: u64, now_s: u64) -> String {
    let took = || samples.iter().map(|sample| sample.took_ms);
    let (high, low) = (took().max().unwrap_or(0), took().min().unwrap_or(0));
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{event} - high {high} ms, low {low} ms (all time high {most_ms} ms)");
    let _ = writeln!(out, "{}", "-".repeat(COLUMNS));
    for (number, part) in samples.chunks(COLUMNS).enumerate() {
        if number > 0 {
            out.push('\n');
        }
        for row in 0..ROWS {
            out.extend(part.iter().map(|sample| cell(step(sample.took_ms - low, high - low), ROWS - row - 1)));
            out.push('\n');
        }
        // A blank row, then the labels.
        let labels: Vec<Vec<char>> =
            part.iter().map(|sample| ago(now_s.saturating_sub(sample.at_s)).chars().collect()).collect();
        let longest = labels.iter().map(Vec::len).max().unwrap_or(0);
        let _ = writeln!(out, "{}", " ".repeat(part.len()));
        for at in 0..longest {
            out.extend(labels.iter().map(|label| label.get(at).copied().unwrap_or(' ')));
            out.push('\n');
        }
    }
    out
}

/// How high a value is, of all steps of all rows.
fn step(value: u64, highest: u64) -> usize {
    let steps = (ROWS * HEIGHTS.len()) as u64;
    (value * steps / highest.max(1)).min(steps - 1) as usize
}

/// What stands in a row (0 is the lowest) for a value so high.
fn cell(step: usize, row: usize) -> char {
    match step.checked_sub(row * HEIGHTS.len()) {
        None => ' ',
        Some(height) => HEIGHTS.get(height).copied().unwrap_or('|'),
    }
}

fn ago(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawing_is_redis_s() {
        let sample = |at_s, took_ms| Sample { at_s, took_ms };
        let drawn = draw("command", &[sample(0, 100), sample(990, 300), sample(1000, 500)], 700, 1000);
        let expected = [
            "command - high 500 ms, low 100 ms (all time high 700 ms)",
            &"-".repeat(80),
            "  #",
            " _|",
            " ||",
            "_||",
            "   ",
            "110",
            "60s",
            "ms ",
            "",
        ];
        assert_eq!(drawn, expected.join("\n"));
        assert_eq!(draw("x", &[sample(0, 5)], 5, 0).lines().nth(5), Some("_"), "all alike lie low");
    }
}
