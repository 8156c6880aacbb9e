//! How late the last one in a thousand is, while nothing happens and while everything does: prints a Markdown table.
//!
//! ```text
//! benches/tail/run [--readme] [--quick] [--rate REQUESTS_PER_SECOND] [--svg benches/tail/latency.svg]
//! ```
//!
//! Four nodes (N=3, R=W=2, everysec, real processes on 127.0.0.1; with three nobody could keep a hint), half SETs and half GETs of 100 B values, first in a closed
//! loop, which gives the top rate, then in an open loop at half of it ([`generator`]), while one thing after the other is done
//! to the nodes ([`stage`]). What is due in a phase belongs to it. See [`reckoning`] for what the figures are.
//!
//! The third node's directory is an ext4 file system on a loop device, so that it can be frozen; where the system does not
//! give one (it takes root), the phase of the standing disk is left out, loudly.

#[path = "../load/batch.rs"]
#[expect(dead_code, reason = "the load generator uses more of it; its tests are run there")]
mod batch;
#[path = "../load/connection.rs"]
mod connection;
#[path = "../load/crew.rs"]
mod crew;
mod generator;
#[path = "../../compat-tests/harness/mod.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod harness;
mod machine;
#[expect(dead_code, unused_imports, reason = "its tests are run as a program of their own, see there")]
mod reckoning;
#[path = "../load/replies.rs"]
#[expect(dead_code, reason = "its tests are run with the load generator")]
mod replies;
mod stage;
mod still_disk;
#[path = "../load/wire.rs"]
mod wire;

use batch::{Plan, Task, Waits};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use crew::{Run, perform};
use harness::cluster::Cluster;
use reckoning::phase::{Figures, Phase};
use reckoning::{marked, plot, table};
use stage::{NODES, Run as Played, VICTIM};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use still_disk::StillDisk;

const VALUE_BYTES: usize = 100;
/// Connections of the closed loop.
const CLIENTS: u64 = 50;
/// Requests that tell how many make some seconds.
const TRIAL_REQUESTS: u64 = 20_000;
/// How long the top rate is measured.
const TOP_SECONDS: f64 = 4.0;
/// Size of the third node's disk; bytes that are not written take no space.
const DISK_MEBIBYTES: u64 = 4096;
const README: &str = "README.md";
const MARKS: [&str; 2] = ["<!-- benches/tail -->", "<!-- end of benches/tail -->"];

/// How much is done.
struct Extent {
    keys: u64,
    /// Requests a second; none: half of the top rate.
    rate: Option<u64>,
    /// What phases' lengths are multiplied by.
    scale: f64,
}

