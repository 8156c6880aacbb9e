//! Replies against their bytes, and against redis-protocol's decoders.

use super::*;
use bytes::Bytes;
use proptest::prelude::*;
use redis_protocol::resp2;
use redis_protocol::resp3;
use redis_protocol::resp3::types::VerbatimStringFormat;

type Frame2 = resp2::types::BytesFrame;
type Frame3 = resp3::types::BytesFrame;

fn encoded(reply: &Reply, protocol: Protocol) -> Bytes {
    let mut out = BytesMut::new();
    reply.encode(protocol, &mut out);
    out.freeze()
}

#[test]
fn every_shape_in_both_protocols() {
    let pair = || vec![(Reply::text("a"), Reply::Integer(1)), (Reply::text("A"), Reply::Null)];
    let cases = [
        (Reply::Ok, "+OK\r\n", "+OK\r\n"),
        (Reply::Simple("PONG"), "+PONG\r\n", "+PONG\r\n"),
        (Reply::Status("a\nb".to_owned()), "+a b\r\n", "+a b\r\n"),
        (Reply::error("ERR no"), "-ERR no\r\n", "-ERR no\r\n"),
        (Reply::error("ERR a\r\n+OK\n"), "-ERR a  +OK \r\n", "-ERR a  +OK \r\n"),
        (Reply::Integer(i64::MIN), ":-9223372036854775808\r\n", ":-9223372036854775808\r\n"),
        (Reply::text(""), "$0\r\n\r\n", "$0\r\n\r\n"),
        (Reply::text("a\r\nb"), "$4\r\na\r\nb\r\n", "$4\r\na\r\nb\r\n"),
        (Reply::Null, "$-1\r\n", "_\r\n"),
        (Reply::NullArray, "*-1\r\n", "_\r\n"),
        (Reply::Array(vec![]), "*0\r\n", "*0\r\n"),
        (Reply::Array(vec![Reply::Ok, Reply::Null]), "*2\r\n+OK\r\n$-1\r\n", "*2\r\n+OK\r\n_\r\n"),
        (Reply::Map(pair()), "*4\r\n$1\r\na\r\n:1\r\n$1\r\nA\r\n$-1\r\n", "%2\r\n$1\r\na\r\n:1\r\n$1\r\nA\r\n_\r\n"),
        (Reply::Set(vec![Reply::Integer(1)]), "*1\r\n:1\r\n", "~1\r\n:1\r\n"),
        (Reply::Push(vec![Reply::Integer(1)]), "*1\r\n:1\r\n", ">1\r\n:1\r\n"),
        (Reply::Several(vec![Reply::Ok, Reply::Null]), "+OK\r\n$-1\r\n", "+OK\r\n_\r\n"),
        (Reply::Boolean(true), ":1\r\n", "#t\r\n"),
        (Reply::Boolean(false), ":0\r\n", "#f\r\n"),
        (Reply::BigNumber("12"), "$2\r\n12\r\n", "(12\r\n"),
        (
            Reply::Attributed(vec![(Reply::text("a"), Reply::Integer(1))], Box::new(Reply::Ok)),
            "+OK\r\n",
            "|1\r\n$1\r\na\r\n:1\r\n+OK\r\n",
        ),
        (Reply::Double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n"),
        (Reply::Encoded(Bytes::from_static(b"*1\r\n:7\r\n")), "*1\r\n:7\r\n", "*1\r\n:7\r\n"),
        (Reply::Verbatim("hi".into()), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n"),
    ];
    for (reply, resp2, resp3) in cases {
        assert_eq!(encoded(&reply, Protocol::Resp2), resp2, "{reply:?}");
        assert_eq!(encoded(&reply, Protocol::Resp3), resp3, "{reply:?}");
    }
}

#[test]
fn doubles_as_redis_prints_them() {
    let cases = [
        (0.0, "0"),
        (-0.0, "-0"),
        (3.0, "3"),
        (-12.0, "-12"),
        (0.1, "0.1"),
        (-72.125, "-72.125"),
        (100_000_000.0, "100000000"),
        (4e18, "4000000000000000000"),
        (5e18, "5e+18"),
        (-1.25e300, "-1.25e+300"),
        (1e-6, "0.000001"),
        (1e-7, "1e-7"),
        (-1.5e-10, "-1.5e-10"),
        (0.000_123_456_789, "1.23456789e-4"),
        (f64::INFINITY, "inf"),
        (f64::NEG_INFINITY, "-inf"),
        (f64::NAN, "nan"),
    ];
    for (number, text) in cases {
        assert_eq!(double(number), text);
    }
}

/// What RESP2 makes of a reply, in redis-protocol's terms.
fn frame2(reply: &Reply) -> Frame2 {
    let all = |items: &[Reply]| Frame2::Array(items.iter().map(frame2).collect());
    match reply {
        Reply::Ok => Frame2::SimpleString("OK".into()),
        Reply::Simple(text) => Frame2::SimpleString((*text).into()),
        Reply::Status(text) => Frame2::SimpleString(text.replace(['\r', '\n'], " ").into()),
        Reply::Error(text) => Frame2::Error(text.replace(['\r', '\n'], " ").into()),
        Reply::Integer(number) => Frame2::Integer(*number),
        Reply::Bulk(bytes) => Frame2::BulkString(bytes.clone()),
        Reply::Null | Reply::NullArray => Frame2::Null,
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => all(items),
        Reply::Several(_) => unreachable!("several replies are no one frame"),
        Reply::Map(pairs) => Frame2::Array(pairs.iter().flat_map(|(k, v)| [frame2(k), frame2(v)]).collect()),
        Reply::Boolean(truth) => Frame2::Integer((*truth).into()),
        Reply::BigNumber(digits) => Frame2::BulkString((*digits).into()),
        Reply::Attributed(_, reply) => frame2(reply),
        Reply::Double(number) => Frame2::BulkString(double(*number).into()),
        Reply::Verbatim(text) => Frame2::BulkString(text.clone().into()),
        Reply::Encoded(_) => unreachable!("no leaf is one"),
    }
}

/// What RESP3 makes of a reply, in redis-protocol's terms.
fn frame3(reply: &Reply) -> Frame3 {
    let attributes = None;
    match reply {
        Reply::Ok => Frame3::SimpleString { data: "OK".into(), attributes },
        Reply::Simple(text) => Frame3::SimpleString { data: (*text).into(), attributes },
        Reply::Status(text) => Frame3::SimpleString { data: text.replace(['\r', '\n'], " ").into(), attributes },
        Reply::Error(text) => Frame3::SimpleError { data: text.replace(['\r', '\n'], " ").into(), attributes },
        Reply::Integer(number) => Frame3::Number { data: *number, attributes },
        Reply::Bulk(bytes) => Frame3::BlobString { data: bytes.clone(), attributes },
        Reply::Null | Reply::NullArray => Frame3::Null,
        Reply::Array(items) => Frame3::Array { data: items.iter().map(frame3).collect(), attributes },
        Reply::Push(items) => Frame3::Push { data: items.iter().map(frame3).collect(), attributes },
        Reply::Several(_) => unreachable!("several replies are no one frame"),
        Reply::Set(items) => Frame3::Set { data: items.iter().map(frame3).collect(), attributes },
        Reply::Map(pairs) => {
            Frame3::Map { data: pairs.iter().map(|(k, v)| (frame3(k), frame3(v))).collect(), attributes }
        }
        Reply::Boolean(data) => Frame3::Boolean { data: *data, attributes },
        Reply::BigNumber(digits) => Frame3::BigNumber { data: (*digits).into(), attributes },
        // Redis-protocol reads attributes back at the outermost level only, and so does the table above.
        Reply::Attributed(_, reply) => frame3(reply),
        Reply::Double(number) => Frame3::Double { data: *number, attributes },
        Reply::Verbatim(text) => {
            let format = VerbatimStringFormat::Text;
            Frame3::VerbatimString { data: text.clone().into(), format, attributes }
        }
        Reply::Encoded(_) => unreachable!("no leaf is one"),
    }
}

fn leaf() -> impl Strategy<Value = Reply> {
    prop_oneof![
        Just(Reply::Ok),
        Just(Reply::Simple("QUEUED")),
        Just(Reply::Null),
        Just(Reply::NullArray),
        "[ -~\r\n]{1,30}".prop_map(Reply::Error),
        any::<i64>().prop_map(Reply::Integer),
        prop::collection::vec(any::<u8>(), 0..60).prop_map(|bytes| Reply::Bulk(bytes.into())),
        any::<f64>().prop_filter("a number", |number| !number.is_nan()).prop_map(Reply::Double),
        "[ -~é\r\n]{0,30}".prop_map(Reply::Verbatim),
    ]
}

/// A leaf that redis-protocol takes as a map's key or a set's member.
fn name() -> impl Strategy<Value = Reply> {
    prop::collection::vec(any::<u8>(), 0..6).prop_map(|bytes| Reply::Bulk(bytes.into()))
}

fn reply() -> impl Strategy<Value = Reply> {
    leaf().prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Reply::Array),
            // redis-protocol's maps keep one value of a key; which one is not for this test to know.
            prop::collection::btree_map(0_u8..9, inner, 0..4).prop_map(|map| {
                Reply::Map(map.into_iter().map(|(key, value)| (Reply::text(key.to_string()), value)).collect())
            }),
            prop::collection::vec(name(), 0..4).prop_map(Reply::Set),
        ]
    })
}

proptest! {
    #[test]
    fn redis_protocol_reads_resp2_back(reply in reply()) {
        let bytes = encoded(&reply, Protocol::Resp2);
        let (frame, used) = resp2::decode::decode_bytes(&bytes).expect("sound").expect("whole");
        prop_assert_eq!((frame, used), (frame2(&reply), bytes.len()));
    }

    #[test]
    fn redis_protocol_reads_resp3_back(reply in reply()) {
        let bytes = encoded(&reply, Protocol::Resp3);
        let (frame, used) = resp3::decode::complete::decode_bytes(&bytes).expect("sound").expect("whole");
        prop_assert_eq!((frame, used), (frame3(&reply), bytes.len()));
    }

    #[test]
    fn doubles_read_back(number: f64) {
        prop_assume!(!number.is_nan());
        prop_assert_eq!(double(number).parse::<f64>().expect("a number").to_bits(), number.to_bits());
    }
}
