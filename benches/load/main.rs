//! A load generator that asks every system the same way, and costs little itself.
//!
//! A row of customers, each of whom hands in a slip, waits for the answer, and hands in the next: a closed loop. One
//! customer is one connection; a slip carries P commands. redis-benchmark does the same, but knows no p99.9, cannot send
//! WAIT behind its SETs, and talks to one address.
//!
//! ```text
//! load --addresses HOST:PORT,… --task set|get|fill [--requests 100000] [--clients 50] [--threads 1] [--pipeline 1]
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
mod replies;

use batch::{Plan, Task, Waits};
use clap::{Arg, ArgMatches, Command, value_parser};
use connection::{Connection, Shared, Wish, scratch};
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// One run: the plan, and by whom.
struct Run {
    plan: Plan,
    requests: u64,
    clients: u64,
    threads: u64,
    addresses: Vec<SocketAddr>,
    /// When it is given up.
    time_max: Duration,
}

fn main() -> ExitCode {
    match asked(&command().get_matches()).and_then(|run| perform(&run)) {
        Ok(line) => {
            println!("{line}");
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
        Arg::new("task").long("task").default_value("set").value_parser(["set", "get", "fill"]),
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

/// Deals connections and commands out to the threads, lets them start at one moment, and sums up.
fn perform(run: &Run) -> Result<String, String> {
    let mut crews = Vec::new();
    for thread in 0..run.threads {
        let mine = (0..run.clients).filter(|client| client % run.threads == thread);
        let address = |client: u64| run.addresses[client as usize % run.addresses.len()];
        let open = |client| Connection::open(address(client), &run.plan);
        let connections = mine.map(open).collect::<Result<Vec<_>, _>>()?;
        let edge = |thread: u64| run.requests * thread / run.threads;
        crews.push((connections, Shared::new(&run.plan, edge(thread), edge(thread + 1))?));
    }
    let barrier = Barrier::new(crews.len() + 1);
    let (elapsed, done) = std::thread::scope(|scope| {
        let work = |(connections, shared)| {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                drive(connections, shared, run.time_max)
            })
        };
        let threads: Vec<_> = crews.into_iter().map(work).collect();
        barrier.wait();
        let start = Instant::now();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|_| Err("a thread of the load generator panicked".to_owned()))
        };
        let done: Result<Vec<Shared>, String> = threads.into_iter().map(join).collect();
        (start.elapsed(), done)
    });
    report(run, elapsed, done?)
}

/// Runs a thread's connections until all commands are answered.
fn drive(mut connections: Vec<Connection>, mut shared: Shared, time_max: Duration) -> Result<Shared, String> {
    let failed = |error: rustix::io::Errno| format!("waiting for replies failed: {error}");
    let deadline = Instant::now() + time_max;
    let poll = epoll::create(CreateFlags::CLOEXEC).map_err(failed)?;
    let flags = |wish| if wish == Wish::ReadAndWrite { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
    let mut wishes = Vec::with_capacity(connections.len());
    for (at, connection) in connections.iter_mut().enumerate() {
        let wish = connection.send(&mut shared)?;
        epoll::add(&poll, &*connection, EventData::new_u64(at as u64), flags(wish)).map_err(failed)?;
        wishes.push(wish);
    }
    let mut busy = wishes.iter().filter(|wish| **wish != Wish::Done).count();
    let mut events: Vec<Event> = Vec::with_capacity(connections.len());
    let mut room = scratch();
    let patience = rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 };
    while busy > 0 {
        events.clear();
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), Some(&patience)).map_err(failed)?;
        for event in &events {
            let at = event.data.u64() as usize;
            let wish = connections[at].advance(&mut shared, &mut room)?;
            if wish != wishes[at] {
                epoll::modify(&poll, &connections[at], EventData::new_u64(at as u64), flags(wish)).map_err(failed)?;
                wishes[at] = wish;
                busy -= usize::from(wish == Wish::Done);
            }
        }
        if Instant::now() > deadline {
            return Err(format!("not done after {} s: {} replies came", time_max.as_secs(), shared.tally.replies));
        }
    }
    Ok(shared)
}

fn report(run: &Run, elapsed: Duration, done: Vec<Shared>) -> Result<String, String> {
    let mut all = Shared::new(&run.plan, 0, 0)?;
    for shared in done {
        all.latencies.add(&shared.latencies).map_err(|error| error.to_string())?;
        all.tally.errors += shared.tally.errors;
        all.tally.misses += shared.tally.misses;
        all.tally.unreplicated += shared.tally.unreplicated;
        all.tally.first_error = all.tally.first_error.or(shared.tally.first_error);
    }
    let at = |quantile: f64| all.latencies.value_at_quantile(quantile) as f64 / 1000.0;
    let text = all.tally.first_error.unwrap_or_default().replace(['"', '\\'], "'");
    Ok(format!(
        "{{\"requests\": {}, \"seconds\": {:.6}, \"rps\": {:.1}, \"p50_us\": {:.1}, \"p99_us\": {:.1}, \
         \"p999_us\": {:.1}, \"max_us\": {:.1}, \"errors\": {}, \"misses\": {}, \"unreplicated\": {}, \
         \"first_error\": \"{text}\"}}",
        run.requests,
        elapsed.as_secs_f64(),
        run.requests as f64 / elapsed.as_secs_f64(),
        at(0.5),
        at(0.99),
        at(0.999),
        all.latencies.max() as f64 / 1000.0,
        all.tally.errors,
        all.tally.misses,
        all.tally.unreplicated,
    ))
}
