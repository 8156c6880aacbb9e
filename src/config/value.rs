//! The types settings have, and how each is read from text and shown again.

use super::range::{HOST_NAME_MAX, Range, Refusal, TEXT_MAX};
use std::path::PathBuf;

/// A type that a setting can have. For every value and its setting's range: `parse(show(value)) = value`.
pub(super) trait Value: Sized {
    /// Reads a text, held against the setting's range.
    fn parse(text: &str, range: &Range) -> Result<Self, Refusal>;
    /// The text that `CONFIG GET` prints.
    fn show(&self, range: &Range) -> String;
    /// Reads a text that may change only a part of what is set.
    fn parse_over(&self, text: &str, range: &Range) -> Result<Self, Refusal> {
        Self::parse(text, range)
    }
}

/// The whole numbers.
macro_rules! numbers {
    ($($kind:ty),*) => { $(
        impl Value for $kind {
            fn parse(text: &str, range: &Range) -> Result<$kind, Refusal> {
                let (least, most) = bounds(range);
                <$kind>::try_from(number(text, range)?).map_err(|_| Refusal::Outside(least, most))
            }
            fn show(&self, _: &Range) -> String {
                self.to_string()
            }
        }
    )* };
}

numbers!(u8, u16, u32, u64);

/// The settings that are one of a few words.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$each:meta])* $choice:ident = $word:literal),* $(,)? })*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$each])* $choice),* }

        impl $name {
            /// The words, in the order of the variants.
            pub const WORDS: &[&str] = &[$($word),*];

            /// The word as it stands in the configuration.
            pub fn word(self) -> &'static str {
                match self { $($name::$choice => $word),* }
            }
        }

        impl Value for $name {
            fn parse(text: &str, _: &Range) -> Result<$name, Refusal> {
                $(if text.eq_ignore_ascii_case($word) { return Ok($name::$choice); })*
                Err(Refusal::NoneOf($name::WORDS))
            }
            fn show(&self, _: &Range) -> String {
                self.word().to_string()
            }
        }
    )* };
}

words! {
    /// When a node's log reaches the disk for good; Redis's meaning.
    AppendFsync {
        /// Before each write is acknowledged.
        Always = "always",
        /// Once a second.
        Everysec = "everysec",
        /// When the operating system likes.
        No = "no",
    }
    /// Who may run DEBUG; Redis's words and order.
    DebugCommand {
        /// Nobody.
        No = "no",
        /// Everybody.
        Yes = "yes",
        /// Clients on this machine.
        Local = "local",
    }
    /// The least important kind of line that is logged.
    LogLevel {
        /// Everything.
        Debug = "debug",
        /// Connections, exchanges, and what follows.
        Verbose = "verbose",
        /// What an operator wants to know, and what follows.
        Notice = "notice",
        /// Only what needs someone's attention.
        Warning = "warning",
    }
    /// Where a node keeps its replicas.
    StorageEngine {
        /// On disk, in fjall's log-structured trees.
        Fjall = "fjall",
        /// In memory: all is lost when the process ends.
        Memory = "memory",
    }
    /// What merging does with concurrent values.
    Conflict {
        /// Keeps them all until a write that has seen them.
        Siblings = "siblings",
        /// Keeps the newest.
        Newest = "newest",
    }
}

impl Value for i64 {
    fn parse(text: &str, range: &Range) -> Result<i64, Refusal> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let size = self::digits(digits).filter(|_| !digits.is_empty()).and_then(|size| i64::try_from(size).ok());
        let value = size.map(|size| if negative { -size } else { size }).ok_or(Refusal::NoNumber)?;
        match range {
            Range::AtLeast(least) if value < *least => Err(Refusal::OutsideSigned(*least, i64::MAX)),
            _ => Ok(value),
        }
    }

    fn show(&self, _: &Range) -> String {
        self.to_string()
    }
}

/// A port that follows another one unless it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortChoice {
    /// `auto`: it follows the other one.
    Auto,
    /// This one; 0: none.
    Given(u16),
}

impl Value for PortChoice {
    fn parse(text: &str, range: &Range) -> Result<PortChoice, Refusal> {
        match text {
            _ if text.eq_ignore_ascii_case("auto") => Ok(PortChoice::Auto),
            _ => match text.parse::<u16>().ok().filter(|_| digits(text).is_some()) {
                Some(port) => Ok(PortChoice::Given(port)),
                None => Err(Refusal::Not(*range)),
            },
        }
    }

    fn show(&self, _: &Range) -> String {
        match self {
            PortChoice::Auto => "auto".to_string(),
            PortChoice::Given(port) => port.to_string(),
        }
    }
}

