//! An integer of any width, anywhere in a row of bits: reading it, writing it, and what happens when a number does not fit.
//! Pure functions of bytes.

/// The type of a field: how many bits, and whether the highest one is a sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Whether it has a sign.
    pub signed: bool,
    /// Its width: 1 to 64 with a sign, 1 to 63 without.
    pub bits: u8,
}

/// What is done with a number that does not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// Its highest bits are lost.
    #[default]
    Wrap,
    /// The nearest number that fits takes its place.
    Saturate,
    /// Nothing is written.
    Fail,
}

impl Kind {
    /// Reads `i16`, `u8` and the like.
    pub fn named(word: &[u8]) -> Option<Kind> {
        let (sign, digits) = word.split_first()?;
        let signed = match sign {
            b'i' => true,
            b'u' => false,
            _ => return None,
        };
        let bits = u8::try_from(crate::command::arguments::parse_integer(digits)?).ok()?;
        (1..=if signed { 64 } else { 63 }).contains(&bits).then_some(Kind { signed, bits })
    }

    /// The least and the greatest number that fit.
    fn bounds(self) -> (i128, i128) {
        let bits = u32::from(self.bits);
        if self.signed { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) }
    }

    /// The number whose lowest bits these are.
    fn number(self, bits: u64) -> i128 {
        let unused = 64 - u32::from(self.bits);
        if self.signed { i128::from((bits << unused) as i64 >> unused) } else { i128::from(bits << unused >> unused) }
    }

    /// The number that is written for `wanted`; none: nothing is. What is given as an unsigned field's new value counts
    /// as Redis counts it: a negative one is a very large one.
    pub fn fitted(self, wanted: i128, overflow: Overflow) -> Option<i128> {
        let (least, greatest) = self.bounds();
        match overflow {
            _ if (least..=greatest).contains(&wanted) => Some(wanted),
            Overflow::Wrap => Some(self.number(wanted as u64)),
            Overflow::Saturate => Some(wanted.clamp(least, greatest)),
            Overflow::Fail => None,
        }
    }

    /// A value to be set, as a number.
    pub fn given(self, value: i64) -> i128 {
        if self.signed { i128::from(value) } else { i128::from(value as u64) }
    }

    /// Reads the field at bit `at`.
    pub fn read(self, row: &[u8], at: u64) -> i128 {
        let bits =
            (at..at + u64::from(self.bits)).fold(0, |bits, at| bits << 1 | u64::from(super::bitmap::bit(row, at)));
        self.number(bits)
    }

    /// Writes the field at bit `at`. The row must reach to the field's last bit.
    pub fn write(self, row: &mut [u8], at: u64, number: i128) {
        for place in 0..u64::from(self.bits) {
            let on = number >> (u64::from(self.bits) - 1 - place) & 1 == 1;
            let mask = 0x80 >> ((at + place) % 8);
            let byte = &mut row[((at + place) / 8) as usize];
            *byte = if on { *byte | mask } else { *byte & !mask };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::bits::bitmap;
    use proptest::prelude::*;

    fn kind() -> impl Strategy<Value = Kind> {
        (any::<bool>(), 1u8..=64).prop_filter_map("u64 is none", |(signed, bits)| {
            Kind::named(format!("{}{bits}", if signed { 'i' } else { 'u' }).as_bytes())
        })
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_and_the_rest_stays(
            kind in kind(), row in proptest::collection::vec(any::<u8>(), 20), at in 0u64..90, value: i64
        ) {
            let number = kind.fitted(kind.given(value), Overflow::Wrap).unwrap();
            let mut new = row.clone();
            kind.write(&mut new, at, number);
            prop_assert_eq!(kind.read(&new, at), number);
            for place in (0..160).filter(|place| !(at..at + u64::from(kind.bits)).contains(place)) {
                prop_assert_eq!(bitmap::bit(&new, place), bitmap::bit(&row, place));
            }
        }

        #[test]
        fn numbers_that_do_not_fit_go_by_the_rule(kind in kind(), value: i64, step: i64) {
            let (least, greatest) = kind.bounds();
            let wanted = i128::from(value) + i128::from(step);
            let fits = least <= wanted && wanted <= greatest;
            prop_assert_eq!(kind.fitted(wanted, Overflow::Fail), fits.then_some(wanted));
            let saturated = kind.fitted(wanted, Overflow::Saturate).unwrap();
            prop_assert_eq!(saturated, if wanted < least { least } else if wanted > greatest { greatest } else { wanted });
            let wrapped = kind.fitted(wanted, Overflow::Wrap).unwrap();
            prop_assert!(least <= wrapped && wrapped <= greatest);
            prop_assert_eq!((wanted - wrapped) % (1 << kind.bits), 0);
        }
    }

    #[test]
    fn kinds_are_named_strictly() {
        assert_eq!(Kind::named(b"i64"), Some(Kind { signed: true, bits: 64 }));
        assert_eq!(Kind::named(b"u63"), Some(Kind { signed: false, bits: 63 }));
        for wrong in ["", "i", "u0", "u64", "i65", "I8", "i+8", "i08", "8", "u-1", "u256", "i99999999999999999999"] {
            assert_eq!(Kind::named(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn bits_lie_as_in_redis() {
        let mut row = [0, 0];
        Kind::named(b"u5").unwrap().write(&mut row, 7, 23);
        assert_eq!(row, [0b0000_0001, 0b0111_0000]);
        assert_eq!(Kind::named(b"i5").unwrap().read(&row, 7), -9);
        assert_eq!(Kind::named(b"u8").unwrap().read(&row, 12), 0, "beyond the end all is clear");
    }
}
