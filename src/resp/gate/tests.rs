//! The gate against Redis's rules, against redis-protocol, and against any cutting of the stream.

use super::*;
use proptest::prelude::*;
use redis_protocol::resp2::decode::decode_bytes;
use redis_protocol::resp2::types::{BytesFrame, Resp2Frame};

type Words = Vec<Vec<u8>>;

fn open() -> Gate {
    let mut gate = Gate::new(Limits::default());
    gate.set_authenticated(true);
    gate
}

fn owned(request: &Request) -> Words {
    request.words.iter().map(|word| word.to_vec()).collect()
}

/// Feeds the pieces as a connection would; what came out, and how the stream ended.
fn feed<'a>(gate: &mut Gate, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Words>, Option<ProtocolError>) {
    let mut buffer = BytesMut::new();
    let mut taken = Vec::new();
    let mut received = 0;
    for piece in pieces {
        gate.make_room(&mut buffer);
        let room = LARGEST_ROOM + 2 * received + USUAL_ROOM;
        assert!(buffer.capacity() <= room, "{} bytes of room after {received} bytes", buffer.capacity());
        received += piece.len();
        buffer.extend_from_slice(piece);
        loop {
            match gate.next(&mut buffer) {
                Ok(Some(request)) => taken.push(owned(&request)),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(gate.next(&mut buffer), Err(error), "an error stays");
                    return (taken, Some(error));
                }
            }
        }
        assert!(gate.spans.len() <= received / 4, "positions without bytes");
    }
    (taken, None)
}

fn refusal(gate: &mut Gate, stream: &[u8]) -> String {
    feed(gate, [stream]).1.map_or_else(String::new, |error| error.to_string())
}

fn spelled(words: &[Vec<u8>]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
    out
}

#[test]
fn arrays_and_lines_mix_and_nothings_are_passed_over() {
    let stream =
        b"PING\r\n\r\n*0\r\n*-1\r\n\n  \r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n*-10\r\nset 'a b' \"\\x00\"\n*1\r\n$4\r\nQU";
    let (taken, error) = feed(&mut open(), [stream.as_slice()]);
    assert_eq!(error, None);
    let expected: [&[&[u8]]; 3] = [&[b"PING"], &[b"GET", b""], &[b"set", b"a b", b"\0"]];
    assert_eq!(taken, expected);
}

#[test]
fn refusals_in_redis_words() {
    let long = [b"x".repeat(LINE_LIMIT + 1), b"\r\n".to_vec()].concat();
    let cases: [(&[u8], &str); 15] = [
        (b"*3000000000\r\n", "invalid multibulk length"),
        (b"*2147483648\r\n", "invalid multibulk length"),
        (b"*\r\n", "invalid multibulk length"),
        (b"*+1\r\n", "invalid multibulk length"),
        (b"*01\r\n", "invalid multibulk length"),
        (b"*99999999999999999999\r\n", "invalid multibulk length"),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n", "expected '$', got 'f'"),
        (b"*2\r\n$3\r\nGET\r\n:5\r\n", "expected '$', got ':'"),
        (b"*1\r\n*1\r\n", "expected '$', got '*'"),
        (b"*1\r\n$-10\r\n", "invalid bulk length"),
        (b"*1\r\n$2000000000\r\n", "invalid bulk length"),
        (b"*1\r\n$blabla\r\n", "invalid bulk length"),
        (b"*1\r\n$9223372036854775807\r\n", "invalid bulk length"),
        (b"set \"\"\"test-key\"\"\" test-value\r\n", "unbalanced quotes in request"),
        (&long, "too big inline request"),
    ];
    for (stream, text) in cases {
        assert_eq!(refusal(&mut open(), stream), format!("Protocol error: {text}"), "{}", stream.escape_ascii());
    }
    let stream = [b"*".as_slice(), &long].concat();
    assert_eq!(refusal(&mut open(), &stream), "Protocol error: too big mbulk count string");
    let stream = [b"*1\r\n$".as_slice(), &long].concat();
    assert_eq!(refusal(&mut open(), &stream), "Protocol error: too big bulk count string");
}

