//! LZF, Marc Lehmann's small compression, as far as Redis's parcels need it: unpacking.
//!
//! ```text
//! 000LLLLL                        L + 1 bytes follow as they are
//! LLLooooo oooooooo               L + 2 bytes (L below 7) again from o + 1 bytes back
//! 111ooooo LLLLLLLL oooooooo      L + 9 bytes again from o + 1 bytes back
//! ```
//! Packing is left out: Redis opens what is not packed, too.

/// The most that one packed byte can become.
const EXPANSION_MAX: usize = 264;

/// Unpacks exactly `length` bytes; none: the bytes are no such thing.
pub fn unpack(packed: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(length.min(packed.len().saturating_mul(EXPANSION_MAX)));
    let mut rest = packed;
    while let Some((control, tail)) = rest.split_first() {
        rest = tail;
        if *control < 32 {
            let run = usize::from(*control) + 1;
            out.extend_from_slice(rest.get(..run)?);
            rest = &rest[run..];
        } else {
            let mut again = usize::from(control >> 5) + 2;
            if again == 9 {
                again += usize::from(*rest.first()?);
                rest = &rest[1..];
            }
            let back = usize::from(control & 31) << 8 | usize::from(*rest.first()?);
            rest = &rest[1..];
            let from = out.len().checked_sub(back + 1)?;
            // What is repeated may reach into what is being written.
            (from..from + again).for_each(|at| out.push(out[at]));
        }
        if out.len() > length {
            return None;
        }
    }
    (out.len() == length).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn runs_and_repetitions_are_unpacked() {
        assert_eq!(unpack(&[2, b'a', b'b', b'c'], 3).unwrap(), b"abc");
        assert_eq!(unpack(&[1, b'a', b'b', 0x20 | 2 << 5, 1], 7).unwrap(), b"abababa");
        assert_eq!(unpack(&[0, b'a', 0xe0, 10, 0], 20).unwrap(), [b'a'; 20]);
        assert_eq!(unpack(&[], 0).unwrap(), b"");
    }

    #[test]
    fn what_is_cut_off_or_reaches_before_the_beginning_is_refused() {
        for (packed, length) in [
            (&[2, b'a'][..], 3),
            (&[0x20], 3),
            (&[0xe0, 1], 10),
            (&[0x20, 0], 3),
            (&[0, b'a', 0x20, 1], 4),
            (&[0, b'a'], 2),
            (&[1, b'a', b'b'], 1),
        ] {
            assert_eq!(unpack(packed, length), None, "{packed:?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_nor_grow_beyond_what_was_announced(
            packed in proptest::collection::vec(any::<u8>(), 0..60), length in 0usize..300
        ) {
            prop_assert!(unpack(&packed, length).is_none_or(|bytes| bytes.len() == length));
        }
    }
}
