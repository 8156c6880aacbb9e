//! Redis's glob patterns: `*`, `?`, `[a-z]`, `[^x]`, and `\` before a character that stands for itself.
//!
//! # Contract
//! - [`matches`] takes any bytes, needs no memory, and takes time at most pattern × text: on a mismatch only the last star is
//!   tried again.
//! - It is Redis 7.0's `stringmatchlen` with its oddities: the empty text matches no pattern but the empty one (KEYS and SCAN
//!   look for a lone `*` themselves), a class that is never closed reaches to the end, and in a range bytes from 128 on
//!   come before 0, as C's signed characters do.

/// Whether the whole text matches. `fold`: letters match without regard to case.
pub fn matches(pattern: &[u8], text: &[u8], fold: bool) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut at, mut read) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while read < text.len() {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at, read));
            at += 1;
            continue;
        }
        match one(&pattern[at.min(pattern.len())..], text[read], fold) {
            Some(used) => {
                at += used;
                read += 1;
            }
            None => match &mut star {
                Some((place, from)) => {
                    *from += 1;
                    (at, read) = (*place + 1, *from);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// How many bytes of the pattern the byte matched; `None`: it does not match.
fn one(pattern: &[u8], byte: u8, fold: bool) -> Option<usize> {
    let same = |a: u8, b: u8| a == b || (fold && a.eq_ignore_ascii_case(&b));
    match *pattern.first()? {
        b'?' => Some(1),
        b'[' => class(pattern, byte, fold),
        b'\\' if pattern.len() > 1 => same(pattern[1], byte).then_some(2),
        first => same(first, byte).then_some(1),
    }
}

/// The same for a pattern that starts with `[`.
fn class(pattern: &[u8], byte: u8, fold: bool) -> Option<usize> {
    let lower = |byte: u8| if fold { byte.to_ascii_lowercase() } else { byte };
    let negated = pattern.get(1) == Some(&b'^');
    let mut at = if negated { 2 } else { 1 };
    let mut found = false;
    while at < pattern.len() && pattern[at] != b']' {
        if pattern[at] == b'\\' && at + 1 < pattern.len() {
            // Also in Redis the case of these is never folded.
            found |= pattern[at + 1] == byte;
            at += 2;
        } else if at + 2 < pattern.len() && pattern[at + 1] == b'-' {
            let (from, to) = (pattern[at] as i8, pattern[at + 2] as i8);
            let lower = |byte: i8| lower(byte as u8) as i8;
            found |= (lower(from.min(to))..=lower(from.max(to))).contains(&lower(byte as i8));
            at += 3;
        } else {
            found |= lower(pattern[at]) == lower(byte);
            at += 1;
        }
    }
    (found != negated).then_some((at + 1).min(pattern.len()))
}

#[cfg(test)]
mod tests {
    use super::matches;
    use proptest::prelude::*;

    #[test]
    fn patterns_are_redis_s() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("*", "", false),
            ("*", "a", true),
            ("**", "a", true),
            ("", "a", false),
            ("a*c", "abcbc", true),
            ("a*d", "abc", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            (r"h\*llo", "h*llo", true),
            (r"h\*llo", "hello", false),
            (r"h[\]]llo", "h]llo", true),
            ("[a-]b", "-b", false),
            ("a[bc", "ab", true),
            ("a[^", "ab", true),
            ("a[", "ab", false),
            (r"a\", r"a\", true),
            ("client|i*", "client|id", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes(), false), expected, "{pattern} {text}");
        }
        assert!(matches(b"MAX*", b"maxclients", true));
        assert!(!matches(b"MAX*", b"maxclients", false));
        assert!(matches(b"[\x02-\xff]", b"\x01", false) && !matches(b"[\x02-\xff]", b"P", false));
    }

    #[test]
    fn many_stars_do_not_explode() {
        assert!(!matches(
            format!("{}c", "a*".repeat(40)).as_bytes(),
            format!("{}b", "a".repeat(5000)).as_bytes(),
            false
        ));
    }

    /// Redis 7.0.15's `stringmatchlen_impl`, line by line; what it reads behind the pattern's end is a zero.
    fn redis(mut pattern: &[u8], mut text: &[u8], fold: bool, skip: &mut bool) -> bool {
        let lower = |byte: u8| if fold { byte.to_ascii_lowercase() } else { byte };
        let next = |pattern: &[u8]| pattern.get(1).copied().unwrap_or(0);
        while !pattern.is_empty() && !text.is_empty() {
            match pattern[0] {
                b'*' => {
                    while next(pattern) == b'*' {
                        pattern = &pattern[1..];
                    }
                    if pattern.len() == 1 {
                        return true;
                    }
                    while !text.is_empty() {
                        if redis(&pattern[1..], text, fold, skip) {
                            return true;
                        }
                        if *skip {
                            return false;
                        }
                        text = &text[1..];
                    }
                    *skip = true;
                    return false;
                }
                b'?' => text = &text[1..],
                b'[' => {
                    pattern = &pattern[1..];
                    let not = pattern.first() == Some(&b'^');
                    if not {
                        pattern = &pattern[1..];
                    }
                    let (mut found, byte, mut closed) = (false, text[0], false);
                    while !closed && !pattern.is_empty() {
                        if pattern.len() >= 2 && pattern[0] == b'\\' {
                            pattern = &pattern[1..];
                            found |= pattern[0] == byte;
                        } else if pattern[0] == b']' {
                            closed = true;
                            continue;
                        } else if pattern.len() >= 3 && pattern[1] == b'-' {
                            let (mut start, mut end) = (pattern[0] as i8, pattern[2] as i8);
                            if start > end {
                                (start, end) = (end, start);
                            }
                            let lower = |byte: i8| lower(byte as u8) as i8;
                            pattern = &pattern[2..];
                            found |= lower(byte as i8) >= lower(start) && lower(byte as i8) <= lower(end);
                        } else {
                            found |= lower(pattern[0]) == lower(byte);
                        }
                        pattern = &pattern[1..];
                    }
                    if found == not {
                        return false;
                    }
                    text = &text[1..];
                    if !closed {
                        // One back there, one forward below.
                        return text.is_empty();
                    }
                }
                first => {
                    let wanted = if first == b'\\' && pattern.len() >= 2 {
                        pattern = &pattern[1..];
                        pattern[0]
                    } else {
                        first
                    };
                    if lower(wanted) != lower(text[0]) {
                        return false;
                    }
                    text = &text[1..];
                }
            }
            pattern = &pattern[1..];
            if text.is_empty() {
                while pattern.first() == Some(&b'*') {
                    pattern = &pattern[1..];
                }
                break;
            }
        }
        pattern.is_empty() && text.is_empty()
    }

    /// Bytes that mean something, letters of both cases, and one that is negative as a signed character.
    fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(proptest::sample::select(b"*?[]^-\\abcB\xe0".to_vec()), 0..most)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        #[test]
        fn it_answers_what_redis_answers(pattern in bytes(10), text in bytes(8), fold in any::<bool>()) {
            let (pattern, text) = (&pattern[..], &text[..]);
            prop_assert_eq!(matches(pattern, text, fold), redis(pattern, text, fold, &mut false));
        }

        #[test]
        fn any_bytes_are_taken(pattern in proptest::collection::vec(any::<u8>(), 0..20), text in proptest::collection::vec(any::<u8>(), 1..20)) {
            matches(&pattern, &text, true);
            let mut wide = pattern.clone();
            wide.insert(0, b'*');
            prop_assert!(!matches(&pattern, &text, false) || matches(&wide, &text, false));
        }

        #[test]
        fn plain_text_matches_itself_only(a in "[a-c]{0,4}", b in "[a-c]{0,4}") {
            prop_assert_eq!(matches(a.as_bytes(), b.as_bytes(), false), a == b);
        }
    }
}
