//! What the words of a request mean: numbers, moments, lifetimes, quorums.
//!
//! A clerk at a counter reads a form strictly: a number is written one way only, two boxes that exclude each other are
//! not both ticked, and a date that no calendar has is handed back. The form is read before anything is looked up, so a
//! wrong form changes nothing.
//!
//! # Contract
//! Everything here is pure and gives Redis 7's answers, down to the error text: which words count as integers, in which
//! order options may stand, which may be repeated (the last one counts), and where an expiry overflows.

pub mod target;

use crate::key::DATABASES;
use crate::resp::reply::Reply;
use bytes::Bytes;

pub use crate::codec::integer::parse_integer;

/// `ERR syntax error`
pub fn syntax_error() -> Reply {
    Reply::error("ERR syntax error")
}

/// `ERR invalid expire time in '…' command`
pub fn invalid_expire_time(command: &str) -> Reply {
    Reply::error(format!("ERR invalid expire time in '{command}' command"))
}

/// `ERR wrong number of arguments for '…' command`
pub fn wrong_number_of_arguments(command: &str) -> Reply {
    Reply::error(format!("ERR wrong number of arguments for '{command}' command"))
}

/// Whether a word is this option; case does not matter.
pub fn is(word: &[u8], option: &str) -> bool {
    word.eq_ignore_ascii_case(option.as_bytes())
}

/// [`parse_integer`], or Redis's error.
pub fn integer(word: &[u8]) -> Result<i64, Reply> {
    parse_integer(word).ok_or_else(|| Reply::error("ERR value is not an integer or out of range"))
}

/// Reads the index of a database.
pub fn database(word: &[u8]) -> Result<u8, Reply> {
    let index = i32::try_from(integer(word)?)
        .map_err(|_| Reply::error("ERR value is out of range, value must between -2147483648 and 2147483647"))?;
    let database = u8::try_from(index).ok().filter(|index| *index < DATABASES);
    database.ok_or_else(|| Reply::error("ERR DB index is out of range"))
}

/// Reads a quorum for one request: between 1 and `copies`, the database's N. `name` is `R` or `W`.
pub fn quorum(word: &[u8], name: &str, copies: u8) -> Result<u8, Reply> {
    u8::try_from(integer(word)?).ok().filter(|quorum| (1..=copies).contains(quorum)).ok_or_else(|| {
        Reply::error(format!("ERR {name} must be between 1 and {copies}, the copies (N) this database keeps"))
    })
}

/// How an option names a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `EX`: seconds from now.
    Ex,
    /// `PX`: milliseconds from now.
    Px,
    /// `EXAT`: Unix seconds.
    ExAt,
    /// `PXAT`: Unix milliseconds.
    PxAt,
}

impl Form {
    fn of(word: &[u8]) -> Option<Form> {
        let forms = [("EX", Form::Ex), ("PX", Form::Px), ("EXAT", Form::ExAt), ("PXAT", Form::PxAt)];
        forms.into_iter().find(|(name, _)| is(word, name)).map(|(_, form)| form)
    }

    fn in_seconds(self) -> bool {
        matches!(self, Form::Ex | Form::ExAt)
    }

    fn is_relative(self) -> bool {
        matches!(self, Form::Ex | Form::Px)
    }

    /// The moment in Unix milliseconds. Zero, negative and overflowing ones are refused in the name of `command`.
    pub fn moment(self, amount: &[u8], now_ms: u64, command: &str) -> Result<u64, Reply> {
        let amount = integer(amount)?;
        let absolute_ms = self.absolute_ms(amount, now_ms).filter(|_| amount > 0);
        absolute_ms.and_then(|at| u64::try_from(at).ok()).ok_or_else(|| invalid_expire_time(command))
    }

    /// The moment in Unix milliseconds, which may lie before 1970; none when it overflows 64 signed bits.
    pub fn absolute_ms(self, amount: i64, now_ms: u64) -> Option<i64> {
        let amount_ms = if self.in_seconds() { amount.checked_mul(1000)? } else { amount };
        if self.is_relative() { amount_ms.checked_add_unsigned(now_ms) } else { Some(amount_ms) }
    }
}

/// What a command says about how long its key shall live.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Lifetime {
    /// Nothing.
    #[default]
    Unstated,
    /// `KEEPTTL`
    Keep,
    /// `PERSIST`
    Persist,
    /// Until a moment. The amount is read later: some commands look the key up first.
    Until(Form, Bytes),
}

