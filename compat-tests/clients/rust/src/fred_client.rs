//! fred, one node and its cluster client.

use crate::check::{Checks, Failure};
use crate::load::{self, Store};
use fred::clients::SubscriberClient;
use fred::prelude::*;
use fred::types::{ClusterHash, CustomCommand, InfoKind, MessageKind, RespVersion};
use futures_util::TryStreamExt;
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// How long a message may be on its way.
const ON_ITS_WAY: Duration = Duration::from_secs(20);

fn server(address: &str) -> Result<Server, Failure> {
    let (host, port) = address.rsplit_once(':').ok_or("host:port, please")?;
    Ok(Server::new(host, port.parse()?))
}

fn builder(newest: bool, server: ServerConfig) -> Builder {
    let version = if newest { RespVersion::RESP3 } else { RespVersion::RESP2 };
    let mut builder = Builder::from_config(Config { server, version, ..Config::default() });
    builder.set_policy(ReconnectPolicy::new_constant(0, 100));
    builder
}

fn centralized(newest: bool, address: &str) -> Result<Builder, Failure> {
    Ok(builder(newest, ServerConfig::Centralized { server: server(address)? }))
}

fn clustered(newest: bool, addresses: &[String]) -> Result<Builder, Failure> {
    let hosts = addresses.iter().map(|address| server(address)).collect::<Result<_, _>>()?;
    Ok(builder(newest, ServerConfig::Clustered { hosts, policy: Default::default() }))
}

/// One node; pub/sub over all of them.
pub async fn single(checks: &mut Checks, newest: bool, addresses: &[String]) -> Result<(), Failure> {
    let client = centralized(newest, &addresses[0])?.build()?;
    client.init().await?;
    checks.expect("ping", client.ping::<String>(None).await?, "PONG");
    client.client_setname("compat").await?;
    checks.expect("client_getname", client.client_getname::<String>().await?, "compat");
    commands(checks, &client).await?;
    multi_keys(checks, &client).await?;
    let found: BTreeSet<Key> = client.scan_buffered("{fred}pipe:*", Some(20), None).try_collect().await?;
    checks.expect("scan", found.len(), 300);
    checks.expect("dbsize", client.dbsize::<i64>().await? >= 300, true);
    let config: HashMap<String, String> = client.config_get("appendonly").await?;
    checks.expect("config_get", config, HashMap::from([("appendonly".to_owned(), "yes".to_owned())]));
    let info: String = client.info(Some(InfoKind::Server)).await?;
    checks.expect("info", info.contains("redis_version:7."), true);
    checks.refused("an unknown command", raw::<Value>(&client, "NOSUCH", &[]).await, "unknown command 'NOSUCH'");
    client.select(3).await?;
    checks.expect("databases", client.get::<Option<String>, _>("{fred}pipe:1").await?, None);
    client.quit().await?;
    let mut listeners = Vec::new();
    for address in addresses {
        listeners.push(centralized(newest, address)?.build_subscriber_client()?);
    }
    let mut publishers = Vec::new();
    for address in addresses {
        publishers.push(centralized(newest, address)?.build()?);
    }
    listening(checks, &listeners, &publishers).await
}

/// The cluster client.
pub async fn cluster(checks: &mut Checks, newest: bool, addresses: &[String]) -> Result<(), Failure> {
    let client = clustered(newest, addresses)?.build()?;
    client.init().await?;
    let masters = client.cached_cluster_state().map(|state| state.unique_primary_nodes().len());
    checks.expect("masters", masters, Some(addresses.len()));
    commands(checks, &client).await?;
    multi_keys(checks, &client).await?;
    for at in 0..200 {
        client.set::<(), _, _>(format!("fred:spread:{at}"), at, None, None, false).await?;
    }
    let mut got = Vec::new();
    for at in 0..200 {
        got.push(client.get::<i64, _>(format!("fred:spread:{at}")).await?);
    }
    checks.expect("keys of all nodes", got, (0..200).collect::<Vec<i64>>());
    let found: Vec<Key> = client.scan_cluster_buffered("fred:spread:*", Some(20), None).try_collect().await?;
    checks.expect("scan of all nodes", (found.len(), found.iter().collect::<BTreeSet<_>>().len()), (200, 200));
    client.quit().await?;
    let listeners = [clustered(newest, addresses)?.build_subscriber_client()?];
    let publishers = [clustered(newest, addresses)?.build()?];
    listening(checks, &listeners, &publishers).await
}

