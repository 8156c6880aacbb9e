//! Redis's floating-point numbers: C's `long double` on x86, read as `strtold` reads and written as `%.17Lf` without
//! the zeros at the end.
//!
//! A shop that has always rounded its bills to a farthing keeps doing so when the till is replaced: 64 bits of mantissa,
//! no more and no less, or INCRBYFLOAT would answer otherwise than Redis does.

use rustc_apfloat::ieee::X87DoubleExtended;
use rustc_apfloat::{Float, Round};

/// Digits after the point.
const DECIMALS: u32 = 17;

/// Longer texts are no numbers.
const TEXT_BYTES_MAX: usize = 5 * 1024;

/// What the exponent's 15 bits stand above, for a mantissa that is a whole number.
const EXPONENT_BIAS: i32 = 16_383 + 63;

/// So much a limb of a big number holds.
const LIMB: u64 = 1_000_000_000;

/// A number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LongDouble(X87DoubleExtended);

impl LongDouble {
    /// Reads decimal or hexadecimal digits with point and exponent, or an infinity. None: no such text, not a number, or one
    /// that is too great or too small.
    pub fn parse(text: &[u8]) -> Option<LongDouble> {
        let text = std::str::from_utf8(text).ok().filter(|text| text.len() < TEXT_BYTES_MAX)?;
        let (sign, rest) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let rest = rest.to_ascii_lowercase();
        let number = match rest.as_str() {
            "inf" | "infinity" => X87DoubleExtended::INFINITY,
            digits => parse_digits(digits)?,
        };
        Some(LongDouble(if sign { -number } else { number }))
    }

    /// The sum; none: it is no number, or infinite.
    pub fn plus(self, other: LongDouble) -> Option<LongDouble> {
        let sum = (self.0 + other.0).value;
        sum.is_finite().then_some(LongDouble(sum))
    }

    /// As Redis writes it.
    pub fn text(self) -> String {
        let bits = self.0.to_bits();
        let (mantissa, exponent) = (bits as u64, (bits >> 64 & 0x7fff) as i32);
        let (whole, decimals) = parts(mantissa, exponent.max(1) - EXPONENT_BIAS);
        let decimals = format!("{decimals:017}");
        let decimals = decimals.trim_end_matches('0');
        let point = if decimals.is_empty() { "" } else { "." };
        let is_zero = whole == "0" && decimals.is_empty();
        let sign = if self.0.is_negative() && !is_zero { "-" } else { "" };
        format!("{sign}{whole}{point}{decimals}")
    }
}

fn parse_digits(text: &str) -> Option<X87DoubleExtended> {
    let hexadecimal = text.strip_prefix("0x");
    let digits = hexadecimal.unwrap_or(text);
    let (mantissa, exponent) = match digits.split_once(if hexadecimal.is_some() { 'p' } else { 'e' }) {
        Some((mantissa, exponent)) => (mantissa, exponent),
        None => (digits, "0"),
    };
    let is_digit = |byte: u8| if hexadecimal.is_some() { byte.is_ascii_hexdigit() } else { byte.is_ascii_digit() };
    let (whole, decimals) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let power = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    let all_digits = whole.bytes().chain(decimals.bytes()).all(is_digit) && !(whole.is_empty() && decimals.is_empty());
    if !all_digits || power.is_empty() || !power.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // A sign that the parser below knows how to read, and digits on both sides of the point.
    let exponent = exponent.strip_prefix('+').unwrap_or(exponent);
    let whole = if whole.is_empty() { "0" } else { whole };
    let decimals = if decimals.is_empty() { "0" } else { decimals };
    let normal = match hexadecimal {
        Some(_) => format!("0x{whole}.{decimals}p{exponent}"),
        None => format!("{whole}.{decimals}e{exponent}"),
    };
    let number = X87DoubleExtended::from_str_r(&normal, Round::NearestTiesToEven).ok()?.value;
    let is_nought = mantissa.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    (number.is_finite() && (is_nought || !number.is_zero())).then_some(number)
}

/// A mantissa times a power of two: the whole part in decimal, and [`DECIMALS`] digits of the rest, rounded to even.
fn parts(mantissa: u64, power: i32) -> (String, u64) {
    if power >= 0 {
        return (doubled(mantissa, power as u32), 0);
    }
    let places = power.unsigned_abs();
    let whole = if places < 64 { mantissa >> places } else { 0 };
    if places > 127 {
        // Less than half of the last digit.
        return (whole.to_string(), 0);
    }
    let rest = u128::from(mantissa) & ((1 << places) - 1);
    let scaled = rest * u128::from(10u64.pow(DECIMALS));
    let (quotient, left, half) = (scaled >> places, scaled & ((1 << places) - 1), 1u128 << (places - 1));
    let rounded = quotient as u64 + u64::from(left > half || (left == half && quotient & 1 == 1));
    match rounded == 10u64.pow(DECIMALS) {
        true => ((whole + 1).to_string(), 0),
        false => (whole.to_string(), rounded),
    }
}

