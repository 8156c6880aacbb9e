//! What nodes say to each other about channels: messages, and who listens.
//!
//! A town crier calls in the square, and sends a boy with the same words to each other square. The boy comes back and
//! says how many stood there.
//!
//! # Layouts, each behind the two bytes of [`super::data_plane`]
//! ```text
//! Publish         a message: shard channel? (0 or 1), channel (piece), message (all that is left)
//! its answer      how many received it (u64)
//! Subscriptions   what is asked: 0 channels, 1 patterns, 2 shard channels (u8);
//!                 whether names follow (0 or 1); 0: those matching a pattern, as a list of none or one piece,
//!                 1: exactly these, as a list of pieces
//! its answer      a list of: name (piece), how many subscribe to it (u32)
//! ```
//!
//! # What it refuses
//! Anything left over, and a kind that there is not. Nothing half read is handed out.

use super::data_plane::{DATA, Question};
use crate::codec::{Damaged, Reader, put_bytes, put_count, put_flag, put_u32};
use bytes::Bytes;

/// A message on its way to another node's subscribers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Whether the channel is a shard channel.
    pub shard: bool,
    /// The channel.
    pub channel: Bytes,
    /// The message.
    pub message: Bytes,
}

impl Published {
    /// The body.
    pub fn body(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(7 + self.channel.len() + self.message.len());
        out.extend([DATA, Question::Publish as u8]);
        put_flag(&mut out, self.shard);
        put_bytes(&mut out, &self.channel);
        out.extend_from_slice(&self.message);
        out
    }

    /// Reads a body, its first two bytes taken off.
    pub fn read(body: &Bytes) -> Result<Published, Damaged> {
        let mut reader = Reader::over(body);
        let (shard, channel) = (reader.flag()?, reader.shared()?);
        let message = reader.shared_slice(reader.remaining())?;
        Ok(Published { shard, channel, message })
    }
}

/// Which names are asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    /// Those that somebody subscribes to: all, or those that match a glob pattern.
    Matching(Option<Bytes>),
    /// Exactly these.
    These(Vec<Bytes>),
}

/// "What are your clients subscribed to?"
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// 0 channels, 1 patterns, 2 shard channels.
    pub kind: u8,
    /// Which of them.
    pub names: Names,
}

/// The kinds there are.
const KINDS: u8 = 3;

impl Survey {
    /// The body.
    pub fn body(&self) -> Vec<u8> {
        let mut out = vec![DATA, Question::Subscriptions as u8, self.kind];
        let (exactly, names) = match &self.names {
            Names::Matching(pattern) => (false, pattern.as_slice()),
            Names::These(names) => (true, &names[..]),
        };
        put_flag(&mut out, exactly);
        put_count(&mut out, names.len());
        names.iter().for_each(|name| put_bytes(&mut out, name));
        out
    }

    /// Reads a body, its first two bytes taken off.
    pub fn read(body: &Bytes) -> Result<Survey, Damaged> {
        let mut reader = Reader::over(body);
        let kind = reader.u8()?;
        if kind >= KINDS {
            return Err(Damaged::Malformed("kind of subscription"));
        }
        let exactly = reader.flag()?;
        let mut names = (0..reader.count(4)?).map(|_| reader.shared()).collect::<Result<Vec<_>, _>>()?;
        reader.finish()?;
        match exactly {
            true => Ok(Survey { kind, names: Names::These(names) }),
            false if names.len() <= 1 => Ok(Survey { kind, names: Names::Matching(names.pop()) }),
            false => Err(Damaged::Malformed("number of patterns")),
        }
    }
}

/// How many subscribe to each name.
pub type Subscribed = Vec<(Bytes, u32)>;

/// The answer to a [`Survey`].
pub fn surveyed_body(subscribed: &Subscribed) -> Vec<u8> {
    let mut out = Vec::new();
    put_count(&mut out, subscribed.len());
    for (name, count) in subscribed {
        put_bytes(&mut out, name);
        put_u32(&mut out, *count);
    }
    out
}

/// Reads the answer to a [`Survey`].
pub fn read_surveyed(body: &Bytes) -> Result<Subscribed, Damaged> {
    let mut reader = Reader::over(body);
    let count = reader.count(8)?;
    let subscribed = (0..count).map(|_| Ok((reader.shared()?, reader.u32()?))).collect::<Result<_, Damaged>>()?;
    reader.finish()?;
    Ok(subscribed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes() -> impl Strategy<Value = Bytes> {
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from)
    }

    fn names() -> impl Strategy<Value = Names> {
        prop_oneof![
            prop::option::of(bytes()).prop_map(Names::Matching),
            prop::collection::vec(bytes(), 0..4).prop_map(Names::These),
        ]
    }

    fn rest(body: Vec<u8>) -> Bytes {
        Bytes::from(body).slice(2..)
    }

    proptest! {
        #[test]
        fn what_is_written_can_be_read(shard: bool, channel in bytes(), message in bytes(), kind in 0..KINDS, names in names()) {
            let published = Published { shard, channel, message };
            prop_assert_eq!(Published::read(&rest(published.body())), Ok(published));
            let survey = Survey { kind, names };
            prop_assert_eq!(Survey::read(&rest(survey.body())), Ok(survey));
        }

        #[test]
        fn answers_too(subscribed in prop::collection::vec((bytes(), any::<u32>()), 0..4)) {
            prop_assert_eq!(read_surveyed(&surveyed_body(&subscribed).into()), Ok(subscribed));
        }

        #[test]
        fn any_bytes_are_read_or_refused(body in bytes()) {
            if let Ok(published) = Published::read(&body) {
                prop_assert_eq!(rest(published.body()), body.clone());
            }
            if let Ok(survey) = Survey::read(&body) {
                prop_assert_eq!(rest(survey.body()), body.clone());
            }
            if let Ok(subscribed) = read_surveyed(&body) {
                prop_assert_eq!(Bytes::from(surveyed_body(&subscribed)), body);
            }
        }
    }

    #[test]
    fn kinds_and_patterns_there_are_not_are_refused() {
        let survey = Survey { kind: KINDS, names: Names::Matching(None) };
        assert_eq!(Survey::read(&rest(survey.body())), Err(Damaged::Malformed("kind of subscription")));
        let mut two = Survey { kind: 0, names: Names::These(vec![Bytes::new(), Bytes::new()]) }.body();
        two[3] = 0;
        assert_eq!(Survey::read(&rest(two)), Err(Damaged::Malformed("number of patterns")));
    }
}