async fn commands(checks: &mut Checks, client: &Client) -> Result<(), Failure> {
    let key = "fred:a";
    client.del::<(), _>(vec![key]).await?;
    checks.expect("get of nothing", client.get::<Option<String>, _>(key).await?, None);
    checks.expect("set", client.set::<String, _, _>(key, "1", None, None, false).await?, "OK");
    let refused: Option<String> = client.set(key, "2", None, Some(SetOptions::NX), false).await?;
    checks.expect("set nx", refused, None);
    let old: String = client.set(key, "2", Some(Expiration::EX(100)), Some(SetOptions::XX), true).await?;
    checks.expect("set xx ex get", old, "1");
    checks.expect("ttl", (99..=100).contains(&client.ttl::<i64, _>(key).await?), true);
    checks.expect("persist", client.persist::<bool, _>(key).await?, true);
    checks.expect("expire", client.expire::<bool, _>(key, 50, None).await?, true);
    checks.expect("pttl", (40_000..=50_000).contains(&client.pttl::<i64, _>(key).await?), true);
    checks.expect("strlen", client.strlen::<i64, _>(key).await?, 1);
    checks.expect("type", client.r#type::<String, _>(key).await?, "string");
    checks.expect("getset", client.getset::<String, _, _>(key, "3").await?, "2");
    checks.expect("getdel", client.getdel::<String, _>(key).await?, "3");
    checks.expect("setnx", client.setnx::<bool, _, _>(key, "Hello").await?, true);
    checks.expect("append", client.append::<i64, _, _>(key, " World").await?, 11);
    checks.expect("setrange", client.setrange::<i64, _, _>(key, 6, "Redis").await?, 11);
    checks.expect("getrange", client.getrange::<String, _>(key, 6, 10).await?, "Redis");
    client.del::<(), _>(vec!["fred:n"]).await?;
    checks.expect("incr", client.incr::<i64, _>("fred:n").await?, 1);
    checks.expect("incr_by", client.incr_by::<i64, _>("fred:n", 41).await?, 42);
    checks.expect("decr", client.decr::<i64, _>("fred:n").await?, 41);
    checks.expect("incr_by_float", client.incr_by_float::<f64, _>("fred:n", 0.5).await?, 41.5);
    let bytes: Vec<u8> = (0..=255).collect();
    client.set::<(), _, _>("fred:bin", &bytes[..], None, None, false).await?;
    checks.expect("binary", client.get::<Value, _>("fred:bin").await?.into_owned_bytes(), Some(bytes));
    client.del::<(), _>(vec!["fred:dyn"]).await?;
    raw::<String>(client, "DYN.SET", &["fred:dyn", "one"]).await?;
    raw::<String>(client, "DYN.SET", &["fred:dyn", "two"]).await?;
    let (context, mut values): (String, Vec<String>) = raw(client, "DYN.GET", &["fred:dyn"]).await?;
    values.sort();
    checks.expect("siblings", values, vec!["one", "two"]);
    raw::<String>(client, "DYN.SET", &["fred:dyn", "merged", "CONTEXT", &context]).await?;
    let (_, values): (String, Vec<String>) = raw(client, "DYN.GET", &["fred:dyn"]).await?;
    checks.expect("merged", values, vec!["merged"]);
    let forged = raw::<Value>(client, "DYN.SET", &["fred:dyn", "x", "CONTEXT", "forged"]).await;
    checks.refused("a forged context", forged, "invalid context");
    checks.refused("arity", raw::<Value>(client, "SETEX", &["fred:a", "1"]).await, "wrong number of arguments");
    Ok(())
}

/// Commands of several keys, pipelines and transactions, all in one slot.
async fn multi_keys(checks: &mut Checks, client: &Client) -> Result<(), Failure> {
    let (a, b, new) = ("{fred}a", "{fred}b", "{fred}new");
    client.del::<(), _>(vec![a, b, new]).await?;
    client.mset(vec![(a, "1"), (b, "2")]).await?;
    let values: Vec<Option<String>> = client.mget(vec![a, b, new]).await?;
    checks.expect("mget", values, vec![Some("1".to_owned()), Some("2".to_owned()), None]);
    checks.expect("msetnx", client.msetnx::<bool, _>(vec![(a, "3"), (new, "4")]).await?, false);
    checks.expect("exists", client.exists::<i64, _>(vec![a, b, new]).await?, 2);
    client.rename::<(), _, _>(a, new).await?;
    checks.expect("copy", client.copy::<bool, _, _>(new, a, None, false).await?, true);
    checks.expect("unlink", client.unlink::<i64, _>(vec![a, b, new]).await?, 3);

    let pipeline = client.pipeline();
    for at in 0..300 {
        pipeline.set::<(), _, _>(format!("{{fred}}pipe:{at}"), at, None, None, false).await?;
    }
    for at in 0..300 {
        pipeline.get::<(), _>(format!("{{fred}}pipe:{at}")).await?;
    }
    let replies: Vec<String> = pipeline.all().await?;
    let wanted: Vec<String> = (0..300).map(|_| "OK".to_owned()).chain((0..300).map(|at| at.to_string())).collect();
    checks.expect("pipeline", replies, wanted);

    let transaction = client.multi();
    transaction.set::<(), _, _>(a, "in", None, None, false).await?;
    transaction.incr::<(), _>(b).await?;
    transaction.get::<(), _>(a).await?;
    let replies: (String, i64, String) = transaction.exec(true).await?;
    checks.expect("transaction", replies, ("OK".to_owned(), 1, "in".to_owned()));
    client.watch(a).await?;
    let other = client.clone_new();
    other.init().await?;
    other.set::<(), _, _>(a, "touched", None, None, false).await?;
    other.quit().await?;
    let transaction = client.multi();
    transaction.set::<(), _, _>(a, "lost", None, None, false).await?;
    checks.expect("a touched key", transaction.exec::<Value>(true).await?, Value::Null);
    checks.expect("what was watched", client.get::<String, _>(a).await?, "touched");
    Ok(())
}

/// Everyone who listens hears what everyone says, by name, by pattern, and by the name of a shard channel.
async fn listening(checks: &mut Checks, listeners: &[SubscriberClient], publishers: &[Client]) -> Result<(), Failure> {
    let mut ears = Vec::new();
    for listener in listeners {
        listener.init().await?;
        ears.push(listener.message_rx());
        listener.subscribe("fred:news").await?;
        listener.psubscribe("fred:w*").await?;
        listener.ssubscribe("fred:shard").await?;
    }
    let everyone = listeners.len() as i64;
    for publisher in publishers {
        publisher.init().await?;
        checks.expect("publish", publisher.publish::<i64, _, _>("fred:news", "news").await?, everyone);
        checks.expect("publish to a pattern", publisher.publish::<i64, _, _>("fred:weather", "rain").await?, everyone);
        checks.expect("spublish", publisher.spublish::<i64, _, _>("fred:shard", "shard").await?, everyone);
        for ear in &mut ears {
            let mut heard = Vec::new();
            for _ in 0..3 {
                let message = timeout(ON_ITS_WAY, ear.recv()).await??;
                heard.push((kind(&message.kind), message.channel.to_string(), message.value.convert::<String>()?));
            }
            heard.sort();
            let wanted = [("message", "news", "news"), ("pmessage", "weather", "rain"), ("smessage", "shard", "shard")];
            let wanted = wanted.map(|(kind, channel, value)| (kind, format!("fred:{channel}"), value.to_owned()));
            checks.expect("heard", heard, wanted.to_vec());
        }
    }
    for listener in listeners {
        listener.unsubscribe_all().await?;
    }
    // fred is done with UNSUBSCRIBE when it is written, not when it is answered.
    let deadline = Instant::now() + ON_ITS_WAY;
    let mut heard_by = publishers[0].publish::<i64, _, _>("fred:news", "silence").await?;
    while heard_by > 0 && Instant::now() < deadline {
        heard_by = publishers[0].publish::<i64, _, _>("fred:news", "silence").await?;
    }
    checks.expect("nobody listens", heard_by, 0);
    for publisher in publishers {
        publisher.quit().await?;
    }
    for listener in listeners {
        listener.quit().await?;
    }
    Ok(())
}

fn kind(kind: &MessageKind) -> &'static str {
    match kind {
        MessageKind::Message => "message",
        MessageKind::PMessage => "pmessage",
        MessageKind::SMessage => "smessage",
    }
}

async fn raw<T: FromValue>(client: &Client, name: &'static str, words: &[&str]) -> Result<T, Error> {
    let words: Vec<Value> = words.iter().map(|word| Value::from(*word)).collect();
    client.custom(CustomCommand::new_static(name, ClusterHash::FirstKey, false), words).await
}

struct Fred(Client);

impl Store for Fred {
    type Error = Error;

    async fn set(&self, key: &str, value: &str) -> Result<(), Error> {
        self.0.set(key, value, None, None, false).await
    }

    async fn get(&self, key: &str) -> Result<Option<String>, Error> {
        self.0.get(key).await
    }
}

/// The cluster client under load.
pub async fn load(newest: bool, addresses: &[String]) -> Result<(), Failure> {
    let client = clustered(newest, addresses)?.build()?;
    client.init().await?;
    load::run(&Fred(client)).await
}
