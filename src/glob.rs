//! Redis's glob patterns: `*`, `?`, `[a-z]`, `[^x]`, and `\` before a character that stands for itself.
//!
//! Contract: [`matches`] takes any bytes, needs no memory, and takes time at most pattern × text: on a mismatch only the
//! last star is tried again.

/// Whether the whole text matches. `fold`: letters match without regard to case.
pub fn matches(pattern: &[u8], text: &[u8], fold: bool) -> bool {
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

/// The same for a pattern that starts with `[`. One that is never closed reaches to the end.
fn class(pattern: &[u8], byte: u8, fold: bool) -> Option<usize> {
    let lower = |byte: u8| if fold { byte.to_ascii_lowercase() } else { byte };
    let byte = lower(byte);
    let negated = pattern.get(1) == Some(&b'^');
    let mut at = if negated { 2 } else { 1 };
    let mut found = false;
    while at < pattern.len() && pattern[at] != b']' {
        if pattern[at] == b'\\' && at + 1 < pattern.len() {
            found |= lower(pattern[at + 1]) == byte;
            at += 2;
        } else if at + 2 < pattern.len() && pattern[at + 1] == b'-' {
            let (from, to) = (lower(pattern[at]), lower(pattern[at + 2]));
            found |= (from.min(to)..=from.max(to)).contains(&byte);
            at += 3;
        } else {
            found |= lower(pattern[at]) == byte;
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
            ("*", "", true),
            ("", "", true),
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
            ("a[bc", "ab", true),
            ("client|i*", "client|id", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes(), false), expected, "{pattern} {text}");
        }
        assert!(matches(b"MAX*", b"maxclients", true));
        assert!(!matches(b"MAX*", b"maxclients", false));
    }

    #[test]
    fn many_stars_do_not_explode() {
        assert!(!matches(
            format!("{}c", "a*".repeat(40)).as_bytes(),
            format!("{}b", "a".repeat(5000)).as_bytes(),
            false
        ));
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(pattern in proptest::collection::vec(any::<u8>(), 0..20), text in proptest::collection::vec(any::<u8>(), 0..20)) {
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
