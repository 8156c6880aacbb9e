//! redis, one node and its cluster clients.

use crate::check::{Checks, Failure};
use crate::load::{self, Store};
use redis::cluster::{ClusterClient, ClusterPipeline};
use redis::{AsyncCommands, Commands, ConnectionLike, ProtocolVersion, RedisError, RedisResult, cmd};
use std::collections::{BTreeSet, HashMap};

fn clustered(newest: bool, addresses: &[String]) -> RedisResult<ClusterClient> {
    let protocol = if newest { ProtocolVersion::RESP3 } else { ProtocolVersion::RESP2 };
    let nodes = addresses.iter().map(|address| format!("redis://{address}"));
    ClusterClient::builder(nodes).use_protocol(protocol).build()
}

/// One node.
pub fn single(checks: &mut Checks, newest: bool, addresses: &[String]) -> Result<(), Failure> {
    let open = |database: u8| {
        let protocol = if newest { "?protocol=resp3" } else { "" };
        redis::Client::open(format!("redis://{}/{database}{protocol}", addresses[0]))?.get_connection()
    };
    let mut connection = open(0)?;
    commands(checks, &mut connection)?;
    let mut pipe = redis::pipe();
    for at in 0..100 {
        pipe.set(format!("rust:{at}"), at).ignore();
    }
    for at in 0..100 {
        pipe.get(format!("rust:{at}"));
    }
    checks.expect("pipeline", pipe.query::<Vec<i64>>(&mut connection)?, (0..100).collect::<Vec<_>>());
    let mut transaction = redis::pipe();
    let transaction = transaction.atomic().set("rust:tx", 1).ignore().incr("rust:tx", 1);
    checks.expect("transaction", transaction.query::<Vec<i64>>(&mut connection)?, vec![2]);
    let mut others = open(0)?;
    let mut tries = 0;
    let (raised,): (i64,) = redis::transaction(&mut connection, &["rust:tx"], |connection, pipe| {
        let value: i64 = connection.get("rust:tx")?;
        tries += 1;
        if tries == 1 {
            let _: () = others.set("rust:tx", 40)?;
        }
        pipe.set("rust:tx", value + 2).ignore().get("rust:tx").query(connection)
    })?;
    checks.expect("a transaction that was disturbed once", (raised, tries), (42, 2));
    let found: BTreeSet<String> = connection.scan_match("rust:*")?.collect::<RedisResult<_>>()?;
    checks.expect("scan", found.len() > 100, true);
    let config: HashMap<String, String> = cmd("CONFIG").arg("GET").arg("append*").query(&mut connection)?;
    checks.expect("config", config["appendonly"].as_str(), "yes");
    checks.expect("databases", open(3)?.get::<_, Option<i64>>("rust:1")?, None);
    let unknown = cmd("NOSUCH").query::<()>(&mut connection);
    checks.refused("an unknown command", unknown, "unknown command 'NOSUCH'");

    let client = redis::Client::open(format!("redis://{}", addresses[0]))?;
    let mut listener = client.get_connection()?;
    let mut listener = listener.as_pubsub();
    listener.subscribe("rust:news")?;
    listener.psubscribe("rust:w*")?;
    checks.expect("publish", connection.publish::<_, _, i64>("rust:news", "news")?, 1);
    checks.expect("publish to a pattern", connection.publish::<_, _, i64>("rust:weather", "rain")?, 1);
    for wanted in [("rust:news", "news"), ("rust:weather", "rain")] {
        let message = listener.get_message()?;
        let heard = (message.get_channel_name().to_owned(), message.get_payload::<String>()?);
        checks.expect("heard", heard, (wanted.0.to_owned(), wanted.1.to_owned()));
    }
    Ok(())
}

