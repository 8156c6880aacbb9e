//! What the checks share: collect every difference, print them, end with their number.

use std::fmt::{Debug, Display};
use std::process::ExitCode;

/// Why a check cannot go on.
pub type Failure = Box<dyn std::error::Error>;

/// The differences found so far.
#[derive(Default)]
pub struct Checks(Vec<String>);

impl Checks {
    /// Notes a difference between what came and what was wanted.
    pub fn expect<G: PartialEq<W> + Debug, W: Debug>(&mut self, what: &str, got: G, wanted: W) {
        if got != wanted {
            self.0.push(format!("{what}: expected {wanted:?}, got {got:?}"));
        }
    }

    /// Notes a difference unless the call was refused with an error that holds this text.
    pub fn refused<T: Debug, E: Display>(&mut self, what: &str, outcome: Result<T, E>, text: &str) {
        match outcome {
            Err(error) if error.to_string().contains(text) => {}
            Err(error) => self.0.push(format!("{what}: expected an error with {text:?}, got {error}")),
            Ok(got) => self.0.push(format!("{what}: expected an error, got {got:?}")),
        }
    }

    /// Prints all of them; the exit code is their number.
    pub fn finish(self) -> ExitCode {
        println!("{}", if self.0.is_empty() { "ok".to_owned() } else { self.0.join("\n") });
        ExitCode::from(self.0.len().min(100) as u8)
    }
}
