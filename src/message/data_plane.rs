//! The first bytes of a body: which plane, and which of the data plane's four questions.

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
    /// How many keys a node holds in some partitions: [`super::data::Count`].
    Count = 2,
}

impl Question {
    /// Reads the second byte.
    pub fn from_byte(byte: u8) -> Option<Question> {
        [Question::Replicate, Question::Forward, Question::Count].into_iter().find(|question| *question as u8 == byte)
    }
}