#[test]
fn strangers_are_held_short() {
    let mut gate = Gate::new(Limits::default());
    assert_eq!(refusal(&mut gate, b"*10\r\n$16384\r\n"), "");
    assert_eq!(gate.wanted(), 16386);
    let mut gate = Gate::new(Limits::default());
    assert_eq!(refusal(&mut gate, b"*11\r\n"), "Protocol error: unauthenticated multibulk length");
    let mut gate = Gate::new(Limits::default());
    assert_eq!(refusal(&mut gate, b"*1\r\n$16385\r\n"), "Protocol error: unauthenticated bulk length");
}

#[test]
fn limits_change_at_runtime_and_hold_for_the_whole_request() {
    let mut gate = open();
    gate.set_limits(Limits { request_words: 3, bulk_bytes: 8, request_bytes: 30 });
    assert_eq!(feed(&mut gate, [b"*1\r\n$8\r\n12345678\r\n".as_slice()]).0.len(), 1);
    let whole = spelled(&[b"12345678".to_vec(), b"123456".to_vec()]);
    assert_eq!(whole.len(), 30);
    assert_eq!(feed(&mut gate, [whole.as_slice()]).0.len(), 1);
    assert_eq!(
        refusal(&mut gate, b"*3\r\n$8\r\n12345678\r\n$8\r\n12345678\r\n$1\r\n"),
        ProtocolError::TooBigRequest.to_string()
    );
    gate = open();
    gate.set_limits(Limits { request_words: 3, bulk_bytes: 8, request_bytes: 30 });
    assert_eq!(refusal(&mut gate, b"*4\r\n"), "Protocol error: invalid multibulk length");
    gate = open();
    gate.set_limits(Limits { request_words: 3, bulk_bytes: 8, request_bytes: 30 });
    assert_eq!(refusal(&mut gate, b"*1\r\n$9\r\n"), "Protocol error: invalid bulk length");
}

#[test]
fn an_announcement_reserves_little_and_says_what_it_wants() {
    let mut gate = open();
    let mut buffer = BytesMut::from("*2\r\n$3\r\nSET\r\n$536870912\r\nabc");
    assert_eq!(gate.next(&mut buffer), Ok(None));
    assert_eq!(gate.wanted(), 536_870_912 + 2 - 3);
    gate.make_room(&mut buffer);
    assert!(buffer.capacity() <= LARGEST_ROOM + USUAL_ROOM);

    let (mut gate, mut buffer) = (open(), BytesMut::from("*2\r\n$4\r\nEC"));
    assert_eq!((gate.next(&mut buffer), gate.wanted()), (Ok(None), 4));
    buffer.extend_from_slice(b"HO\r\n$");
    assert_eq!((gate.next(&mut buffer), gate.wanted()), (Ok(None), 0));
}

/// Quadratic work would look at each byte thousands of times here, and take minutes.
#[test]
fn a_request_in_crumbs_costs_what_it_costs_whole() {
    let many = spelled(&vec![b"word".to_vec(); 20_000]);
    let (taken, error) = feed(&mut open(), many.chunks(1));
    assert_eq!((taken.len(), taken[0].len(), error), (1, 20_000, None));
    let large = spelled(&[b"SET".to_vec(), vec![b'v'; 8 * 1024 * 1024]]);
    let (taken, error) = feed(&mut open(), large.chunks(4096));
    assert_eq!((taken.len(), taken[0][1].len(), error), (1, 8 * 1024 * 1024, None));
    let endless = [b"*".as_slice(), &[b'1'; LINE_LIMIT]].concat();
    assert_eq!(feed(&mut open(), endless.chunks(1)).1, Some(ProtocolError::TooBigMultibulkCount));
}

