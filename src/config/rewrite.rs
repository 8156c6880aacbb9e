//! The configuration file, rewritten to say what the running node does (`CONFIG REWRITE`).
//!
//! Like a fair copy of a form: what the hand has changed since is entered where it belongs, and everything else, the notes
//! in the margin included, stays as it was written.
//!
//! # Contract
//! - [`rewritten`] is pure: the file's text in, its new text out. Loaded again, the new text gives the running settings.
//! - A key whose value already means what runs is not touched ("512mb" stays "512mb"). A key that is missing is added at the
//!   end of the plain keys, if the running value is not the default. Comments, order and `[[database]]` tables stay.
//! - What has no effect here ([`super::inert`]) is not written.

use super::table::SETTINGS;
use super::{Config, ConfigError, file};
use toml_edit::{DocumentMut, Item, Value};

/// The file's text with the running settings entered. An error when the file can no longer be understood: it was changed
/// by hand since the start, and is left to that hand.
pub fn rewritten(text: &str, running: &Config) -> Result<String, ConfigError> {
    let written = file::parse(text)?;
    let mut document: DocumentMut =
        text.parse().map_err(|error: toml_edit::TomlError| ConfigError::Syntax(error.message().replace('\n', "; ")))?;
    for setting in SETTINGS {
        let [old, new] = [&written, running].map(|config| (setting.get)(config, &setting.range));
        if old != new {
            enter(&mut document, setting.name, &new);
        }
    }
    Ok(document.to_string())
}

fn enter(document: &mut DocumentMut, name: &str, text: &str) {
    let mut value = match text.parse::<i64>() {
        // "007" may be a password: only what is printed the same is a number.
        Ok(number) if number.to_string() == text => Value::from(number),
        _ => Value::from(text),
    };
    match document.get_mut(name).and_then(Item::as_value_mut) {
        // The blanks before and the comment behind it stay.
        Some(old) => {
            *value.decor_mut() = old.decor().clone();
            *old = value;
        }
        None => {
            document.insert(name, Item::Value(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn running(pairs: &[(&str, &str)]) -> Config {
        let mut config = Config::default();
        pairs.iter().for_each(|(name, text)| config.set(name, text).unwrap());
        config
    }

    #[test]
    fn what_changed_is_entered_and_all_else_stays() {
        let text = "# A note.\nport = 7001   # ours\n\nproto-max-bulk-len = '512mb' # as it comes\nsloppy = true\n\n# More.\n\
            [[database]]\nindex = 1\nn = 1\nr = 1\nw = 1 # alone\n";
        let mut config = file::parse(text).unwrap();
        assert_eq!(rewritten(text, &config).unwrap(), text);
        for (name, value) in [("port", "7002"), ("sloppy", "no"), ("timeout", "30"), ("requirepass", "a \"b\"")] {
            config.set(name, value).unwrap();
        }
        let expected = "# A note.\nport = 7002   # ours\n\nproto-max-bulk-len = '512mb' # as it comes\nsloppy = \"no\"\n\
            requirepass = 'a \"b\"'\ntimeout = 30\n\n# More.\n[[database]]\nindex = 1\nn = 1\nr = 1\nw = 1 # alone\n";
        let again = rewritten(text, &config).unwrap();
        assert_eq!(again, expected);
        assert_eq!(file::parse(&again), Ok(config));
    }

    #[test]
    fn an_empty_file_gets_what_is_no_default() {
        assert_eq!(rewritten("", &Config::default()).unwrap(), "");
        assert_eq!(rewritten("", &running(&[("maxclients", "7"), ("hz", "50")])).unwrap(), "maxclients = 7\n");
        assert_eq!(rewritten("maxclients = 7", &Config::default()).unwrap(), "maxclients = 10000\n");
    }

    #[test]
    fn a_password_of_digits_keeps_them_all() {
        let config = running(&[("requirepass", "007")]);
        assert_eq!(file::parse(&rewritten("", &config).unwrap()), Ok(config));
    }

    #[test]
    fn a_file_broken_since_is_left_alone() {
        assert!(rewritten("port = ", &Config::default()).is_err());
        assert!(rewritten("prot = 1", &Config::default()).is_err());
    }

    proptest! {
        #[test]
        fn the_new_file_says_what_runs(password in "[ -~é\n]{0,20}", timeout in 0u32..100, backlog in 1u32..100, sloppy: bool) {
            let mut config = running(&[("timeout", &timeout.to_string()), ("requirepass", &password)]);
            let text = format!("tcp-backlog = {backlog} # kept\n# kept, too\nsloppy = {sloppy}\n");
            config.set("tcp-backlog", "9").unwrap();
            let new = rewritten(&text, &config).unwrap();
            prop_assert_eq!(file::parse(&new), Ok(config));
            prop_assert!(new.contains(" # kept\n# kept, too\n"));
        }
    }
}
