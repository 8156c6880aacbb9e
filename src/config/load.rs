//! Defaults, then the file, then the flags, then the question whether they fit together.
//!
//! The only place of this module that touches the file system.

use super::flags::{self, Flags};
use super::{Config, ConfigError, file};
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The largest file that is read; the whole manual has a fiftieth of it.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// Print this text and end: `--help`, `--version`.
    Print(String),
    /// Run with this.
    Run(Box<Loaded>),
}

/// A configuration that is complete and free of contradictions, and where it came from.
#[derive(Clone, PartialEq)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// `--dev-cluster N`: start so many nodes on this machine.
    pub dev_cluster: Option<u16>,
    /// The file that was read; `INFO` names it.
    pub file: Option<PathBuf>,
    /// The flags, name and text, to hand on to the nodes of a dev cluster.
    pub overrides: Vec<(String, String)>,
}

impl std::fmt::Debug for Loaded {
    /// Prints only the names of the flags: a value may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let flags: Vec<_> = self.overrides.iter().map(|(name, _)| name).collect();
        let Loaded { config, dev_cluster, file, .. } = self;
        write!(f, "Loaded {{ {config:?}, dev_cluster: {dev_cluster:?}, file: {file:?}, flags: {flags:?} }}")
    }
}

/// Reads the command line (with the program's name first, as the system gives it) and the file it names.
pub fn load(args: impl Iterator<Item = OsString>) -> Result<Asked, ConfigError> {
    let (file, dev_cluster, overrides) = match flags::parse(args)? {
        Flags::Print(text) => return Ok(Asked::Print(text)),
        Flags::Run { file, dev_cluster, overrides } => (file, dev_cluster, overrides),
    };
    let mut config = match &file {
        Some(path) => file::parse(&read(path)?).map_err(|error| error.in_file(path))?,
        None => Config::default(),
    };
    for (name, text) in &overrides {
        config.set(name, text)?;
    }
    config.check()?;
    Ok(Asked::Run(Box::new(Loaded { config, dev_cluster, file, overrides })))
}

/// Reads a file of text, as far as one may be long.
fn read(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |why: String| ConfigError::Unreadable { path: path.to_path_buf(), why };
    let mut text = String::new();
    let opened = std::fs::File::open(path).map_err(|error| unreadable(error.to_string()))?;
    let length =
        opened.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(|error| unreadable(error.to_string()))?;
    if length as u64 > FILE_BYTES_MAX {
        return Err(unreadable(format!("it is longer than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::{Asked, FILE_BYTES_MAX, Loaded, load};
    use std::io::Write;

    fn run(args: &[&str]) -> Result<Loaded, String> {
        match load(std::iter::once("dynamis-server").chain(args.iter().copied()).map(Into::into)) {
            Ok(Asked::Run(loaded)) => Ok(*loaded),
            Ok(Asked::Print(text)) => Err(text),
            Err(error) => Err(error.to_string()),
        }
    }

    fn written(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn flags_override_the_file_and_the_file_the_defaults() {
        let file = written("port = 7001\nr = 4");
        let path = file.path().to_str().unwrap();
        let loaded = run(&[path, "--r", "3", "--w", "1", "--dev-cluster", "2"]).unwrap();
        let config = &loaded.config;
        assert_eq!((config.port, config.n, config.r, config.w), (7001, 3, 3, 1));
        assert_eq!((loaded.dev_cluster, loaded.file.as_deref()), (Some(2), Some(file.path())));
        assert_eq!(loaded.overrides, [("r", "3"), ("w", "1")].map(|(name, text)| (name.to_string(), text.to_string())));
        assert!(run(&[path]).unwrap_err().starts_with("r (4) must not exceed n (3)"));
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        let file = written("prot = 1");
        let path = file.path().to_str().unwrap();
        assert_eq!(run(&[path]).unwrap_err(), format!("{path}: there is no key prot; the nearest known one is port"));
        assert!(
            run(&["/nowhere/at/all.toml"])
                .unwrap_err()
                .starts_with("the configuration file /nowhere/at/all.toml cannot be read: ")
        );
        let long = written(&"#\n".repeat(FILE_BYTES_MAX as usize));
        assert!(run(&[long.path().to_str().unwrap()]).unwrap_err().ends_with("it is longer than 1048576 bytes"));
        assert!(run(&["--port", "x"]).unwrap_err().starts_with("port cannot be \"x\""));
    }

    #[test]
    fn secrets_are_not_printed() {
        let loaded = run(&["--requirepass", "open-sesame"]).unwrap();
        assert_eq!(loaded.config.requirepass, "open-sesame");
        assert!(!format!("{loaded:?}").contains("sesame"));
        let refused = run(&["--cluster-secret", &"sesame".repeat(100)]).unwrap_err();
        assert_eq!(refused, "cluster-secret cannot be \"(hidden)\": argument must be any text of at most 512 bytes");
    }
}
