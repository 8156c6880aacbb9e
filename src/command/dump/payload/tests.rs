use super::*;
use proptest::prelude::*;

const LIMIT: u64 = 512 << 20;

fn bytes(hex: &str) -> Bytes {
    let digits: Vec<u8> = hex.bytes().map(|digit| (digit as char).to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect::<Vec<u8>>().into()
}

/// A body with a footer that fits it.
fn sealed(body: &[u8], version: u16) -> Bytes {
    let mut out = [body, &version.to_le_bytes()].concat();
    out.extend_from_slice(&CRC.checksum(&out).to_le_bytes());
    out.into()
}

/// Parcels of redis-server 7.0.15, to the byte.
#[test]
fn parcels_are_those_of_redis() {
    for (value, parcel) in [
        ("", "00000a005d9b5c400f7fa2da"),
        ("a", "0001610a00bffeef9b8f367db4"),
        ("127", "00c07f0a000db5eb315254c514"),
        ("-129", "00c17fff0a001760822854808480"),
        ("32768", "00c2008000000a0045d82eedd5bda910"),
        ("-2147483648", "00c2000000800a00c74f873e33558187"),
        ("2147483648", "000a323134373438333634380a00e7b129a34c1d76ee"),
        ("007", "00033030370a007258e27b4c69bad9"),
        ("9223372036854775807", "0013393232333337323033363835343737353830370a003a657e9481e85f22"),
    ] {
        assert_eq!(Bytes::from(pack(value.as_bytes())), bytes(parcel), "{value}");
        assert_eq!(open(&bytes(parcel), LIMIT).unwrap(), value);
    }
}

/// What Redis compresses is opened.
#[test]
fn compressed_parcels_of_redis_are_opened() {
    let hundred = bytes("00c3094064016161e057000161610a00e8a3b507b06df271");
    assert_eq!(open(&hundred, LIMIT).unwrap(), "a".repeat(100));
    let fox = "00c33841951f74686520717569636b2062726f776e20666f78206a756d7073206f7665722074201e086c617a7920646f672c600de0ff2c\
               e1510d012c200a00e769a6e2411ac39d";
    assert_eq!(open(&bytes(fox), LIMIT).unwrap(), "the quick brown fox jumps over the lazy dog, ".repeat(9));
    let long = bytes("00c313432302616261e0ff01e0ff01e0ff0160010278797a0a00d31fc0993b3b5702");
    assert_eq!(open(&long, LIMIT).unwrap(), "ab".repeat(400) + "xyz");
}

#[test]
fn a_damaged_footer_or_a_later_version_is_refused_before_anything_is_read() {
    let whole = sealed(b"\0\x01a", 10);
    for at in 0..whole.len() {
        let mut damaged = whole.to_vec();
        damaged[at] ^= 1;
        assert_eq!(open(&damaged.into(), LIMIT), Err(Unopened::Footer), "byte {at}");
        assert_eq!(open(&whole.slice(..at), LIMIT), Err(Unopened::Footer), "cut at {at}");
    }
    assert_eq!(open(&sealed(b"\0\x01a", 11), LIMIT), Err(Unopened::Footer));
    assert_eq!(open(&sealed(b"\0\x01a", 6), LIMIT).unwrap(), "a");
}

#[test]
fn what_is_no_string_is_refused() {
    for body in [
        &b""[..],
        b"\0",
        b"\x12\x01\x02",
        b"\0\x05a",
        b"\0\xc0",
        b"\0\xc1\x01",
        b"\0\xc4abc",
        b"\0\x82abc",
        b"\0\x81\xff\xff\xff\xff\xff\xff\xff\xffa",
        b"\0\xc3\x02\x03\x20\x00",
        b"\0\xc3\x02\x81\xff\xff\xff\xff\xff\xff\xff\xff\x00a",
    ] {
        assert_eq!(open(&sealed(body, 10), LIMIT), Err(Unopened::Content), "{body:?}");
    }
    assert_eq!(open(&sealed(b"\0\x03abc", 10), 2), Err(Unopened::Content), "longer than a value may be");
}

#[test]
fn what_follows_a_whole_string_is_passed_over() {
    assert_eq!(open(&sealed(b"\0\x01abc", 10), LIMIT).unwrap(), "a");
}

proptest! {
    #[test]
    fn what_was_packed_is_opened(value in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(open(&pack(&value).into(), LIMIT).unwrap(), value);
    }

    #[test]
    fn numbers_too(number: i64) {
        let value = number.to_string();
        prop_assert_eq!(open(&pack(value.as_bytes()).into(), LIMIT).unwrap(), value);
    }

    #[test]
    fn arbitrary_bodies_never_panic(body in proptest::collection::vec(any::<u8>(), 0..60)) {
        let _ = open(&sealed(&body, 10), 1000);
    }

    #[test]
    fn lengths_come_back(length in prop_oneof![0u64..70, 16380u64..16390, any::<u64>(), 0xffff_fff0..0x1_0000_0010u64]) {
        let mut out = Vec::new();
        put_length(&mut out, length);
        prop_assert_eq!(take_length(&mut out.into()), Some(length));
    }
}
