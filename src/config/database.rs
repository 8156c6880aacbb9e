//! `[[database]]`: what one database of a *new* cluster does differently from the rest.
//!
//! Each service of the paper had a Dynamo of its own with its own N, R, W and way to settle conflicts (§2.3, §6); here
//! each of Redis's databases has. Only the node that founds a cluster reads these tables; from then on the policies are
//! cluster state, replicated with the member map and changed by `DYN.DATABASE`.

use super::range::{Range, Refusal};
use super::value::{Conflict, Value};
use super::{Config, ConfigError, DATABASES};

/// One `[[database]]` table. What it leaves out is as at the top of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatabaseSettings {
    /// Which database: 0 to 15.
    pub index: u8,
    /// Copies of each key.
    pub n: Option<u8>,
    /// Replicas a read waits for.
    pub r: Option<u8>,
    /// Replicas a write waits for.
    pub w: Option<u8>,
    /// How many of those must have fsynced.
    pub dw: Option<u8>,
    /// Whether fallbacks count.
    pub sloppy: Option<bool>,
    /// What merging does with concurrent values.
    pub conflict: Option<Conflict>,
}

impl DatabaseSettings {
    /// The keys of a table: the index, then settings that mean what they mean at the top of the file.
    pub const KEYS: &[&str] = &["index", "n", "r", "w", "dw", "sloppy", "conflict"];

    /// Reads one table's pairs.
    pub(super) fn read<'a>(pairs: impl Iterator<Item = (&'a str, String)>) -> Result<DatabaseSettings, ConfigError> {
        let mut database = DatabaseSettings::default();
        let mut index = None;
        for (key, text) in pairs {
            match key {
                "index" => index = Some(read_index(&text)?),
                _ if Self::KEYS.contains(&key) => database.take(key, &text)?,
                _ => return Err(ConfigError::mistyped("key of [[database]]", key, Self::KEYS.iter().copied())),
            }
        }
        let missing =
            || ConfigError::Database("says nothing about which database it is; add index = 0 to 15".to_string());
        Ok(DatabaseSettings { index: index.ok_or_else(missing)?, ..database })
    }

    /// Takes one setting, by the same rule as at the top of the file.
    fn take(&mut self, key: &str, text: &str) -> Result<(), ConfigError> {
        let mut parsed = Config::default();
        parsed.set(key, text)?;
        match key {
            "n" => self.n = Some(parsed.n),
            "r" => self.r = Some(parsed.r),
            "w" => self.w = Some(parsed.w),
            "dw" => self.dw = Some(parsed.dw),
            "sloppy" => self.sloppy = Some(parsed.sloppy),
            _ => self.conflict = Some(parsed.conflict),
        }
        Ok(())
    }

    /// The settings with this table's laid over them.
    pub fn laid_over(&self, config: &Config) -> Config {
        Config {
            n: self.n.unwrap_or(config.n),
            r: self.r.unwrap_or(config.r),
            w: self.w.unwrap_or(config.w),
            dw: self.dw.unwrap_or(config.dw),
            sloppy: self.sloppy.unwrap_or(config.sloppy),
            conflict: self.conflict.unwrap_or(config.conflict),
            ..config.clone()
        }
    }
}

fn read_index(text: &str) -> Result<u8, ConfigError> {
    let range = Range::Between(0, u64::from(DATABASES) - 1);
    u8::parse(text, &range).map_err(|why: Refusal| ConfigError::refused("index", text, why))
}
