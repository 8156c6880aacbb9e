//! The Redis protocol (being built).

pub mod reply;
pub mod request;