#[test]
fn a_large_request_takes_its_room_with_it() {
    let mut gate = open();
    let large = spelled(&[vec![b'v'; 4 * KEPT_ROOM]]);
    let mut buffer = BytesMut::from(large.as_slice());
    buffer.extend_from_slice(b"PI");
    assert!(gate.next(&mut buffer).is_ok_and(|request| request.is_some()));
    gate.make_room(&mut buffer);
    assert!(buffer.capacity() <= 2 * USUAL_ROOM, "{} bytes kept", buffer.capacity());
    buffer.extend_from_slice(b"NG\r\n");
    let request = gate.next(&mut buffer).expect("sound").expect("whole");
    assert_eq!(owned(&request), [b"PING"]);
}

#[test]
fn words_are_slices_of_the_buffer() {
    let mut buffer = BytesMut::from("*1\r\n$4\r\nPING\r\nECHO hi\r\n");
    let start = buffer.as_ptr() as usize;
    let array = open().next(&mut buffer).expect("sound").expect("whole");
    let line = open().next(&mut buffer).expect("sound").expect("whole");
    assert_eq!(array.words[0].as_ptr() as usize - start, 8);
    assert_eq!(line.words[1].as_ptr() as usize - start, 19);
}

/// Bits of protocol, so that random streams get further than their first byte.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..5).prop_map(|words| spelled(&words)),
        2 => prop::sample::select(vec![
            "*2\r\n", "$3\r\n", "*0\r\n", "*-1\r\n", "\r\n", "*", "$", "\r", "\n", "PING\r\n", "set 'a b' \"c\"\r\n",
            "*1\r\n$2\r\nok\r\n", "*1\r\r$1\n\rx..", "\"", "$1048577\r\n", "*99\r\n", "\0",
        ]).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ]
}

/// A stream, and the places where it is cut.
fn cut_stream() -> impl Strategy<Value = (Vec<u8>, Vec<usize>)> {
    (prop::collection::vec(fragment(), 0..12), prop::collection::vec(any::<prop::sample::Index>(), 0..12)).prop_map(
        |(fragments, places)| {
            let stream = fragments.concat();
            let mut places: Vec<usize> = places.iter().map(|place| place.index(stream.len() + 1)).collect();
            places.sort_unstable();
            (stream, places)
        },
    )
}

fn pieces<'a>(stream: &'a [u8], places: &[usize]) -> Vec<&'a [u8]> {
    let mut rest = stream;
    let mut done = 0;
    let mut pieces = Vec::new();
    for place in places {
        let (piece, after) = rest.split_at(place - done);
        pieces.push(piece);
        rest = after;
        done = *place;
    }
    pieces.push(rest);
    pieces
}

proptest! {
    #[test]
    fn packets_do_not_matter((stream, places) in cut_stream(), authenticated: bool) {
        let fresh = || { let mut gate = Gate::new(Limits::default()); gate.set_authenticated(authenticated); gate };
        let whole = feed(&mut fresh(), [stream.as_slice()]);
        prop_assert_eq!(&feed(&mut fresh(), pieces(&stream, &places)), &whole);
        prop_assert_eq!(&feed(&mut fresh(), stream.chunks(1)), &whole);
    }

    #[test]
    fn sound_requests_are_what_redis_protocol_reads(
        requests in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..8), 1..5),
    ) {
        let stream: Vec<u8> = requests.iter().flat_map(|words| spelled(words)).collect();
        let mut rest = Bytes::from(stream.clone());
        let mut read = Vec::new();
        while let Some((BytesFrame::Array(frames), used)) = decode_bytes(&rest).expect("sound") {
            read.push(frames.iter().map(|frame| frame.as_bytes().expect("a bulk string").to_vec()).collect::<Words>());
            rest = rest.slice(used..);
        }
        prop_assert_eq!(&read, &requests);
        prop_assert_eq!(feed(&mut open(), stream.chunks(7)), (read, None));
    }

    #[test]
    fn numbers_are_read_as_printed(value: i64) {
        prop_assert_eq!(number(value.to_string().as_bytes()), Some(value));
    }

    #[test]
    fn only_printed_numbers_are_read(text in "[-+ 0-9]{0,21}") {
        let printed = text.parse::<i64>().ok().filter(|value| value.to_string() == text);
        prop_assert_eq!(number(text.as_bytes()), printed);
    }
}
