//! What can be wrong with a configuration, in sentences for the person who wrote it.

use super::range::Refusal;
use std::path::{Path, PathBuf};

/// How much of an offending text an error repeats; the rest tells nobody more, and may be huge.
const QUOTED_CHARS_MAX: usize = 64;

/// A configuration that is refused. Nothing has been changed, opened or started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A name nobody knows. `CONFIG SET` and its kin.
    #[error("there is no setting {name}")]
    Unknown {
        /// The name, shortened.
        name: String,
    },
    /// A key of the file, or a flag, that nobody knows.
    #[error("there is no {kind} {name}; the nearest known one is {nearest}")]
    Mistyped {
        /// `key`, `flag`, or `key of [[database]]`.
        kind: &'static str,
        /// The name, shortened.
        name: String,
        /// The known name that takes the fewest changes.
        nearest: String,
    },
    /// A text that is no value of its setting.
    #[error("{name} cannot be {text:?}: {why}")]
    Refused {
        /// The setting.
        name: String,
        /// The text, shortened.
        text: String,
        /// What is wrong with it.
        why: Refusal,
    },
    /// The setting can only be given at start.
    #[error("{name} cannot change while the node runs; change it in the file and restart")]
    Immutable {
        /// The setting.
        name: &'static str,
    },
    /// A fact of this server that no configuration changes.
    #[error("{name} is always {value:?} here and cannot be set to anything else: {why}")]
    Fixed {
        /// The fact.
        name: &'static str,
        /// Its one value.
        value: &'static str,
        /// Why it is so.
        why: &'static str,
    },
    /// Settings that are allowed alone and contradict each other.
    #[error("{0}")]
    Contradiction(String),
    /// A `[[database]]` table that cannot be used.
    #[error("[[database]] {0}")]
    Database(String),
    /// A value of a kind that no setting has: a float, a date, a list, a table.
    #[error("{name} is {kind}; write a number, yes or no, or a text in quotes")]
    Kind {
        /// The key.
        name: String,
        /// What was found, with its article.
        kind: &'static str,
    },
    /// The file is not TOML.
    #[error("not a TOML file: {0}")]
    Syntax(String),
    /// Something is wrong in that file.
    #[error("{}: {why}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        why: Box<ConfigError>,
    },
    /// The file cannot be read.
    #[error("the configuration file {} cannot be read: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
    /// The file cannot be written.
    #[error("the configuration file {} cannot be written: {why}; it is as it was", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
    /// The command line cannot be understood.
    #[error("{0}; --help lists all flags")]
    Usage(String),
}

impl ConfigError {
    pub(super) fn unknown(name: &str) -> ConfigError {
        ConfigError::Unknown { name: shortened(name) }
    }

    pub(super) fn refused(name: &str, text: &str, why: Refusal) -> ConfigError {
        ConfigError::Refused { name: name.to_string(), text: shortened(text), why }
    }

    /// A name nobody knows, with the known one that takes the fewest changes.
    pub(super) fn mistyped<'a>(kind: &'static str, name: &str, known: impl Iterator<Item = &'a str>) -> ConfigError {
        let name = shortened(name);
        let nearest = known.min_by_key(|known| strsim::damerau_levenshtein(&name, known)).unwrap_or_default();
        ConfigError::Mistyped { kind, nearest: nearest.to_string(), name }
    }

    pub(super) fn in_file(self, path: &Path) -> ConfigError {
        ConfigError::InFile { path: path.to_path_buf(), why: Box::new(self) }
    }

    /// The words that follow `ERR CONFIG SET failed (possibly related to argument '…') - `; Redis's where it has them.
    pub fn reason(&self) -> String {
        match self {
            ConfigError::Refused { why, .. } => why.to_string(),
            ConfigError::Immutable { .. } => "can't set immutable config".to_string(),
            ConfigError::Fixed { value, why, .. } => {
                format!("can't set immutable config: it is always '{value}' here, for {why}")
            }
            other => other.to_string(),
        }
    }
}

/// The first characters of a text, and a sign that there were more.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(QUOTED_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::ConfigError;

    #[test]
    fn the_nearest_name_is_the_one_with_fewest_changes() {
        let known = ["port", "bind", "cluster-port"];
        for (typed, nearest) in [("prot", "port"), ("cluster_port", "cluster-port"), ("bnd", "bind")] {
            let error = ConfigError::mistyped("key", typed, known.into_iter());
            assert_eq!(error.to_string(), format!("there is no key {typed}; the nearest known one is {nearest}"));
        }
    }

    #[test]
    fn a_huge_text_is_not_repeated() {
        let huge = "é".repeat(1 << 20);
        assert!(ConfigError::unknown(&huge).to_string().len() < 200);
        assert!(ConfigError::mistyped("key", &huge, ["port"].into_iter()).to_string().len() < 250);
    }
}
