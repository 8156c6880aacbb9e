//! Latency over time, drawn: three lines, a band for each phase, a mark for each thing that was done to a node.

use super::phase::Phase;
use super::sample::{Outcome, Sample};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::collections::BTreeMap;
use std::time::Duration;

/// The picture's size.
const SIZE: (u32, u32) = (1200, 480);
/// How much time a point of a line stands for, in microseconds.
const BUCKET_US: u32 = 100_000;

/// Something that was done.
#[derive(Clone, Debug)]
pub struct Mark {
    /// From the beginning of the load.
    pub at: Duration,
    /// What it was, in a few words.
    pub text: String,
}

/// What was due within one tenth of a second. Times are microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// When it began.
    pub at_us: u32,
    /// The middle latency.
    pub p50_us: u32,
    /// One in a hundred took longer.
    pub p99_us: u32,
    /// The longest.
    pub max_us: u32,
    /// Requests that failed; they are in no latency.
    pub failed: u32,
}

/// Buckets in order of time; one in which nothing was due is missing.
pub fn buckets(samples: &[Sample]) -> Vec<Bucket> {
    let mut found: BTreeMap<u32, (Vec<u32>, u32)> = BTreeMap::new();
    for sample in samples {
        let (latencies, failed) = found.entry(sample.due_us / BUCKET_US).or_default();
        match sample.outcome {
            Outcome::Answered => latencies.push(sample.latency_us),
            Outcome::Failed => *failed += 1,
        }
    }
    let bucket = |(number, (mut latencies, failed)): (u32, (Vec<u32>, u32))| {
        latencies.sort_unstable();
        let at = |percent: usize| latencies.get((latencies.len() * percent).div_ceil(100).max(1) - 1).copied();
        let [p50_us, p99_us, max_us] = [50, 99, 100].map(|percent| at(percent).unwrap_or(0));
        Bucket { at_us: number * BUCKET_US, p50_us, p99_us, max_us, failed }
    };
    found.into_iter().map(bucket).collect()
}

/// The powers of ten, in milliseconds, between which all latencies lie: one decade at least.
pub fn decades(buckets: &[Bucket]) -> (f64, f64) {
    let shown = buckets.iter().filter(|bucket| bucket.max_us > 0);
    let least = shown.clone().map(|bucket| bucket.p50_us).min().unwrap_or(1000).max(1);
    let most = shown.map(|bucket| bucket.max_us).max().unwrap_or(1000).max(1);
    let low = 10f64.powi((f64::from(least) / 1000.0).log10().floor() as i32);
    let high = 10f64.powi((f64::from(most) / 1000.0).log10().ceil() as i32);
    (low, high.max(low * 10.0))
}

/// The picture, as SVG.
pub fn draw(phases: &[Phase], marks: &[Mark], samples: &[Sample]) -> Result<String, String> {
    let mut picture = String::new();
    let area = SVGBackend::with_string(&mut picture, SIZE).into_drawing_area();
    paint(&area, phases, marks, &buckets(samples)).map_err(|error| format!("the picture cannot be drawn: {error}"))?;
    drop(area);
    Ok(picture)
}

/// What a line shows of a bucket.
type Value = fn(&Bucket) -> u32;
type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn paint(
    area: &Area<'_>,
    phases: &[Phase],
    marks: &[Mark],
    buckets: &[Bucket],
) -> Result<(), Box<dyn std::error::Error>> {
    area.fill(&WHITE)?;
    let (low, high) = decades(buckets);
    let end_s = phases.last().map_or(1.0, |phase| phase.end.as_secs_f64());
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(56)
        .build_cartesian_2d(0f64..end_s, (low..high).log_scale())?;
    let style = |size: i32| ("sans-serif", size).into_font().color(&BLACK.mix(0.75));
    for (at, phase) in phases.iter().enumerate() {
        let (begin, end) = (phase.begin.as_secs_f64(), phase.end.as_secs_f64());
        let shade = RGBColor(230, 235, 242).mix(if at % 2 == 0 { 0.0 } else { 0.8 });
        chart.draw_series([Rectangle::new([(begin, low), (end, high)], shade.filled())])?;
        let number = style(16).pos(Pos::new(HPos::Center, VPos::Top));
        chart.draw_series([Text::new((at + 1).to_string(), ((begin + end) / 2.0, high), number)])?;
    }
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(BLACK.mix(0.04))
        .bold_line_style(BLACK.mix(0.15))
        .x_desc("seconds; numbers are the table's rows")
        .y_desc("latency from when a request was due, ms")
        .y_label_formatter(&|ms| without_zeros(*ms))
        .label_style(style(13))
        .draw()?;
    let lines: [(&str, RGBColor, Value); 3] = [
        ("longest", RGBColor(215, 120, 60), Bucket::max_us),
        ("p99", RGBColor(60, 110, 190), Bucket::p99_us),
        ("p50", RGBColor(50, 140, 80), Bucket::p50_us),
    ];
    for (name, colour, value) in lines {
        let points = buckets.iter().filter(|bucket| value(bucket) > 0);
        let points = points.map(|bucket| (f64::from(bucket.at_us) / 1e6, f64::from(value(bucket)) / 1000.0));
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(1)))?
            .label(format!("{name}, each 100 ms"))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    let failures = buckets.iter().filter(|bucket| bucket.failed > 0);
    let crosses = failures.map(|bucket| Cross::new((f64::from(bucket.at_us) / 1e6, low), 4, RED.stroke_width(2)));
    chart
        .draw_series(crosses)?
        .label("requests failed")
        .legend(|(x, y)| Cross::new((x + 9, y), 4, RED.stroke_width(2)));
    for mark in marks {
        let at = mark.at.as_secs_f64();
        chart.draw_series([PathElement::new([(at, low), (at, high)], RED.mix(0.6).stroke_width(1))])?;
        let text = style(13).transform(FontTransform::Rotate90).pos(Pos::new(HPos::Left, VPos::Bottom));
        // Below the phase's number.
        let top = high / (high / low).powf(0.06);
        chart.draw_series([Text::new(mark.text.clone(), (at, top), text)])?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.2))
        .label_font(style(13))
        .draw()?;
    area.present()?;
    Ok(())
}

