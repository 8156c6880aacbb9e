//! A load generator that asks every system the same way, and costs little itself.
//!
//! A row of customers, each of whom hands in a slip, waits for the answer, and hands in the next: a closed loop. One
//! customer is one connection; a slip carries P commands. redis-benchmark does the same, but knows no p99.9, cannot send
//! WAIT behind its SETs, and talks to one address.
//!
//! ```text
//! load --addresses HOST:PORT,… --task set|get|mixed|fill [--requests 100000] [--clients 50] [--threads 1] [--pipeline 1]
//!      [--keys 100000] [--value-bytes 100] [--wait none|each|batch] [--replicas 1] [--seconds-max 120]
//! ```
//!
//! Connections are dealt out over the addresses in turn. One line of JSON goes to standard output: what was done, in which
//! time, and latencies in microseconds. It ends with an error when an answer is missing, but not when one is an error
//! reply: those are counted, and it is for the caller to judge them.
//!
//! What it refuses to do: check values, follow redirections, run longer than it was told.

mod batch;
mod connection;
mod crew;
mod replies;
mod wire;

use batch::{Plan, Task, Waits};
use clap::{Arg, ArgMatches, Command, value_parser};
use crew::{Done, Run, perform};
use std::net::ToSocketAddrs;
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    match asked(&command().get_matches()).and_then(|run| Ok((perform(&run)?, run))) {
        Ok((done, run)) => {
            println!("{}", report(run.requests, &done));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn command() -> Command {
    let number = |name: &'static str, default: &'static str, help: &'static str| {
        Arg::new(name).long(name).default_value(default).value_parser(value_parser!(u64).range(1..)).help(help)
    };
    Command::new("load").about("Sends commands and measures how they are answered").args([
        Arg::new("addresses").long("addresses").required(true).help("HOST:PORT, separated by commas"),
        Arg::new("task").long("task").default_value("set").value_parser(["set", "get", "mixed", "fill"]),
        number("requests", "100000", "Commands in all, WAITs not counted"),
        number("clients", "50", "Connections"),
        number("threads", "1", "Threads that share the connections"),
        number("pipeline", "1", "Commands in one write"),
        number("keys", "100000", "Different keys"),
        number("value-bytes", "100", "Bytes of a value"),
        Arg::new("wait").long("wait").default_value("none").value_parser(["none", "each", "batch"]),
        number("replicas", "1", "Replicas that WAIT asks for"),
        number("seconds-max", "120", "When the run is given up"),
    ])
}

fn asked(matches: &ArgMatches) -> Result<Run, String> {
    let number = |name: &str| *matches.get_one::<u64>(name).expect("has a default");
    let word = |name: &str| matches.get_one::<String>(name).expect("has a default").as_str();
    let task = match word("task") {
        "get" => Task::Get,
        "mixed" => Task::Mixed,
        "fill" => Task::Fill,
        _ => Task::Set,
    };
    let waits = match word("wait") {
        "each" => Waits::Each,
        "batch" => Waits::Batch,
        _ => Waits::None,
    };
    let resolve = |address: &str| {
        let mut found = address.to_socket_addrs().map_err(|error| format!("{address}: {error}"))?;
        found.next().ok_or_else(|| format!("{address} has no address"))
    };
    let addresses = word("addresses").split(',').map(resolve).collect::<Result<Vec<_>, _>>()?;
    let value_bytes = usize::try_from(number("value-bytes")).map_err(|error| error.to_string())?;
    let keys = number("keys");
    let plan = Plan { task, pipeline: number("pipeline"), waits, replicas: number("replicas"), keys, value_bytes };
    let requests = if task == Task::Fill { keys } else { number("requests") };
    let clients = number("clients").min(requests);
    let threads = number("threads").min(clients);
    Ok(Run { plan, requests, clients, threads, addresses, time_max: Duration::from_secs(number("seconds-max")) })
}

fn report(requests: u64, done: &Done) -> String {
    let (elapsed, all) = (done.elapsed, &done.all);
    let at = |quantile: f64| all.latencies.value_at_quantile(quantile) as f64 / 1000.0;
    let text = all.tally.first_error.clone().unwrap_or_default().replace(['"', '\\'], "'");
    format!(
        "{{\"requests\": {requests}, \"seconds\": {:.6}, \"rps\": {:.1}, \"p50_us\": {:.1}, \"p99_us\": {:.1}, \
         \"p999_us\": {:.1}, \"max_us\": {:.1}, \"errors\": {}, \"misses\": {}, \"unreplicated\": {}, \
         \"first_error\": \"{text}\"}}",
        elapsed.as_secs_f64(),
        requests as f64 / elapsed.as_secs_f64(),
        at(0.5),
        at(0.99),
        at(0.999),
        all.latencies.max() as f64 / 1000.0,
        all.tally.errors,
        all.tally.misses,
        all.tally.unreplicated,
    )
}
