//! Which percentiles of commands' times INFO shows: Redis's `latency-tracking-info-percentiles`.

use super::range::{Range, Refusal};
use super::value::Value;

/// Percentiles as they were written, each a number from 0 to 100.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Percentiles(Vec<String>);

impl Percentiles {
    /// Each as it is shown, and as a number.
    pub fn each(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().filter_map(|text| Some((text.as_str(), text.parse().ok()?)))
    }
}

impl Value for Percentiles {
    fn parse(text: &str, _: &Range) -> Result<Percentiles, Refusal> {
        let canonical = |word: &str| match word.parse::<f64>() {
            Ok(number) if (0.0..=100.0).contains(&number) => Ok(number.to_string()),
            Ok(_) => Err(Refusal::PercentileOutside),
            Err(_) => Err(Refusal::NoPercentile),
        };
        text.split_ascii_whitespace().map(canonical).collect::<Result<_, _>>().map(Percentiles)
    }

    fn show(&self, _: &Range) -> String {
        self.0.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_numbers_up_to_a_hundred() {
        let parse = |text| Percentiles::parse(text, &Range::Percentiles);
        let some = parse("50  99.0 99.9").unwrap();
        assert_eq!(some.show(&Range::Percentiles), "50 99 99.9");
        assert_eq!(some.each().collect::<Vec<_>>(), [("50", 50.0), ("99", 99.0), ("99.9", 99.9)]);
        assert_eq!(parse("").unwrap().each().count(), 0);
        assert_eq!(parse("x"), Err(Refusal::NoPercentile));
        for text in ["101", "-1", "50 nan"] {
            assert_eq!(parse(text), Err(Refusal::PercentileOutside), "{text}");
        }
    }
}
