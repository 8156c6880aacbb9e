//! Defaults, then the file, then the flags, then the question whether they fit together.
//!
//! The only place of this module that touches the file system.

use super::flags::{self, Flags};
use super::rewrite::rewritten;
use super::{Config, ConfigError, DevCluster, file};
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

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
    /// `--dev-cluster N`: start these nodes on this machine.
    pub dev_cluster: Option<DevCluster>,
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
    let dev_cluster = dev_cluster.map(|nodes| DevCluster::new(nodes, &overrides)).transpose()?;
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

/// Enters the running settings into the file ([`rewritten`]), atomically and durably: whatever happens, the file is the old
/// one or the new one, whole. Who could read it still can, and nobody else. Blocks.
pub fn store(path: &Path, running: &Config) -> Result<(), ConfigError> {
    let old = read(path)?;
    let new = rewritten(&old, running).map_err(|error| error.in_file(path))?;
    if new == old {
        return Ok(());
    }
    let failed = |why: std::io::Error| ConfigError::Unwritable { path: path.to_path_buf(), why: why.to_string() };
    replace(path, &new).map_err(failed)
}

fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    static REWRITES: AtomicU64 = AtomicU64::new(0);
    // A link stays a link.
    let path = path.canonicalize()?;
    let dir = path.parent().unwrap_or(Path::new("/"));
    let number = REWRITES.fetch_add(1, Ordering::Relaxed);
    let temporary = dir.join(format!(".dynamis-rewrite-{}-{number}.tmp", std::process::id()));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.set_permissions(fs::metadata(&path)?.permissions())?;
        file.sync_all()?;
        fs::rename(&temporary, &path)
    })();
    if written.is_err() {
        // The error is told already; what is left over is only litter.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::{Asked, DevCluster, FILE_BYTES_MAX, Loaded, load};
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
        assert_eq!(
            (loaded.dev_cluster, loaded.file.as_deref()),
            (Some(DevCluster { nodes: 2, first_port: 7001 }), Some(file.path()))
        );
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
        let ignored = run(&["--dev-cluster", "3", "--cluster-view-port", "0"]).unwrap_err();
        assert!(ignored.starts_with("--cluster-view-port cannot be given with --dev-cluster"), "{ignored}");
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

    #[test]
    fn a_rewritten_file_keeps_its_notes_its_rights_and_its_link() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("node.toml"), dir.path().join("link.toml"));
        std::fs::write(&path, "# note\ntimeout = 1\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let running = crate::config::Config { timeout: 9, ..crate::config::Config::default() };
        super::store(&link, &running).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "# note\ntimeout = 9\n");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "nothing else is left");
        std::fs::write(&path, "prot = 1").unwrap();
        assert!(super::store(&path, &running).unwrap_err().to_string().contains("nearest known one is port"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "prot = 1");
    }
}
