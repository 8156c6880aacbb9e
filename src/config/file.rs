//! The file: TOML text to settings.
//!
//! Every value becomes the text that a flag would have, and goes the same way from there. TOML's own `true` and `false`
//! are yes and no, and a number may stand where a text like "512mb" may.

use super::database::DatabaseSettings;
use super::{Config, ConfigError};
use toml::{Table, Value};

/// The key of the tables that seed a new cluster's policies.
const DATABASE: &str = "database";

/// Reads a file's text over the defaults. Contradictions are not looked for yet: flags may still settle them.
pub fn parse(text: &str) -> Result<Config, ConfigError> {
    let table: Table = text.parse().map_err(|error| ConfigError::Syntax(syntax(text, &error)))?;
    let mut config = Config::default();
    for (key, value) in &table {
        if key == DATABASE {
            config.databases = databases(value)?;
        } else if Config::names().any(|name| name == key) {
            config.set(key, &plain(key, value)?)?;
        } else {
            return Err(ConfigError::mistyped("key", key, Config::names().chain([DATABASE])));
        }
    }
    Ok(config)
}

/// The parser's words and the line, on one line.
fn syntax(text: &str, error: &toml::de::Error) -> String {
    let words = error.message().replace('\n', "; ");
    match error.span().and_then(|span| text.get(..span.start)) {
        Some(before) => format!("line {}: {words}", before.matches('\n').count() + 1),
        None => words,
    }
}

/// Reads all `[[database]]` tables.
fn databases(value: &Value) -> Result<Vec<DatabaseSettings>, ConfigError> {
    let wrong = || ConfigError::Database("must be a list of tables: write [[database]], with two brackets".to_string());
    let tables = value.as_array().ok_or_else(wrong)?;
    tables.iter().map(|each| database(each.as_table().ok_or_else(wrong)?)).collect()
}

fn database(table: &Table) -> Result<DatabaseSettings, ConfigError> {
    let mut pairs = Vec::with_capacity(table.len());
    for (key, value) in table {
        // A mistyped key is the better news, even if its value is of no use either.
        pairs.push((
            key.as_str(),
            if DatabaseSettings::KEYS.contains(&key.as_str()) { plain(key, value)? } else { String::new() },
        ));
    }
    DatabaseSettings::read(pairs.into_iter())
}

/// The text a flag would have.
fn plain(key: &str, value: &Value) -> Result<String, ConfigError> {
    let kind = match value {
        Value::String(text) => return Ok(text.clone()),
        Value::Integer(number) => return Ok(number.to_string()),
        Value::Boolean(yes) => return Ok(if *yes { "yes" } else { "no" }.to_string()),
        Value::Float(_) => "a number with a fraction",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    };
    Err(ConfigError::Kind { name: key.to_string(), kind })
}

#[cfg(test)]
mod tests {
    use super::parse;
    use crate::config::{Config, Conflict, DatabaseSettings};

    fn refused(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn values_come_as_numbers_texts_and_truths() {
        let text = "port = 7001\nsloppy = false\ncache-bytes = '1mb'\nproto-max-bulk-len = 2000000\nw = '3'\n\
            appendonly = true";
        let config = parse(text).unwrap();
        let expected = Config {
            port: 7001,
            sloppy: false,
            cache_bytes: 1 << 20,
            proto_max_bulk_len: 2_000_000,
            w: 3,
            ..Config::default()
        };
        assert_eq!(config, expected);
        assert_eq!(parse(""), Ok(Config::default()));
    }

    #[test]
    fn databases_are_read() {
        let text = "[[database]]\nindex = 1\nn = 1\nr = 1\nw = 1\n\
            [[database]]\nindex = 15\nconflict = 'newest'\nsloppy = 'no'";
        let config = parse(text).unwrap();
        let first = DatabaseSettings { index: 1, n: Some(1), r: Some(1), w: Some(1), ..Default::default() };
        let second =
            DatabaseSettings { index: 15, conflict: Some(Conflict::Newest), sloppy: Some(false), ..Default::default() };
        assert_eq!(config.databases, [first, second]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let cases = [
            ("prot = 1", "there is no key prot; the nearest known one is port"),
            ("Port = 1", "there is no key Port; the nearest known one is port"),
            ("port = 99999", "port cannot be \"99999\": argument must be between 0 and 65535 inclusive"),
            ("port = 1.5", "port is a number with a fraction; write a number, yes or no, or a text in quotes"),
            ("seeds = ['a:1']", "seeds is a list; write a number, yes or no, or a text in quotes"),
            (
                "save = '900 1'",
                "save is always \"\" here and cannot be set to anything else: there are no snapshots by time; the log \
                 holds everything",
            ),
            ("[database]\nindex = 1", "[[database]] must be a list of tables: write [[database]], with two brackets"),
            ("[[database]]\nn = 1", "[[database]] says nothing about which database it is; add index = 0 to 15"),
            ("[[database]]\nindex = 16", "index cannot be \"16\": argument must be between 0 and 15 inclusive"),
            ("[[database]]\nindx = []", "there is no key of [[database]] indx; the nearest known one is index"),
            ("[[database]]\nport = 1", "there is no key of [[database]] port; the nearest known one is r"),
        ];
        for (text, sentence) in cases {
            assert_eq!(refused(text), sentence);
        }
        assert!(refused("port = ").starts_with("not a TOML file: line 1: "));
        assert!(refused("port = 1\nport = 2").contains("duplicate key"));
    }
}