/// A number doubled so many times, in decimal.
fn doubled(number: u64, times: u32) -> String {
    let mut limbs: Vec<u64> = vec![number % LIMB, number / LIMB % LIMB, number / LIMB / LIMB];
    let mut left = times;
    while left > 0 {
        let step = left.min(32);
        let mut carry = 0;
        for limb in &mut limbs {
            let product = (*limb << step) + carry;
            (*limb, carry) = (product % LIMB, product / LIMB);
        }
        while carry > 0 {
            limbs.push(carry % LIMB);
            carry /= LIMB;
        }
        left -= step;
    }
    while limbs.len() > 1 && limbs.last() == Some(&0) {
        limbs.pop();
    }
    let mut limbs = limbs.iter().rev();
    let first = limbs.next().map(u64::to_string).unwrap_or_default();
    limbs.fold(first, |text, limb| format!("{text}{limb:09}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(a: &str, b: &str) -> Option<String> {
        Some(LongDouble::parse(a.as_bytes())?.plus(LongDouble::parse(b.as_bytes())?)?.text())
    }

    /// Every line was asked of Redis 7.0.15.
    #[test]
    fn sums_are_those_of_redis() {
        for (a, b, wanted) in [
            ("10.5", "0.1", "10.6"),
            ("3.0", "1.1", "4.1"),
            ("5.0e3", "2.0e2", "5200"),
            ("0.1", "0.2", "0.3"),
            ("1e15", "0.1", "1000000000000000.0999755859375"),
            ("17179869184", "1.5", "17179869185.5"),
            ("1", "-1.1", "-0.1"),
            ("0", "-0", "0"),
            ("1e30", "1", "1000000000000000000024696061952"),
            ("0x10", "1", "17"),
            ("1e-20", "0", "0"),
            ("1.23456789012345678", "0", "1.23456789012345678"),
            ("1e-4940", "0", "0"),
            ("1.", "1", "2"),
            (".5", "1", "1.5"),
            ("+1", "1", "2"),
            ("0x1p3", "1", "9"),
            ("0x1.8", "0", "1.5"),
            ("0X1P-3", "0", "0.125"),
            ("0x.8", "0", "0.5"),
            ("1e+3", "0", "1000"),
            ("99999999999999999.5", "0", "99999999999999999.5"),
            ("-0.00000000000000000001", "0", "0"),
            ("0.3", "-0.3", "0"),
            ("0e-5000", "1", "1"),
        ] {
            assert_eq!(sum(a, b).as_deref(), Some(wanted), "{a} + {b}");
        }
        let (great, half) =
            (sum("1e4931", "1e4931").unwrap(), "20000000000000000000120378987759277826476755485090662295");
        assert!(great.len() == 4932 && great.starts_with(half), "{great}");
    }

    #[test]
    fn what_redis_refuses_is_no_number() {
        for text in [
            "",
            " 1",
            "1 ",
            "abc",
            "1e",
            "e5",
            ".",
            "0x",
            "0xp1",
            "1_0",
            "nan",
            "NaN(12)",
            "1e5000",
            "1e-5000",
            "--1",
            "1e999999999999",
            "1e+-1",
            "0x1e+",
            "infin",
        ] {
            assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text:?}");
        }
        for infinite in ["inf", "-INF", "Infinity"] {
            let number = LongDouble::parse(infinite.as_bytes()).unwrap();
            assert_eq!(number.plus(LongDouble::parse(b"1").unwrap()), None);
        }
    }

    proptest! {
        #[test]
        fn whole_numbers_come_back(number: i64) {
            prop_assert_eq!(LongDouble::parse(number.to_string().as_bytes()).unwrap().text(), number.to_string());
        }

        #[test]
        fn seventeen_decimals_of_a_small_number_come_back(whole in 0u64..8, decimals in 0u64..100_000_000_000_000_000) {
            let text = format!("{whole}.{decimals:017}");
            let shown = LongDouble::parse(text.as_bytes()).unwrap().text();
            prop_assert_eq!(shown.as_str(), text.trim_end_matches('0').trim_end_matches('.'));
        }

        #[test]
        fn arbitrary_text_does_not_panic(text in "[-+0-9a-fA-FxXpPeE.inf ]{0,40}") {
            if let Some(number) = LongDouble::parse(text.as_bytes()) {
                number.text();
            }
        }
    }
}
