//! What values a setting takes: as a rule for the parser and as words for people, so that the two cannot differ.

use std::fmt::{Display, Formatter};

/// What values a setting takes. `Display` gives the words of the manual and of `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// A whole number from the first to the second, both included.
    Between(u64, u64),
    /// A power of two from 1 to this.
    PowerOfTwo(u64),
    /// An amount of memory in bytes, with Redis's units: k, kb, m, mb, g, gb.
    Memory(u64, u64),
    /// A whole number from this on.
    AtLeast(i64),
    /// Redis's classes of clients, each with hard and soft bytes and seconds.
    OutputLimits,
    /// Numbers from 0 to 100, separated by spaces; may be empty.
    Percentiles,
    /// A port, 0 for none, or `auto`.
    PortOrAuto,
    /// yes or no.
    YesNo,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Letters, digits, `.`, `_` and `-`: from so many to so many of them.
    Word(usize, usize),
    /// Any text of at most so many bytes.
    Text(usize),
    /// A path of the file system.
    Path,
    /// One IP address or host name, or nothing.
    Host,
    /// A host name as Redis announces it, or nothing.
    HostName,
    /// IP addresses or host names, separated by spaces; at least one.
    Hosts,
    /// host:port, separated by commas; may be empty.
    Endpoints,
}

/// The most bytes a path, or one list of addresses, may have.
pub const TEXT_MAX: usize = 4096;

/// The most bytes of a host name.
pub const HOST_NAME_MAX: usize = 255;

impl Display for Range {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Range::Between(least, most) => write!(f, "{least} to {most}"),
            Range::PowerOfTwo(most) => write!(f, "a power of two, at most {most}"),
            Range::Memory(least, most) => {
                write!(f, "{} to {}; units k, kb, m, mb, g, gb as in Redis", memory(*least), memory(*most))
            }
            Range::AtLeast(least) => write!(f, "{least} and above"),
            Range::OutputLimits => write!(f, "normal, replica or pubsub, hard bytes, soft bytes, seconds; and so on"),
            Range::Percentiles => write!(f, "numbers from 0 to 100, separated by spaces"),
            Range::PortOrAuto => write!(f, "0 to 65535, or auto"),
            Range::YesNo => write!(f, "yes or no"),
            Range::OneOf(words) => write!(f, "{}", words.join(", ")),
            Range::Word(0, most) => write!(f, "at most {most} letters, digits, '.', '_', '-'"),
            Range::Word(least, most) => write!(f, "{least} to {most} letters, digits, '.', '_', '-'"),
            Range::Text(most) => write!(f, "any text of at most {most} bytes"),
            Range::Path => write!(f, "a path"),
            Range::Host => write!(f, "an IP address or host name, or nothing"),
            Range::HostName => write!(f, "at most {HOST_NAME_MAX} letters, digits, '-', '.'"),
            Range::Hosts => write!(f, "IP addresses or host names, separated by spaces"),
            Range::Endpoints => write!(f, "host:port, separated by commas, or nothing"),
        }
    }
}

/// An amount of memory in the largest unit that divides it.
fn memory(bytes: u64) -> String {
    match bytes {
        0 => "0".to_string(),
        _ if bytes.is_multiple_of(1 << 30) => format!("{}gb", bytes >> 30),
        _ if bytes.is_multiple_of(1 << 20) => format!("{}mb", bytes >> 20),
        _ => bytes.to_string(),
    }
}

/// Why a text is no value of a setting. The words are Redis's where Redis has them, since clients match on them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No whole number.
    #[error("argument couldn't be parsed into an integer")]
    NoNumber,
    /// A whole number outside the range.
    #[error("argument must be between {0} and {1} inclusive")]
    Outside(u64, u64),
    /// The same, where numbers may be negative.
    #[error("argument must be between {0} and {1} inclusive")]
    OutsideSigned(i64, i64),
    /// Output limits come in fours.
    #[error("Wrong number of arguments in buffer limit configuration.")]
    OutputLimitWords,
    /// No class of clients.
    #[error("Invalid client class specified in buffer limit configuration.")]
    OutputLimitClass,
    /// No number of bytes or seconds.
    #[error("Error in hard, soft or soft_seconds setting in buffer limit configuration.")]
    OutputLimitNumber,
    /// A percentile that is no number, or none from 0 to 100.
    #[error("Invalid latency-tracking-info-percentiles parameters")]
    NoPercentile,
    /// The same, for a number.
    #[error("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]")]
    PercentileOutside,
    /// No power of two, or too large a one.
    #[error("argument must be a power of two, at most {0}")]
    NoPowerOfTwo(u64),
    /// No amount of memory.
    #[error("argument must be a memory value")]
    NoMemory,
    /// Neither yes nor no.
    #[error("argument must be 'yes' or 'no'")]
    NeitherYesNorNo,
    /// None of the known words.
    #[error("argument(s) must be one of the following: {}", .0.join(", "))]
    NoneOf(&'static [&'static str]),
    /// Not as many words as there must be.
    #[error("wrong number of arguments")]
    WrongCount,
    /// No scores for the system's choice of whom to kill.
    #[error("Invalid oom-score-adj-values, elements must be between -2000 and 2000.")]
    NoOomScores,
    /// No host name: it is too long.
    #[error("Hostnames must be less than {} characters", HOST_NAME_MAX + 1)]
    HostNameLong,
    /// No host name: it has other characters.
    #[error("Hostnames may only contain alphanumeric characters, hyphens or dots")]
    HostNameCharacters,
    /// A text, host or list that breaks its range.
    #[error("argument must be {0}")]
    Not(Range),
}
