//! What the tail's measuring comes down to when sockets and processes are taken away: times in, a table and a picture out.
//!
//! A railway's office: the timetable says when trains leave whether or not the last one has arrived, clerks note how late each
//! came in, and at the month's end somebody draws the chart. Nobody here has ever seen a train.
//!
//! These modules are a test program of their own (`cargo test --test tail`), for a program that measures has none.

pub mod marked;
pub mod phase;
pub mod plot;
pub mod sample;
pub mod schedule;
pub mod table;
