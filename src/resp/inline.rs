//! Inline requests: a line typed by hand, cut into words.
//!
//! Like a shell reading a command line, and with the same need for quotes: a word with a blank in it is put between
//! `"` or `'`. Between `"` the escapes `\n \r \t \b \a`, `\xHH` and `\` before any other byte are known, between `'`
//! only `\'`. Quotes may open inside a word; a closing quote must end it.
//!
//! Words without quotes are slices of the line; only quoted ones are copied. It refuses to expand anything else.

use bytes::Bytes;
use smallvec::SmallVec;

/// Cuts one line, given without its line end, into its words; none for a blank line.
///
/// Returns `None` when a quote is never closed, or is closed in the middle of a word.
pub fn split(line: &Bytes) -> Option<SmallVec<[Bytes; 4]>> {
    let mut words = SmallVec::new();
    let mut at = 0;
    loop {
        at += line[at..].iter().take_while(|byte| is_blank(**byte)).count();
        if at == line.len() {
            return Some(words);
        }
        let plain = line[at..].iter().take_while(|byte| !ends_word(**byte) && !is_quote(**byte)).count();
        match line.get(at + plain) {
            Some(&quote) if is_quote(quote) => {
                let (word, used) = quoted(&line[at..], plain)?;
                words.push(word);
                at += used;
            }
            _ => {
                words.push(line.slice(at..at + plain));
                at += plain;
            }
        }
    }
}

/// Reads a word whose first quote stands at `plain`: the word, and how many bytes of `text` it took.
fn quoted(text: &[u8], plain: usize) -> Option<(Bytes, usize)> {
    let mut word = Vec::with_capacity(text.len().min(256));
    word.extend_from_slice(&text[..plain]);
    let quote = text[plain];
    let mut at = plain + 1;
    loop {
        let byte = *text.get(at)?;
        if byte == quote {
            let next = text.get(at + 1);
            return next.is_none_or(|byte| is_blank(*byte)).then(|| (Bytes::from(word), at + 1));
        }
        let (value, used) = if quote == b'"' { double_quoted(&text[at..]) } else { single_quoted(&text[at..]) };
        word.push(value);
        at += used;
    }
}

/// One byte of a `"` word, and how many bytes of `text` spell it. A last, lone `\` stands for itself.
fn double_quoted(text: &[u8]) -> (u8, usize) {
    match *text {
        [b'\\', b'x', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
            (hex_digit(high) << 4 | hex_digit(low), 4)
        }
        [b'\\', b'n', ..] => (b'\n', 2),
        [b'\\', b'r', ..] => (b'\r', 2),
        [b'\\', b't', ..] => (b'\t', 2),
        [b'\\', b'b', ..] => (0x08, 2),
        [b'\\', b'a', ..] => (0x07, 2),
        [b'\\', other, ..] => (other, 2),
        [byte, ..] => (byte, 1),
        [] => (0, 1),
    }
}

/// One byte of a `'` word, and how many bytes of `text` spell it.
fn single_quoted(text: &[u8]) -> (u8, usize) {
    match *text {
        [b'\\', b'\'', ..] => (b'\'', 2),
        [byte, ..] => (byte, 1),
        [] => (0, 1),
    }
}

/// The value of a hexadecimal digit.
fn hex_digit(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A') + 10,
    }
}

/// C's `isspace`: what may stand between words.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

/// What ends a word. Redis, too, skips vertical tabs and form feeds between words yet keeps them inside one.
fn ends_word(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
        split(&Bytes::copy_from_slice(line)).map(|words| words.iter().map(|word| word.to_vec()).collect())
    }

    #[test]
    fn lines_as_redis_splits_them() {
        let cases: [(&[u8], &[&[u8]]); 13] = [
            (b"", &[]),
            (b" \t \x0b\x0c\r ", &[]),
            (b"PING", &[b"PING"]),
            (b"  set  a\tb \r", &[b"set", b"a", b"b"]),
            (b"a\x0bb \x0bc", &[b"a\x0bb", b"c"]),
            (br#"set k "a b""#, &[b"set", b"k", b"a b"]),
            (br#"foo"bar baz" x"#, &[b"foobar baz", b"x"]),
            (br#""" ''"#, &[b"", b""]),
            (br#""\x00\xfF\n\r\t\b\a\q\\\"""#, &[b"\x00\xff\n\r\t\x08\x07q\\\""]),
            (br#""\xg0\x1""#, &[b"xg0x1"]),
            (br"'it\'s \n'", &[b"it's \\n"]),
            (br#"'"' "'""#, &[b"\"", b"'"]),
            (b"a\0b \0", &[b"a\0b", b"\0"]),
        ];
        for (line, expected) in cases {
            assert_eq!(words(line).expect("balanced"), expected, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        for line in [r#"""#, "'", r#"set "a"#, r#"set 'a"#, r#""a"b"#, r#"'a'b"#, r#""a\""#, r"'a\'", r#""\"#] {
            assert_eq!(words(line.as_bytes()), None, "{line}");
        }
        assert_eq!(words(b"set \"\"\"test-key\"\"\" test-value"), None);
    }

    /// Writes a word so that it must come back, by one of the three ways there are.
    fn spell(word: &[u8], way: u8) -> Vec<u8> {
        let plain = !word.is_empty() && word.iter().all(|byte| !is_blank(*byte) && !is_quote(*byte));
        match way % 3 {
            0 if plain => word.to_vec(),
            1 if !word.ends_with(b"\\") => {
                let escape = |byte: &u8| if *byte == b'\'' { vec![b'\\', b'\''] } else { vec![*byte] };
                let escaped: Vec<u8> = word.iter().flat_map(escape).collect();
                [b"'", escaped.as_slice(), b"'"].concat()
            }
            _ => {
                let escaped: String = word.iter().map(|byte| format!("\\x{byte:02x}")).collect();
                format!("\"{escaped}\"").into_bytes()
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_spelled_comes_back(
            list in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..12), any::<u8>()), 0..6),
        ) {
            let spelled: Vec<Vec<u8>> = list.iter().map(|(word, way)| spell(word, *way)).collect();
            let expected: Vec<Vec<u8>> = list.into_iter().map(|(word, _)| word).collect();
            prop_assert_eq!(words(&spelled.join(&b' ')), Some(expected));
        }

        #[test]
        fn any_line_is_split_or_refused(line in "[ '\"\\\\xabn0-9\t\r\u{b}]{0,40}") {
            if let Some(words) = words(line.as_bytes()) {
                prop_assert!(words.iter().map(Vec::len).sum::<usize>() <= line.len());
            }
        }
    }
}
