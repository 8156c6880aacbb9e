//! What a command takes, as `COMMAND DOCS` describes it and redis-cli shows it in hints.

/// The kind of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any bytes.
    String,
    /// A whole number.
    Integer,
    /// A number with a fraction.
    Double,
    /// A key.
    Key,
    /// A glob pattern.
    Pattern,
    /// A point in time.
    UnixTime,
    /// A fixed word that stands for itself.
    PureToken,
    /// One of the arguments inside.
    OneOf,
    /// All of the arguments inside.
    Block,
}

impl Kind {
    /// Its name in `COMMAND DOCS`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::String => "string",
            Kind::Integer => "integer",
            Kind::Double => "double",
            Kind::Key => "key",
            Kind::Pattern => "pattern",
            Kind::UnixTime => "unix-time",
            Kind::PureToken => "pure-token",
            Kind::OneOf => "oneof",
            Kind::Block => "block",
        }
    }
}

/// One argument.
#[derive(Clone, Copy, Debug)]
pub struct Argument {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// The fixed word before it.
    pub token: Option<&'static str>,
    /// Whether it may be left out.
    pub optional: bool,
    /// Whether it may come several times.
    pub multiple: bool,
    /// Whether its fixed word comes again each time.
    pub multiple_token: bool,
    /// Of a key: which of the command's key specifications speaks of it.
    pub specification: u8,
    /// What is inside.
    pub inside: &'static [Argument],
}

impl Argument {
    const fn of(name: &'static str, kind: Kind) -> Argument {
        Argument {
            name,
            kind,
            token: None,
            optional: false,
            multiple: false,
            multiple_token: false,
            specification: 0,
            inside: &[],
        }
    }

    /// It may be left out.
    pub const fn optional(mut self) -> Argument {
        self.optional = true;
        self
    }

    /// It may come several times.
    pub const fn multiple(mut self) -> Argument {
        self.multiple = true;
        self
    }

    /// It may come several times, each time with its fixed word.
    pub const fn multiple_with_token(mut self) -> Argument {
        self.multiple = true;
        self.multiple_token = true;
        self
    }

    /// It is a key of the command's second kind of keys.
    pub const fn of_second_keys(mut self) -> Argument {
        self.specification = 1;
        self
    }

    /// A fixed word stands before it.
    pub const fn after(mut self, token: &'static str) -> Argument {
        self.token = Some(token);
        self
    }
}

/// Any bytes.
pub const fn string(name: &'static str) -> Argument {
    Argument::of(name, Kind::String)
}

/// A whole number.
pub const fn integer(name: &'static str) -> Argument {
    Argument::of(name, Kind::Integer)
}

/// A number with a fraction.
pub const fn double(name: &'static str) -> Argument {
    Argument::of(name, Kind::Double)
}

/// A key.
pub const fn key(name: &'static str) -> Argument {
    Argument::of(name, Kind::Key)
}

/// A glob pattern.
pub const fn pattern(name: &'static str) -> Argument {
    Argument::of(name, Kind::Pattern)
}

/// A point in time.
pub const fn unix_time(name: &'static str) -> Argument {
    Argument::of(name, Kind::UnixTime)
}

/// A fixed word.
pub const fn token(name: &'static str, token: &'static str) -> Argument {
    Argument::of(name, Kind::PureToken).after(token)
}

/// One of these.
pub const fn one_of(name: &'static str, inside: &'static [Argument]) -> Argument {
    Argument { inside, ..Argument::of(name, Kind::OneOf) }
}

/// All of these.
pub const fn block(name: &'static str, inside: &'static [Argument]) -> Argument {
    Argument { inside, ..Argument::of(name, Kind::Block) }
}
