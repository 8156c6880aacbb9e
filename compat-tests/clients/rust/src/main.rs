//! Rust's client libraries against Dynamis: dynamis-compat-clients fred|redis single|cluster|load 2|3 host:port [host:port ...]
//!
//! Every difference between what is expected and what came is printed; the exit code is the number of differences.

mod check;
mod fred_client;
mod load;
mod redis_client;

use check::{Checks, Failure};
use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [library, mode, protocol, addresses @ ..] = &words[..] else { return usage() };
    let mut checks = Checks::default();
    let newest = protocol == "3";
    let outcome: Result<(), Failure> = match (library.as_str(), mode.as_str()) {
        ("fred", "single") => fred_client::single(&mut checks, newest, addresses).await,
        ("fred", "cluster") => fred_client::cluster(&mut checks, newest, addresses).await,
        ("fred", "load") => fred_client::load(newest, addresses).await,
        ("redis", "single") => redis_client::single(&mut checks, newest, addresses),
        ("redis", "cluster") => redis_client::cluster(&mut checks, newest, addresses).await,
        ("redis", "load") => redis_client::load(newest, addresses).await,
        _ => return usage(),
    };
    match outcome {
        Ok(()) if mode == "load" => ExitCode::SUCCESS,
        Ok(()) => checks.finish(),
        Err(failure) => {
            println!("failed: {failure}");
            ExitCode::from(101)
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: dynamis-compat-clients fred|redis single|cluster|load 2|3 host:port [host:port ...]");
    ExitCode::from(102)
}