impl Lifetime {
    /// Takes the option at `words[at]` and says how many words it was. None: it is no option of this kind, has no
    /// amount, or contradicts an earlier one; all of these are syntax errors. The same option may stand twice.
    pub fn take(&mut self, words: &[Bytes], at: usize) -> Option<usize> {
        let word = words.get(at)?;
        if is(word, "KEEPTTL") && matches!(self, Lifetime::Unstated | Lifetime::Keep) {
            *self = Lifetime::Keep;
            return Some(1);
        }
        if is(word, "PERSIST") && matches!(self, Lifetime::Unstated | Lifetime::Persist) {
            *self = Lifetime::Persist;
            return Some(1);
        }
        let form = Form::of(word)?;
        let repeats = |earlier: &Lifetime| matches!(earlier, Lifetime::Until(same, _) if *same == form);
        if *self != Lifetime::Unstated && !repeats(self) {
            return None;
        }
        *self = Lifetime::Until(form, words.get(at + 1)?.clone());
        Some(2)
    }

    /// The moment it names, if it names one; see [`Form::moment`].
    pub fn moment(&self, now_ms: u64, command: &str) -> Result<Option<u64>, Reply> {
        match self {
            Lifetime::Until(form, amount) => form.moment(amount, now_ms, command).map(Some),
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(text: &str) -> Vec<Bytes> {
        text.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
    }

    proptest! {
        #[test]
        fn an_integer_is_written_one_way_only(text in "[-+ ]?[0-9]{0,21}") {
            let naive = text.parse::<i64>().ok().filter(|number| number.to_string() == text);
            prop_assert_eq!(parse_integer(text.as_bytes()), naive);
        }

        #[test]
        fn every_integer_is_read(number: i64) {
            prop_assert_eq!(parse_integer(number.to_string().as_bytes()), Some(number));
        }
    }

    #[test]
    fn the_edges_of_integers() {
        for accepted in [i64::MIN, i64::MAX, 0, -1] {
            assert_eq!(parse_integer(accepted.to_string().as_bytes()), Some(accepted));
        }
        for refused in ["", "-", "-0", "01", "+1", " 1", "1 ", "1.5", "9223372036854775808", "-9223372036854775809"] {
            assert_eq!(parse_integer(refused.as_bytes()), None, "{refused:?}");
        }
    }

    #[test]
    fn a_quorum_lies_between_one_and_n() {
        assert_eq!(quorum(b"3", "R", 3), Ok(3));
        assert_eq!(quorum(b"1", "R", 3), Ok(1));
        let refused = Reply::error("ERR W must be between 1 and 3, the copies (N) this database keeps");
        for word in ["0", "4", "-1", "256", "257"] {
            assert_eq!(quorum(word.as_bytes(), "W", 3), Err(refused.clone()), "{word}");
        }
        assert_eq!(quorum(b"x", "W", 3), Err(Reply::error("ERR value is not an integer or out of range")));
    }

    #[test]
    fn moments_and_where_they_overflow() {
        let now_ms = 1_800_000_000_000;
        assert_eq!(Form::Ex.moment(b"10", now_ms, "set"), Ok(now_ms + 10_000));
        assert_eq!(Form::Px.moment(b"10", now_ms, "set"), Ok(now_ms + 10));
        assert_eq!(Form::ExAt.moment(b"10", now_ms, "set"), Ok(10_000));
        assert_eq!(Form::PxAt.moment(b"9223372036854775807", now_ms, "set"), Ok(i64::MAX as u64));
        let invalid = Err(Reply::error("ERR invalid expire time in 'getex' command"));
        for (form, amount) in [
            (Form::Ex, "0"),
            (Form::Px, "-1"),
            (Form::ExAt, "-1"),
            (Form::PxAt, "0"),
            (Form::Ex, "9223372036854775"),
            (Form::ExAt, "9223372036854776"),
            (Form::Px, "9223372036854775807"),
        ] {
            assert_eq!(form.moment(amount.as_bytes(), now_ms, "getex"), invalid, "{form:?} {amount}");
        }
        let no_number = Err(Reply::error("ERR value is not an integer or out of range"));
        assert_eq!(Form::Ex.moment(b"1.5", now_ms, "set"), no_number);
    }

    #[test]
    fn lifetimes_exclude_each_other_but_may_repeat() {
        let take_all = |text: &str| {
            let words = words(text);
            let (mut lifetime, mut at) = (Lifetime::default(), 0);
            while at < words.len() {
                at += lifetime.take(&words, at)?;
            }
            Some(lifetime)
        };
        assert_eq!(take_all("ex 10"), Some(Lifetime::Until(Form::Ex, Bytes::from("10"))));
        assert_eq!(take_all("EX 10 eX 20"), Some(Lifetime::Until(Form::Ex, Bytes::from("20"))));
        assert_eq!(take_all("KeepTTL keepttl"), Some(Lifetime::Keep));
        assert_eq!(take_all("PERSIST PERSIST"), Some(Lifetime::Persist));
        for refused in ["ex", "ex 1 px 1", "px 1 pxat 1", "keepttl ex 1", "exat 1 keepttl", "persist keepttl", "nx"] {
            assert_eq!(take_all(refused), None, "{refused}");
        }
    }
}