impl Value for bool {
    fn parse(text: &str, _: &Range) -> Result<bool, Refusal> {
        match text {
            _ if text.eq_ignore_ascii_case("yes") => Ok(true),
            _ if text.eq_ignore_ascii_case("no") => Ok(false),
            _ => Err(Refusal::NeitherYesNorNo),
        }
    }

    fn show(&self, _: &Range) -> String {
        if *self { "yes" } else { "no" }.to_string()
    }
}

impl Value for String {
    fn parse(text: &str, range: &Range) -> Result<String, Refusal> {
        let word = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let fits = match range {
            Range::Word(least, most) => (*least..=*most).contains(&text.len()) && text.chars().all(word),
            Range::Text(most) => text.len() <= *most,
            Range::HostName => return host_name(text).map(str::to_string),
            _ => text.is_empty() || is_host(text),
        };
        if fits { Ok(text.to_string()) } else { Err(Refusal::Not(*range)) }
    }

    fn show(&self, _: &Range) -> String {
        self.clone()
    }
}

impl Value for PathBuf {
    fn parse(text: &str, range: &Range) -> Result<PathBuf, Refusal> {
        let fits = !text.is_empty() && text.len() <= TEXT_MAX && !text.contains('\0');
        if fits { Ok(PathBuf::from(text)) } else { Err(Refusal::Not(*range)) }
    }

    fn show(&self, _: &Range) -> String {
        self.display().to_string()
    }
}

impl Value for Vec<String> {
    fn parse(text: &str, range: &Range) -> Result<Vec<String>, Refusal> {
        let refusal = Refusal::Not(*range);
        if text.len() > TEXT_MAX {
            return Err(refusal);
        }
        let items: Vec<String> = match range {
            // Redis's star means every IPv4 address; say it the way sockets do.
            Range::Hosts => {
                text.split_whitespace().map(|host| if host == "*" { "0.0.0.0" } else { host }.to_string()).collect()
            }
            _ if text.trim().is_empty() => Vec::new(),
            _ => text.split(',').map(|endpoint| endpoint.trim().to_string()).collect(),
        };
        let fits = match range {
            Range::Hosts => !items.is_empty() && items.iter().all(|host| is_host(host)),
            _ => items.iter().all(|endpoint| is_endpoint(endpoint)),
        };
        if fits { Ok(items) } else { Err(refusal) }
    }

    fn show(&self, range: &Range) -> String {
        self.join(if *range == Range::Hosts { " " } else { "," })
    }
}

/// The least and the greatest number of a range.
fn bounds(range: &Range) -> (u64, u64) {
    match range {
        Range::Between(least, most) | Range::Memory(least, most) => (*least, *most),
        Range::PowerOfTwo(most) => (1, *most),
        _ => (0, u64::MAX),
    }
}

/// Reads a whole number or an amount of memory and holds it against its range.
fn number(text: &str, range: &Range) -> Result<u64, Refusal> {
    let value = match range {
        Range::Memory(..) => memory(text).ok_or(Refusal::NoMemory)?,
        _ if text.parse::<i64>().is_ok_and(|number| number < 0) => return Err(outside(range)),
        _ => digits(text).ok_or(Refusal::NoNumber)?,
    };
    let (least, most) = bounds(range);
    match range {
        Range::PowerOfTwo(_) if !value.is_power_of_two() || value > most => Err(Refusal::NoPowerOfTwo(most)),
        _ if !(least..=most).contains(&value) => Err(outside(range)),
        _ => Ok(value),
    }
}

fn outside(range: &Range) -> Refusal {
    let (least, most) = bounds(range);
    Refusal::Outside(least, most)
}

/// Digits and nothing else; Rust's own parser would take a plus sign too.
fn digits(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// Redis's memory units: k, m, g are powers of a thousand; kb, mb, gb of 1024. Case does not matter.
pub(super) fn memory(text: &str) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (amount, unit) = text.split_at(split);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1_000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    digits(amount)?.checked_mul(factor)
}

/// Whether a text can be an IP address or a host name. Whether it resolves is found out when it is used.
fn is_host(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_:%".contains(c);
    let address =
        !text.contains(':') || text.split('%').next().is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok());
    !text.is_empty() && text.len() <= 255 && !text.starts_with('-') && text.chars().all(allowed) && address
}

/// A host name as Redis takes it: whether anybody is there under it is not asked.
fn host_name(text: &str) -> Result<&str, Refusal> {
    match text {
        _ if text.len() > HOST_NAME_MAX => Err(Refusal::HostNameLong),
        _ if text.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c)) => Ok(text),
        _ => Err(Refusal::HostNameCharacters),
    }
}

/// Whether a text is host:port; an IPv6 address stands in brackets.
fn is_endpoint(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inside) if inside.contains(':') => inside,
        Some(_) => return false,
        None if host.contains(':') => return false,
        None => host,
    };
    is_host(host) && digits(port).is_some_and(|port| (1..=65535).contains(&port))
}