/// The cluster clients, the one that blocks and the one that does not.
pub async fn cluster(checks: &mut Checks, newest: bool, addresses: &[String]) -> Result<(), Failure> {
    let mut connection = clustered(newest, addresses)?.get_connection()?;
    commands(checks, &mut connection)?;
    let mut pipe = ClusterPipeline::new();
    for at in 0..100 {
        pipe.set(format!("rust:{at}"), at).ignore();
    }
    for at in 0..100 {
        pipe.get(format!("rust:{at}"));
    }
    checks.expect("pipeline", pipe.query::<Vec<i64>>(&mut connection)?, (0..100).collect::<Vec<_>>());
    let sizes: i64 = cmd("DBSIZE").query(&mut connection)?;
    checks.expect("sizes add up", sizes >= 100, true);

    let mut connection = clustered(newest, addresses)?.get_async_connection().await?;
    for at in 0..200 {
        let _: () = connection.set(format!("rust:spread:{at}"), at).await?;
    }
    let mut got = Vec::new();
    for at in 0..200 {
        got.push(connection.get::<_, i64>(format!("rust:spread:{at}")).await?);
    }
    checks.expect("keys of all nodes", got, (0..200).collect::<Vec<_>>());
    let mut transaction = redis::pipe();
    let transaction = transaction.atomic().set("{rust}tx", 1).ignore().incr("{rust}tx", 1);
    checks.expect("transaction", transaction.query_async::<Vec<i64>>(&mut connection).await?, vec![2]);
    Ok(())
}

fn commands<C: ConnectionLike + Commands>(checks: &mut Checks, connection: &mut C) -> RedisResult<()> {
    let (a, b, c, n) = ("{rust}a", "{rust}b", "{rust}c", "{rust}n");
    let _: () = connection.del(&[a, b, c, n])?;
    checks.expect("get of nothing", connection.get::<_, Option<String>>(a)?, None);
    checks.expect("set", connection.set::<_, _, String>(a, "1")?, "OK");
    checks.expect("get", connection.get::<_, i64>(a)?, 1);
    checks.expect("set nx", connection.set_nx::<_, _, bool>(a, "2")?, false);
    let _: () = connection.set_ex(b, "2", 100)?;
    checks.expect("ttl", (99..=100).contains(&connection.ttl::<_, i64>(b)?), true);
    checks.expect("persist", connection.persist::<_, bool>(b)?, true);
    checks.expect("expire", connection.expire::<_, bool>(b, 50)?, true);
    let _: () = connection.mset(&[(a, "3"), (b, "4")])?;
    let values: Vec<Option<String>> = connection.mget(&[a, b, c])?;
    checks.expect("mget", values, vec![Some("3".to_owned()), Some("4".to_owned()), None]);
    checks.expect("incr", connection.incr::<_, _, i64>(n, 42)?, 42);
    checks.expect("append", connection.append::<_, _, i64>(a, "xyz")?, 4);
    checks.expect("getrange", connection.getrange::<_, String>(a, 1, 2)?, "xy");
    checks.expect("rename", connection.rename::<_, _, String>(a, c)?, "OK");
    checks.expect("exists", connection.exists::<_, i64>(&[a, b, c])?, 2);
    checks.expect("del", connection.del::<_, i64>(&[a, b, c])?, 2);
    let bytes: Vec<u8> = (0..=255).collect();
    let _: () = connection.set("rust:bin", &bytes)?;
    checks.expect("binary", connection.get::<_, Vec<u8>>("rust:bin")?, bytes);
    let _: () = connection.del("rust:dyn")?;
    for value in ["one", "two"] {
        cmd("DYN.SET").arg("rust:dyn").arg(value).query::<String>(connection)?;
    }
    let (context, mut values): (String, Vec<String>) = cmd("DYN.GET").arg("rust:dyn").query(connection)?;
    values.sort();
    checks.expect("siblings", values, vec!["one", "two"]);
    cmd("DYN.SET").arg("rust:dyn").arg("merged").arg("CONTEXT").arg(context).query::<String>(connection)?;
    let (_, values): (String, Vec<String>) = cmd("DYN.GET").arg("rust:dyn").query(connection)?;
    checks.expect("merged", values, vec!["merged"]);
    let arity = cmd("SETEX").arg("rust:a").query::<()>(connection);
    checks.refused("arity", arity, "wrong number of arguments");
    Ok(())
}

struct Rust(redis::cluster_async::ClusterConnection);

impl Store for Rust {
    type Error = RedisError;

    async fn set(&self, key: &str, value: &str) -> RedisResult<()> {
        AsyncCommands::set(&mut self.0.clone(), key, value).await
    }

    async fn get(&self, key: &str) -> RedisResult<Option<String>> {
        AsyncCommands::get(&mut self.0.clone(), key).await
    }
}

/// The cluster client that does not block, under load.
pub async fn load(newest: bool, addresses: &[String]) -> Result<(), Failure> {
    load::run(&Rust(clustered(newest, addresses)?.get_async_connection().await?)).await
}