/// A number as short as it can be written, to the thousandth.
fn without_zeros(number: f64) -> String {
    format!("{number:.3}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl Bucket {
    fn p50_us(&self) -> u32 {
        self.p50_us
    }

    fn p99_us(&self) -> u32 {
        self.p99_us
    }

    fn max_us(&self) -> u32 {
        self.max_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(due_us: u32, latency_us: u32) -> Sample {
        Sample { due_us, sent_late_us: 0, latency_us, outcome: Outcome::Answered }
    }

    #[test]
    fn a_bucket_is_a_tenth_of_a_second_by_when_requests_were_due() {
        let mut samples: Vec<Sample> = (1..=200).rev().map(|ms| answered(99_999, ms * 1000)).collect();
        samples.push(answered(100_000, 5));
        samples.push(Sample { outcome: Outcome::Failed, ..answered(350_000, 9) });
        let buckets = buckets(&samples);
        let first = Bucket { at_us: 0, p50_us: 100_000, p99_us: 198_000, max_us: 200_000, failed: 0 };
        let second = Bucket { at_us: 100_000, p50_us: 5, p99_us: 5, max_us: 5, failed: 0 };
        let lost = Bucket { at_us: 300_000, p50_us: 0, p99_us: 0, max_us: 0, failed: 1 };
        assert_eq!(buckets, [first, second, lost]);
    }

    #[test]
    fn the_scale_ends_at_powers_of_ten_around_everything() {
        let around = |least: u32, most: u32| decades(&buckets(&[answered(0, least), answered(100_000, most)]));
        let near = |(low, high): (f64, f64), wanted: (f64, f64)| {
            (low / wanted.0 - 1.0).abs() + (high / wanted.1 - 1.0).abs() < 1e-9
        };
        assert!(near(around(320, 45_000), (0.1, 100.0)));
        assert!(near(around(1_000, 1_000), (1.0, 10.0)));
        assert!(near(around(12_000, 1_200_000), (10.0, 10_000.0)));
        let (low, high) = decades(&[]);
        assert!(low > 0.0 && high > low);
    }

    #[test]
    fn labels_are_short() {
        let labels = [0.1, 0.30000000000000004, 1.0, 100.0, 1000.0].map(without_zeros);
        assert_eq!(labels, ["0.1", "0.3", "1", "100", "1000"]);
    }

    #[test]
    fn a_picture_names_its_marks_and_numbers_its_phases() {
        let phase = |begin: u64, end: u64| Phase {
            name: "a name".to_owned(),
            begin: Duration::from_secs(begin),
            end: Duration::from_secs(end),
            tables: 0,
        };
        let marks = [Mark { at: Duration::from_secs(2), text: "node 3 is killed".to_owned() }];
        let samples: Vec<Sample> = (0..50).map(|at| answered(at * 100_000, 300 + at * 40)).collect();
        let picture = draw(&[phase(0, 2), phase(2, 5)], &marks, &samples).unwrap();
        assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>"));
        let lines: Vec<&str> = picture.lines().map(str::trim).collect();
        for text in ["node 3 is killed", "1", "2", "p99, each 100 ms"] {
            assert!(lines.contains(&text), "{text} is not in the picture");
        }
        assert!(picture.matches("<polyline").count() >= 3);
    }
}
