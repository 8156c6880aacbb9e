//! SUBSCRIBE and its kin, PUBLISH and PUBSUB answer as in Redis 7: each request with all it is answered with.

use super::Subject;
use crate::harness::resp::Connection;

/// A request and its replies, in the text form of RESP2. RESP3's differ in that [`pushed`] ones are pushes.
type Exchange = (&'static str, &'static [&'static str]);

/// What both protocols answer.
const BOTH: &[Exchange] = &[
    ("PUBLISH nobody hears", &[":0"]),
    ("SPUBLISH nobody hears", &[":0"]),
    ("PUBLISH a", &["-ERR wrong number of arguments for 'publish' command"]),
    ("SUBSCRIBE", &["-ERR wrong number of arguments for 'subscribe' command"]),
    ("PUBSUB", &["-ERR wrong number of arguments for 'pubsub' command"]),
    ("PUBSUB NUMSUB", &["[]"]),
    ("PUBSUB NUMSUB none none", &["[\"none\", :0, \"none\", :0]"]),
    ("PUBSUB SHARDNUMSUB none", &["[\"none\", :0]"]),
    ("PUBSUB SHARDNUMSUB", &["[]"]),
    ("PUBSUB NUMPAT", &[":0"]),
    ("PUBSUB CHANNELS", &["[]"]),
    ("PUBSUB channels x y", &["-ERR unknown subcommand or wrong number of arguments for 'channels'. Try PUBSUB HELP."]),
    (
        "PUBSUB SHARDCHANNELS x y",
        &["-ERR unknown subcommand or wrong number of arguments for 'SHARDCHANNELS'. Try PUBSUB HELP."],
    ),
    ("PUBSUB NUMPAT x", &["-ERR wrong number of arguments for 'pubsub|numpat' command"]),
    ("PUBSUB nosuch", &["-ERR unknown subcommand 'nosuch'. Try PUBSUB HELP."]),
    ("COMMAND GETKEYS SPUBLISH a b", &["-ERR The command has no key arguments"]),
    ("UNSUBSCRIBE", &["[\"unsubscribe\", nil, :0]"]),
    ("PUNSUBSCRIBE", &["[\"punsubscribe\", nil, :0]"]),
    ("SUNSUBSCRIBE", &["[\"sunsubscribe\", nil, :0]"]),
    ("UNSUBSCRIBE a b", &["[\"unsubscribe\", \"a\", :0]", "[\"unsubscribe\", \"b\", :0]"]),
    ("SUBSCRIBE a a b", &["[\"subscribe\", \"a\", :1]", "[\"subscribe\", \"a\", :1]", "[\"subscribe\", \"b\", :2]"]),
    ("PSUBSCRIBE p* a", &["[\"psubscribe\", \"p*\", :3]", "[\"psubscribe\", \"a\", :4]"]),
    ("SSUBSCRIBE s a", &["[\"ssubscribe\", \"s\", :1]", "[\"ssubscribe\", \"a\", :2]"]),
    ("UNSUBSCRIBE nosuch", &["[\"unsubscribe\", \"nosuch\", :4]"]),
    ("UNSUBSCRIBE b", &["[\"unsubscribe\", \"b\", :3]"]),
    ("UNSUBSCRIBE", &["[\"unsubscribe\", \"a\", :2]"]),
    ("UNSUBSCRIBE", &["[\"unsubscribe\", nil, :2]"]),
    ("PUNSUBSCRIBE a p*", &["[\"punsubscribe\", \"a\", :1]", "[\"punsubscribe\", \"p*\", :0]"]),
    ("SUNSUBSCRIBE s", &["[\"sunsubscribe\", \"s\", :1]"]),
    ("SUNSUBSCRIBE", &["[\"sunsubscribe\", \"a\", :0]"]),
    ("CLIENT REPLY OFF", &[]),
    ("SUBSCRIBE a", &["[\"subscribe\", \"a\", :1]"]),
    ("UNSUBSCRIBE", &["[\"unsubscribe\", \"a\", :0]"]),
    ("CLIENT REPLY ON", &["+OK"]),
    ("CLIENT REPLY SKIP", &[]),
    ("SUBSCRIBE a", &["[\"subscribe\", \"a\", :1]"]),
    ("RESET", &["+RESET"]),
    ("GET nothing-here", &["nil"]),
    ("PUBSUB NUMSUB a", &["[\"a\", :0]"]),
];

/// A subscriber of RESP2 may do nothing but listen.
const RESP2: &[Exchange] = &[
    ("SSUBSCRIBE s", &["[\"ssubscribe\", \"s\", :1]"]),
    ("PING", &["[\"pong\", \"\"]"]),
    ("PING hi", &["[\"pong\", \"hi\"]"]),
    ("PING a b", &["-ERR wrong number of arguments for 'ping' command"]),
    (
        "GET x",
        &[
            "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
        ],
    ),
    (
        "CLIENT id",
        &[
            "-ERR Can't execute 'client|id': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
        ],
    ),
    (
        "HELLO 3",
        &[
            "-ERR Can't execute 'hello': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
        ],
    ),
    ("nosuch", &["-ERR unknown command 'nosuch', with args beginning with: "]),
    ("GET", &["-ERR wrong number of arguments for 'get' command"]),
    ("SUNSUBSCRIBE s", &["[\"sunsubscribe\", \"s\", :0]"]),
    ("PING", &["+PONG"]),
    ("SUBSCRIBE a", &["[\"subscribe\", \"a\", :1]"]),
    ("QUIT", &["+OK"]),
];

/// One of RESP3 may do everything.
const RESP3: &[Exchange] = &[
    ("SUBSCRIBE a", &["[\"subscribe\", \"a\", :1]"]),
    ("PING", &["+PONG"]),
    ("PING hi", &["\"hi\""]),
    ("GET nothing-here", &["nil"]),
    ("PUBSUB NUMSUB a", &["[\"a\", :1]"]),
    ("PUBSUB CHANNELS", &["[\"a\"]"]),
    ("PUBSUB CHANNELS b*", &["[]"]),
    ("PSUBSCRIBE b*", &["[\"psubscribe\", \"b*\", :2]"]),
    ("PUBSUB NUMPAT", &[":1"]),
    ("PUBSUB NUMSUB b", &["[\"b\", :0]"]),
    ("SSUBSCRIBE a", &["[\"ssubscribe\", \"a\", :1]"]),
    ("PUBSUB SHARDCHANNELS", &["[\"a\"]"]),
    ("PUBSUB SHARDNUMSUB a b", &["[\"a\", :1, \"b\", :0]"]),
    ("RESET", &["+RESET"]),
    ("PUBSUB CHANNELS", &["[]"]),
];

/// Whether a reply is one of those that RESP3 pushes.
fn pushed(reply: &str) -> bool {
    reply.contains("subscribe\", ")
}

fn converse(connection: &mut Connection, exchanges: &[Exchange], resp3: bool) {
    let mut wrong = Vec::new();
    for (line, expected) in exchanges {
        connection.send(&crate::harness::table::words(line)).expect("it can be sent");
        for expected in *expected {
            let form = if resp3 && pushed(expected) { ">" } else { "" };
            let (expected, reply) = (format!("{form}{expected}"), connection.receive().expect("a reply").to_string());
            if reply != expected {
                wrong.push(format!("  {line}\n    expected {expected}\n    got      {reply}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} replies are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Every request about subscriptions, in both protocols.
#[test]
fn subscriptions_answer_as_in_redis() {
    let subject = Subject::start();
    converse(&mut subject.connect(2), BOTH, false);
    converse(&mut subject.connect(3), BOTH, true);
    converse(&mut subject.connect(2), RESP2, false);
    converse(&mut subject.connect(3), RESP3, true);
}

/// Messages by name, by pattern and of shard channels, to listeners of both protocols.
#[test]
fn messages_have_redis_s_forms() {
    let subject = Subject::start();
    let mut publisher = subject.connect(2);
    for (protocol, form) in [(2, ""), (3, ">")] {
        let mut listener = subject.connect(protocol);
        converse(&mut listener, &[("SUBSCRIBE news", &["[\"subscribe\", \"news\", :1]"])], protocol == 3);
        converse(&mut listener, &[("PSUBSCRIBE n?ws", &["[\"psubscribe\", \"n?ws\", :2]"])], protocol == 3);
        converse(&mut listener, &[("SSUBSCRIBE news", &["[\"ssubscribe\", \"news\", :1]"])], protocol == 3);
        assert_eq!(publisher.run("PUBLISH news \"hel lo\"").to_string(), ":2");
        assert_eq!(publisher.run("PUBLISH nows 1").to_string(), ":1");
        assert_eq!(publisher.run("SPUBLISH news \"\"").to_string(), ":1");
        for expected in [
            "[\"message\", \"news\", \"hel lo\"]",
            "[\"pmessage\", \"n?ws\", \"news\", \"hel lo\"]",
            "[\"pmessage\", \"n?ws\", \"nows\", \"1\"]",
            "[\"smessage\", \"news\", \"\"]",
        ] {
            assert_eq!(listener.receive().expect("a message").to_string(), format!("{form}{expected}"));
        }
        listener.done("RESET");
    }
}
