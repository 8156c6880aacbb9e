//! What nodes say to each other (being built).

pub mod control;
pub mod operation;
