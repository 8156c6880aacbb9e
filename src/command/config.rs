//! CONFIG: reading and turning this node's switches while it runs.
//!
//! Contract: SET takes all pairs or none: they are tried on a copy, which is swapped in when the last one was taken and
//! nothing contradicts anything. GET shows each setting once, however many patterns match it. Of Redis's names that are no
//! settings here some have one true value and refuse others ([`crate::config::fixed`]), and some may be set to anything
//! without effect ([`crate::config::inert`]). What says where this node is to be found (`cluster-announce-…`) is announced to
//! all members before it holds. REWRITE enters what runs into the file the node was started with.

use super::step::Step;
use super::{Asked, Server, done, help_lines, text};
use crate::config::{Config, load};
use crate::glob;
use crate::membership::whereabouts::Whereabouts;
use crate::resp::reply::Reply;
use crate::world::spawn_blocking;
use bytes::Bytes;
use std::sync::Arc;

/// `CONFIG GET pattern …`
pub fn get(asked: &mut Asked, words: &[Bytes]) -> Step {
    let config = asked.server.config.load();
    let shown = Config::names()
        .filter(|name| words[2..].iter().any(|pattern| glob::matches(pattern, name.as_bytes(), true)))
        .filter_map(|name| Some((Reply::text(name), Reply::text(config.get(name)?))));
    done(Reply::Map(shown.collect()))
}

/// `CONFIG SET name value …`
pub fn set(asked: &mut Asked, words: &[Bytes]) -> Step {
    let before = asked.server.config.load_full();
    match changed(&before, &words[2..]) {
        Err(refusal) => done(refusal),
        Ok(after) if Whereabouts::of(&after) != Whereabouts::of(&before) => {
            let (server, pairs) = (asked.server.clone(), words[2..].to_vec());
            Step::Wait(Box::pin(async move {
                // Also when the client goes away meanwhile: what all are told must be what is set here.
                let told = tokio::spawn(async move {
                    match announce(&server, &pairs).await {
                        Ok(()) => Reply::Ok,
                        Err(refusal) => refusal,
                    }
                });
                told.await.unwrap_or_else(|_| Reply::error("ERR the node is stopping"))
            }))
        }
        Ok(after) => {
            take(asked.server, after);
            done(Reply::Ok)
        }
    }
}

fn take(server: &Server, after: Config) {
    (server.apply)(&after);
    server.config.store(Arc::new(after));
}

/// Changes settings of which some say where this node is to be found: they hold once the member list says the same.
async fn announce(server: &Server, pairs: &[Bytes]) -> Result<(), Reply> {
    // Two at once would each know only half of what is to be announced.
    let _turn = server.announcing.lock().await;
    let whereabouts = Whereabouts::of(&changed(&server.config.load(), pairs)?);
    if let Err(why) = server.coordinator.membership().announce(whereabouts).await {
        let name = pairs.iter().step_by(2).map(|name| text(name)).find(|name| is_announced(name)).unwrap_or_default();
        return Err(failed(&name, &why));
    }
    // Other settings may have changed meanwhile.
    take(server, changed(&server.config.load(), pairs)?);
    Ok(())
}

fn is_announced(name: &str) -> bool {
    name.to_ascii_lowercase().starts_with("cluster-announce-")
}

fn failed(name: &str, why: &str) -> Reply {
    Reply::error(format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}"))
}

/// The settings with all pairs changed.
fn changed(before: &Config, pairs: &[Bytes]) -> Result<Config, Reply> {
    if !pairs.len().is_multiple_of(2) {
        return Err(super::arguments::syntax_error());
    }
    let mut names: Vec<String> = Vec::new();
    // The first pair that cannot be taken speaks, as in Redis; only then are the values looked at.
    for pair in pairs.chunks(2) {
        let (given, name) = (text(&pair[0]), text(&pair[0]).to_lowercase());
        match Config::mutable(&name) {
            None => {
                let refusal = format!("ERR Unknown option or number of arguments for CONFIG SET - '{given}'");
                return Err(Reply::error(refusal));
            }
            // A fact may be stated: whether it is the true one, its value tells.
            Some(false) if !Config::is_fixed(&name) => return Err(failed(&given, "can't set immutable config")),
            Some(_) if names.contains(&name) => return Err(failed(&given, "duplicate parameter")),
            Some(_) => names.push(name),
        }
    }
    let mut after = before.clone();
    for (name, pair) in names.iter().zip(pairs.chunks(2)) {
        let value = std::str::from_utf8(&pair[1]).map_err(|_| failed(name, "the value is not UTF-8"))?;
        after.change(name, value).map_err(|why| failed(name, &why.reason()))?;
    }
    after.check().map_err(|why| failed(&names[0], &why.to_string()))?;
    Ok(after)
}

/// `CONFIG REWRITE`
pub fn rewrite(asked: &mut Asked, _words: &[Bytes]) -> Step {
    let Some(path) = asked.server.config_file.clone() else {
        return done(Reply::error("ERR The server is running without a config file"));
    };
    let config = asked.server.config.load_full();
    Step::Wait(Box::pin(async move {
        match spawn_blocking(move || load::store(&path, &config)).await {
            Ok(Ok(())) => Reply::Ok,
            Ok(Err(error)) => Reply::error(format!("ERR Rewriting config file: {error}")),
            Err(_) => Reply::error("ERR Rewriting config file: the node stops; the file is as it was"),
        }
    }))
}

/// `CONFIG RESETSTAT`
pub fn resetstat(asked: &mut Asked, _words: &[Bytes]) -> Step {
    asked.server.stats.reset();
    asked.server.rates.clear();
    asked.server.coordinator.replica().stats.expired.store(0, std::sync::atomic::Ordering::Relaxed);
    done(Reply::Ok)
}

/// `CONFIG HELP`
pub fn help(_asked: &mut Asked, _words: &[Bytes]) -> Step {
    help_lines(
        "CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        &[
            "GET <pattern> [<pattern> ...]",
            "    Show the settings whose names match, with their values.",
            "SET <name> <value> [<name> <value> ...]",
            "    Change settings of this node until it stops.",
            "REWRITE",
            "    Write what is set now into the configuration file this node was started with.",
            "RESETSTAT",
            "    Set the counters of INFO back to zero.",
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(text: &str) -> Result<Config, Reply> {
        let words: Vec<Bytes> = text.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        changed(&Config::default(), &words)
    }

    fn refusal(text: &str) -> String {
        match change(text) {
            Err(Reply::Error(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn all_pairs_are_taken_together() {
        let config = change("timeout 5 MAXCLIENTS 7").unwrap();
        assert_eq!((config.timeout, config.maxclients), (5, 7));
    }

    #[test]
    fn refusals_are_redis_s() {
        assert_eq!(refusal("foo 1"), "ERR Unknown option or number of arguments for CONFIG SET - 'foo'");
        assert_eq!(refusal("timeout 1 foo"), "ERR syntax error");
        assert_eq!(
            refusal("timeout 1 timeout 2"),
            "ERR CONFIG SET failed (possibly related to argument 'timeout') - duplicate parameter"
        );
        assert_eq!(
            refusal("port 7"),
            "ERR CONFIG SET failed (possibly related to argument 'port') - can't set immutable config"
        );
        assert_eq!(
            refusal("maxclients 7 timeout x"),
            "ERR CONFIG SET failed (possibly related to argument 'timeout') - argument couldn't be parsed into an integer"
        );
    }
}