#[cfg(test)]
mod tests {
    use super::{PortChoice, Refusal, Value, digits, is_endpoint, is_host, memory};
    use crate::config::range::Range;
    use proptest::prelude::proptest;

    #[test]
    fn memory_has_redis_units() {
        let cases = [
            ("0", 0),
            ("17", 17),
            ("1k", 1000),
            ("1KB", 1024),
            ("2Mb", 2 << 20),
            ("3m", 3_000_000),
            ("1gb", 1 << 30),
            ("9B", 9),
        ];
        for (text, bytes) in cases {
            assert_eq!(memory(text), Some(bytes), "{text}");
        }
        for text in ["", "kb", "1tb", "-1", "1.5gb", "1 gb", "99999999999999999999", "18446744073709551615kb"] {
            assert_eq!(memory(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_are_held_against_their_range() {
        assert_eq!(u16::parse("65536", &Range::Between(0, 65535)), Err(Refusal::Outside(0, 65535)));
        assert_eq!(u16::parse("65535", &Range::Between(0, 65535)), Ok(65535));
        assert_eq!(u16::parse("-1", &Range::Between(0, 65535)), Err(Refusal::Outside(0, 65535)));
        for text in ["", "+1", "1 ", "0x1", "one", "99999999999999999999"] {
            assert_eq!(u16::parse(text, &Range::Between(0, 9)), Err(Refusal::NoNumber), "{text}");
        }
        assert_eq!(u16::parse("256", &Range::PowerOfTwo(16384)), Ok(256));
        for text in ["0", "3", "32768"] {
            assert_eq!(u16::parse(text, &Range::PowerOfTwo(16384)), Err(Refusal::NoPowerOfTwo(16384)), "{text}");
        }
        assert_eq!(bool::parse("Yes", &Range::YesNo), Ok(true));
        assert_eq!(bool::parse("true", &Range::YesNo), Err(Refusal::NeitherYesNorNo));
    }

    #[test]
    fn a_port_is_given_or_follows() {
        let parse = |text| PortChoice::parse(text, &Range::PortOrAuto);
        assert_eq!(parse("Auto"), Ok(PortChoice::Auto));
        assert_eq!((parse("0"), parse("7379")), (Ok(PortChoice::Given(0)), Ok(PortChoice::Given(7379))));
        for text in ["", "+1", "65536", "off"] {
            assert_eq!(parse(text), Err(Refusal::Not(Range::PortOrAuto)), "{text}");
        }
    }

    #[test]
    fn hosts_and_endpoints() {
        for good in ["a.example:1", "127.0.0.1:17001", "[::1]:65535", "node-1:9"] {
            assert!(is_endpoint(good), "{good}");
        }
        for bad in ["", "a", "a:", ":1", "a:0", "a:65536", "::1:1", "[a]:1", "a b:1", "a:1:2", "-a:1"] {
            assert!(!is_endpoint(bad), "{bad}");
        }
        assert!(is_host("::") && is_host("fe80::1%eth0") && !is_host("a:b") && !is_host("-::1"));
        let hosts = |text| Vec::<String>::parse(text, &Range::Hosts);
        assert_eq!(hosts(" *  ::1 ").unwrap().show(&Range::Hosts), "0.0.0.0 ::1");
        assert_eq!(hosts(" "), Err(Refusal::Not(Range::Hosts)));
        let endpoints = |text| Vec::<String>::parse(text, &Range::Endpoints);
        assert_eq!(endpoints("a:1, b:2").unwrap().show(&Range::Endpoints), "a:1,b:2");
        assert_eq!(endpoints(""), Ok(vec![]));
        assert_eq!(endpoints("a:1,"), Err(Refusal::Not(Range::Endpoints)));
    }

    #[test]
    fn announced_host_names_are_redis_s() {
        let parse = |text: &str| String::parse(text, &Range::HostName);
        for good in ["", "one.example", "-x", "127.0.0.1", &"a".repeat(255)] {
            assert_eq!(parse(good).as_deref(), Ok(good));
        }
        for bad in ["a_b", "a b", "::1", "é"] {
            assert_eq!(parse(bad), Err(Refusal::HostNameCharacters), "{bad}");
        }
        assert_eq!(parse(&"_".repeat(256)), Err(Refusal::HostNameLong));
        assert_eq!(Refusal::HostNameLong.to_string(), "Hostnames must be less than 256 characters");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_what_is_read_is_shown_again(text: String) {
            for range in [Range::Hosts, Range::Endpoints] {
                if let Ok(list) = Vec::<String>::parse(&text, &range) {
                    assert_eq!(Vec::<String>::parse(&list.show(&range), &range), Ok(list));
                }
            }
            assert_eq!(digits(&text), text.parse().ok().filter(|_| !text.starts_with('+')));
        }
    }
}