fn main() -> ExitCode {
    let matches = command().get_matches();
    if !matches.get_flag("measure") {
        // A plain `cargo bench` weighs the hot parts; this one takes minutes.
        println!("the tail is measured by benches/tail/run");
        return ExitCode::SUCCESS;
    }
    match measure(&matches) {
        Ok(lines) => {
            println!("{}", lines.join("\n"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("tail: {error}");
            ExitCode::FAILURE
        }
    }
}

fn command() -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    Command::new("tail").about("Measures how late the latest are").args([
        flag("measure").help("Does it"),
        flag("bench").hide(true),
        flag("quick").help("A few thousand requests: does it run, not how fast"),
        flag("readme").help("Puts table and picture into README.md, too"),
        Arg::new("rate")
            .long("rate")
            .value_parser(value_parser!(u64).range(1..))
            .help("Requests a second; else measured"),
        Arg::new("svg").long("svg").default_value("benches/tail/latency.svg").help("Where the picture goes"),
    ])
}

/// Measures, writes what is to be written, and gives the table.
fn measure(matches: &ArgMatches) -> Result<Vec<String>, String> {
    let rate = matches.get_one::<u64>("rate").copied();
    let extent = match matches.get_flag("quick") {
        true => Extent { keys: 10_000, rate: rate.or(Some(2_000)), scale: 0.15 },
        false => Extent { keys: 100_000, rate, scale: 1.0 },
    };
    let about = machine::about();
    let (top, rate, played) = load(&extent)?;
    let found: Vec<(Phase, Figures)> =
        played.phases.iter().map(|phase| (phase.clone(), Figures::of(phase, &played.load.samples))).collect();
    let svg = Path::new(matches.get_one::<String>("svg").expect("has a default"));
    let picture = plot::draw(&played.phases, &played.marks, &played.load.samples)?;
    std::fs::write(svg, picture).map_err(|error| format!("{} cannot be written: {error}", svg.display()))?;
    let mut lines = vec![paragraph(&about, &extent, top, rate, &played), String::new()];
    lines.push(format!("![latency over time]({})", svg.display()));
    lines.push(String::new());
    lines.extend(table::lines(rate, &found));
    if matches.get_flag("readme") {
        write_readme(&lines)?;
    }
    Ok(lines)
}

/// Fills the nodes, finds the top rate, and plays the disturbances at half of it. Gives top rate, rate, and what came of it.
fn load(extent: &Extent) -> Result<(Option<u64>, u64, Played), String> {
    let mut cluster = Cluster::prepared(NODES, &[], None);
    let disk = StillDisk::mount(&cluster.nodes[VICTIM].dir, DISK_MEBIBYTES);
    cluster.start_all();
    let addresses: Vec<SocketAddr> = cluster.nodes.iter().map(|node| node.address).collect();
    eprintln!("filling {} keys", extent.keys);
    closed(&addresses, Task::Fill, extent.keys, extent)?;
    let (top, rate) = match extent.rate {
        Some(rate) => (None, rate),
        None => {
            let trial = closed(&addresses, Task::Mixed, TRIAL_REQUESTS, extent)?;
            let top = closed(&addresses, Task::Mixed, (trial * TOP_SECONDS) as u64, extent)?;
            (Some(top as u64), (top / 2.0) as u64)
        }
    };
    let played = stage::play(cluster, disk, &addresses, &plan(Task::Mixed, 1, extent), rate, extent.scale)?;
    Ok((top, rate, played))
}

fn plan(task: Task, pipeline: u64, extent: &Extent) -> Plan {
    Plan { task, pipeline, waits: Waits::None, replicas: 0, keys: extent.keys, value_bytes: VALUE_BYTES }
}

/// So many requests in a closed loop; gives requests a second.
fn closed(addresses: &[SocketAddr], task: Task, requests: u64, extent: &Extent) -> Result<f64, String> {
    let plan = plan(task, if task == Task::Fill { 16 } else { 1 }, extent);
    let (addresses, time_max) = (addresses.to_vec(), Duration::from_secs(60));
    let done = perform(&Run { plan, requests, clients: CLIENTS, threads: 1, addresses, time_max })?;
    match done.all.tally.first_error {
        Some(error) => {
            Err(format!("{} of {requests} requests failed in the closed loop: {error}", done.all.tally.errors))
        }
        None => Ok(requests as f64 / done.elapsed.as_secs_f64()),
    }
}

/// Where and how this was measured, and what the phases did.
fn paragraph(about: &str, extent: &Extent, top: Option<u64>, rate: u64, played: &Played) -> String {
    let why = match top {
        Some(top) => format!("half of the {top} that a closed loop of {CLIENTS} connections reached just before"),
        None => "as was asked for".to_owned(),
    };
    format!(
        "{about} {NODES} nodes, N=3 R=W=2, everysec; {} keys, {VALUE_BYTES} B values, as many GETs as SETs, over {} connections, in an \
         open loop: {rate} a second, {why}. Latency counts from when a request was due, whenever it was sent. A phase has \
         what was due in it. {}",
        extent.keys,
        generator::CONNECTIONS,
        played.facts.join(" "),
    )
}

fn write_readme(lines: &[String]) -> Result<(), String> {
    let text = std::fs::read_to_string(README).map_err(|error| format!("{README} cannot be read: {error}"))?;
    let [begin, end] = MARKS;
    let new = marked::replaced(&text, begin, end, lines)
        .ok_or_else(|| format!("{README} lacks the marks {begin} and {end}; it was not changed"))?;
    std::fs::write(README, new).map_err(|error| format!("{README} cannot be written: {error}"))
}
