//! What is done to the nodes, one thing after the other, while the load goes on.
//!
//! Each phase checks that what it is named for did happen: a backlog that is never there drains very smoothly.

use crate::batch::Plan;
use crate::generator::{Control, Load};
use crate::harness::cluster::Cluster;
use crate::harness::info;
use crate::reckoning::phase::Phase;
use crate::reckoning::plot::Mark;
use crate::still_disk::StillDisk;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One more than a key has homes: with three nodes and three copies there is nobody who could keep a hint.
pub const NODES: usize = 4;
/// The node that suffers.
pub const VICTIM: usize = 2;
const OTHERS: [usize; 3] = [0, 1, 3];
/// Smaller tables are not a memtable's: those of hints and of what a node knows about itself.
const TABLE_BYTES_MIN: u64 = 1 << 20;
/// How few bytes of hints a node notes where the exchange is to do the work. The least that can be set.
const HINT_BYTES_MIN: &str = "1024";
/// How often disks are looked at: rarely, for it is done on the cores that are measured.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long the disk stands still.
const STILL_SECONDS: f64 = 1.0;

/// What came of it.
pub struct Run {
    /// In order, each from the end of the one before.
    pub phases: Vec<Phase>,
    /// What was done when.
    pub marks: Vec<Mark>,
    /// Every request.
    pub load: Load,
    /// What the phases did, in sentences.
    pub facts: Vec<String>,
}

struct Stage {
    cluster: Cluster,
    control: Control,
    scale: f64,
    phases: Vec<Phase>,
    marks: Vec<Mark>,
    facts: Vec<String>,
    /// Large tables on the nodes' disks that were seen.
    tables: HashSet<PathBuf>,
    /// Those of them that came in the running phase.
    new_tables: Vec<PathBuf>,
}

/// Starts the load and plays all phases. Phases' lengths are multiplied by `scale`.
pub fn play(
    cluster: Cluster,
    disk: Option<StillDisk>,
    addresses: &[SocketAddr],
    plan: &Plan,
    per_second: u64,
    scale: f64,
) -> Result<Run, String> {
    let control = Control::start(addresses, plan, per_second)?;
    let (phases, marks, facts) = (Vec::new(), Vec::new(), Vec::new());
    let (tables, new_tables) = (HashSet::new(), Vec::new());
    let mut stage = Stage { cluster, control, scale, phases, marks, facts, tables, new_tables };
    // It goes before the cluster whose directory it is mounted in.
    let disk = disk;
    stage.look_for_tables();
    stage.quiet();
    stage.memtables();
    stage.hints()?;
    stage.exchange()?;
    if let Some(disk) = &disk {
        stage.still_disk(disk);
    }
    let load = stage.control.stop()?;
    if let Some(error) = &load.tally.first_error {
        stage.facts.push(format!("Errors were answered, the first: {error}."));
    }
    Ok(Run { phases: stage.phases, marks: stage.marks, load, facts: stage.facts })
}

impl Stage {
    fn quiet(&mut self) {
        let begun = self.begin("quiet");
        self.last(begun, 10.0);
    }

    fn memtables(&mut self) {
        self.begin("memtables fill, rotate and are written out");
        let least = self.now() + self.seconds(10.0);
        let most = self.now() + self.seconds(40.0);
        let homes = |stage: &Stage| -> HashSet<PathBuf> {
            stage.new_tables.iter().filter_map(|table| stage.owner(table)).collect()
        };
        while self.now() < least || (self.now() < most && homes(self).len() < NODES) {
            self.look_for_tables();
        }
        self.end();
    }

    /// A node is stopped cleanly, others note what it misses, and give it back.
    fn hints(&mut self) -> Result<(), String> {
        let begun = self.begin("the third node is stopped (SIGTERM); hints pile up");
        self.mark("stopped");
        self.cluster.nodes[VICTIM].sigterm();
        self.last(begun, 8.0);
        let pending = self.total("hints_pending");
        let begun = self.begin("it is back; the hints are given back");
        self.come_back();
        let most = self.now() + self.seconds(25.0);
        while self.now() < most && self.total("hints_pending") > 0 {
            self.look_for_tables();
        }
        let took = self.now().saturating_sub(self.phases_begin());
        let left = self.total("hints_pending");
        self.last(begun, 12.0);
        if pending == 0 {
            return Err("a node was away and no hints piled up".to_owned());
        }
        let rest = if left == 0 { String::new() } else { format!(", {left} of them were not") };
        self.facts.push(format!("{pending} hints were given back within {:.1} s{rest}.", took.as_secs_f64()));
        Ok(())
    }

