//! The first bytes of a body: which plane, and which of the data plane's questions.

/// First byte of a data-plane body.
pub const DATA: u8 = 0;

/// First byte of a control-plane body.
pub const CONTROL: u8 = 1;

/// A data-plane body's second byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Question {
    /// Reads and writes of replicas: [`super::data`].
    Replicate = 0,
    /// Operations for another coordinator: [`super::forward`].
    Forward = 1,
    /// How many keys a node holds in some runs of slots: [`super::keys::Count`].
    Count = 2,
    /// A page of objects, for a home that fills up: [`super::fill`].
    Fill = 3,
    /// Sums of runs of tokens, or the keys of leaves: [`super::exchange`].
    Exchange = 4,
    /// Answered, with nothing, once all that the asker had sent on this link is fsynced: [`super::settling`].
    Durable = 5,
    /// A message for the subscribers of a channel: [`super::publish`].
    Publish = 6,
    /// What a node's clients are subscribed to: [`super::publish`].
    Subscriptions = 7,
    /// A page of the keys a node holds: [`super::keys`].
    Keys = 8,
}

const ALL: [Question; 9] = [
    Question::Replicate,
    Question::Forward,
    Question::Count,
    Question::Fill,
    Question::Exchange,
    Question::Durable,
    Question::Publish,
    Question::Subscriptions,
    Question::Keys,
];

impl Question {
    /// Reads the second byte.
    pub fn from_byte(byte: u8) -> Option<Question> {
        ALL.into_iter().find(|question| *question as u8 == byte)
    }
}