    /// A node is killed, hints are hardly noted, so that comparing all copies makes it whole.
    fn exchange(&mut self) -> Result<(), String> {
        self.bound_hints(HINT_BYTES_MIN);
        let begun = self.begin("the third node is killed (kill -9)");
        self.mark("killed");
        self.cluster.nodes[VICTIM].kill9();
        self.last(begun, 8.0);
        let before: i64 = OTHERS.iter().map(|node| info::number(&self.cluster, *node, "exchange_bytes")).sum();
        let begun = self.begin("it is back; exchanges compare and repair");
        self.come_back();
        self.last(begun, 15.0);
        let spent = self.total("exchange_bytes") - before;
        self.bound_hints("1gb");
        if spent <= 0 {
            return Err("a node came back and no exchange moved anything".to_owned());
        }
        self.facts.push(format!("Exchanges then moved {:.1} MB (hints were bounded to 1 KB).", spent as f64 / 1e6));
        Ok(())
    }

    fn still_disk(&mut self, disk: &StillDisk) {
        let begun = self.begin("the third node's disk stands still for 1 s (frozen file system)");
        self.rest_until(self.now() + self.seconds(3.0));
        let mut freezer = disk.stand_still(STILL_SECONDS);
        self.mark("disk stands still");
        let _ = freezer.wait();
        self.mark("goes on");
        self.last(begun, 10.0);
    }

    fn come_back(&mut self) {
        self.cluster.nodes[VICTIM].restart();
        self.mark("back");
        self.control.call_home();
    }

    fn bound_hints(&self, bytes: &str) {
        for node in self.cluster.nodes.iter().filter(|node| node.runs()) {
            node.connect().done(&format!("CONFIG SET hint-bytes-max {bytes}"));
        }
    }

    fn total(&self, name: &str) -> i64 {
        info::total(&self.cluster, name)
    }

    fn now(&self) -> Duration {
        self.control.begun.elapsed()
    }

    fn seconds(&self, seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds * self.scale)
    }

    fn mark(&mut self, text: &str) {
        self.marks.push(Mark { at: self.now(), text: text.to_owned() });
    }

    /// Begins a phase; gives when.
    fn begin(&mut self, name: &str) -> Duration {
        eprintln!("{:5.1} s: {name}", self.now().as_secs_f64());
        let begin = self.phases.last().map_or(Duration::ZERO, |phase| phase.end);
        self.phases.push(Phase { name: name.to_owned(), begin, end: begin, tables: 0 });
        self.new_tables.clear();
        begin
    }

    fn phases_begin(&self) -> Duration {
        self.phases.last().map_or(Duration::ZERO, |phase| phase.begin)
    }

    /// Ends the running phase.
    fn end(&mut self) {
        let (now, tables) = (self.now(), self.new_tables.len() as u64);
        if let Some(phase) = self.phases.last_mut() {
            (phase.end, phase.tables) = (now, tables);
        }
    }

    /// Lets the running phase last so many seconds from its beginning, or until now, and ends it.
    fn last(&mut self, begun: Duration, seconds: f64) {
        self.rest_until(begun + self.seconds(seconds));
        self.end();
    }

    fn rest_until(&mut self, until: Duration) {
        while self.now() < until {
            self.look_for_tables();
        }
    }

    /// Notes tables that have come, then waits a little.
    fn look_for_tables(&mut self) {
        for node in &self.cluster.nodes {
            for table in large_tables(&node.dir) {
                if self.tables.insert(table.clone()) {
                    self.new_tables.push(table);
                }
            }
        }
        std::thread::sleep(LOOK_EVERY);
    }

    fn owner(&self, table: &Path) -> Option<PathBuf> {
        self.cluster.nodes.iter().map(|node| node.dir.clone()).find(|dir| table.starts_with(dir))
    }
}

/// The large tables of a node's engine.
fn large_tables(dir: &Path) -> Vec<PathBuf> {
    let files = |dir: PathBuf| std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let spaces = files(dir.join("objects/keyspaces"));
    let tables = spaces.flat_map(|space| files(space.join("tables")));
    tables.filter(|table| table.metadata().is_ok_and(|data| data.len() >= TABLE_BYTES_MIN)).collect()
}
