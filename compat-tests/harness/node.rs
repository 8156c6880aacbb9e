//! One node: one process of the real binary, with its directory and its log.

use super::resp::Connection;
use super::{faketime, wait};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_dynamis-server");
/// How much of a log is shown when a test fails.
const LOG_BYTES_SHOWN: u64 = 6000;

/// A node that was started at least once.
#[derive(Debug)]
pub struct Node {
    /// Where its clients come in.
    pub address: SocketAddr,
    /// Where cluster clients come in.
    pub view: SocketAddr,
    /// Where other nodes come in.
    pub bus: SocketAddr,
    /// Its directory.
    pub dir: PathBuf,
    /// Where its standard output and error go.
    pub log: PathBuf,
    /// Its flags: name and value.
    pub settings: Vec<(String, String)>,
    /// The network namespace it runs in, if it has one of its own.
    pub namespace: Option<String>,
    /// What its process finds in its environment beside ours.
    pub environment: Vec<(String, String)>,
    /// The configuration file it is started with, if any.
    pub file: Option<PathBuf>,
    /// The file that says how wrong its clock is, if it goes by a clock of its own.
    clock: Option<PathBuf>,
    process: Option<Child>,
}

impl Node {
    /// A node that is not running yet.
    pub fn new(
        address: SocketAddr,
        view: SocketAddr,
        bus: SocketAddr,
        home: &Path,
        settings: Vec<(String, String)>,
        namespace: Option<String>,
    ) -> Node {
        let (dir, log) = (home.to_path_buf(), home.with_extension("log"));
        let environment = Vec::new();
        Node { address, view, bus, dir, log, settings, namespace, environment, file: None, clock: None, process: None }
    }

    /// Starts the process; does not wait for it.
    pub fn start(&mut self) {
        assert!(self.process.is_none(), "{} runs already", self.address);
        let log = OpenOptions::new().create(true).append(true).open(&self.log).expect("a log can be written");
        let mut command = command(self.namespace.as_deref());
        command.envs(self.environment.iter().cloned());
        command.args(&self.file).arg("--dir").arg(&self.dir);
        for (name, value) in &self.settings {
            command.arg(format!("--{name}")).arg(value);
        }
        if let Some(clock) = &self.clock {
            command.envs(faketime::environment(clock));
        }
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a second handle")).stderr(log);
        self.process = Some(command.spawn().expect("the node's process starts"));
    }

    /// Sets a flag for the next start.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.retain(|(known, _)| known != name);
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    /// Makes its clock wrong by so many seconds: from its next start on, or, if it has such a clock already, within a second.
    pub fn set_clock(&mut self, ahead_s: i64) {
        let clock = self.dir.with_extension("clock");
        faketime::set(&clock, ahead_s);
        self.clock = Some(clock);
    }

    /// The process id; panics when it does not run.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("the node runs").id()
    }

    /// Whether its process was started and not ended by us.
    pub fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// A new connection; panics when it is refused.
    pub fn connect(&self) -> Connection {
        self.try_connect().unwrap_or_else(|error| panic!("{} refuses: {error}", self.address))
    }

    /// A new connection to its cluster view; panics when it is refused.
    pub fn connect_view(&self) -> Connection {
        Connection::open(self.view).unwrap_or_else(|error| panic!("{} refuses: {error}", self.view))
    }

    /// A new connection.
    pub fn try_connect(&self) -> std::io::Result<Connection> {
        Connection::open(self.address)
    }

    /// Waits until the node answers PING, and is in its cluster; panics with its log when its process ends instead.
    pub fn wait_until_serving(&mut self) {
        let (address, log) = (self.address, self.log.clone());
        let process = self.process.as_mut().expect("the node runs");
        wait::until(&format!("{address} answers PING"), 30, || {
            if let Ok(Some(status)) = process.try_wait() {
                panic!("{address} ended by itself ({status}); its log ends with:\n{}", tail(&log));
            }
            let answer = Connection::open(address).and_then(|mut connection| connection.try_ask(&["PING"]));
            answer.is_ok_and(|answer| !answer.to_string().starts_with("-LOADING "))
        });
    }

    /// Waits until its process has ended by itself, and tells how.
    pub fn wait_until_ended(&mut self) -> ExitStatus {
        let process = self.process.as_mut().expect("the node runs");
        let status =
            wait::found("the process ends by itself", 20, || process.try_wait().expect("a child can be asked"));
        self.process = None;
        status
    }

    /// While `body` runs the node cannot save its member list.
    pub fn unable_to_save_members(&self, body: impl FnOnce()) {
        // A folder in its place: no file can be renamed over it.
        let (list, aside) = (self.dir.join("cluster"), self.dir.join("cluster-aside"));
        std::fs::rename(&list, &aside).expect("the list can be moved");
        std::fs::create_dir(&list).expect("a folder can be made");
        body();
        std::fs::remove_dir(&list).expect("the folder can go");
        std::fs::rename(&aside, &list).expect("the list can come back");
    }

    /// kill -9, and waits until it is gone.
    pub fn kill9(&mut self) {
        self.signal(Signal::KILL);
        self.ended();
    }

    /// kill -9; does not wait. [`Node::kill9`] collects it.
    pub fn hit(&self) {
        self.signal(Signal::KILL);
    }

    /// SIGTERM; does not wait. [`Node::stopped`] collects it.
    pub fn tell_to_stop(&self) {
        self.signal(Signal::TERM);
    }

    /// SIGTERM, and waits until it is gone; gives its exit status.
    pub fn sigterm(&mut self) -> ExitStatus {
        self.tell_to_stop();
        self.stopped()
    }

    /// Waits until it is gone after [`Node::tell_to_stop`]; gives its exit status.
    pub fn stopped(&mut self) -> ExitStatus {
        let process = self.process.as_mut().expect("the node runs");
        wait::until("the node ends after SIGTERM", 20, || process.try_wait().is_ok_and(|status| status.is_some()));
        self.ended()
    }

    /// Stops it in its tracks: connections stay open and nobody answers.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        // The signal is on its way when it has been sent: a thread that runs may still answer.
        wait::until("the node stands still", 5, || self.stands_still());
    }

    /// Whether every thread of the process is stopped.
    fn stands_still(&self) -> bool {
        let Ok(threads) = std::fs::read_dir(format!("/proc/{}/task", self.pid())) else { return false };
        threads.flatten().all(|thread| {
            let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
        })
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Starts it again on what its directory holds, and waits until it answers.
    pub fn restart(&mut self) {
        self.start();
        self.wait_until_serving();
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("a signal can be sent to our own child");
    }

    fn ended(&mut self) -> ExitStatus {
        self.process.take().expect("the node runs").wait().expect("a child can be waited for")
    }

    /// Everything it logged.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).expect("a log can be read")).into_owned()
    }

    /// What it logged, at most the last few thousand bytes.
    pub fn log_tail(&self) -> String {
        tail(&self.log)
    }

    /// Memory that is resident, in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("/proc is there");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS is there");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // It may have ended by itself; then there is nothing to kill, and wait only collects it.
            let _ = process.kill();
            let _ = process.wait();
        }
        if std::thread::panicking() {
            eprintln!("---- the log of {} ends with:\n{}", self.address, self.log_tail());
        }
    }
}

/// The binary's command line so far; the kernel kills the process when the thread that starts it ends.
pub fn command(namespace: Option<&str>) -> Command {
    let mut command = match namespace {
        Some(namespace) => {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", namespace, "setpriv"]);
            command
        }
        None => Command::new("setpriv"),
    };
    command.args(["--pdeathsig", "KILL", "--", BINARY]);
    command
}

/// The end of a file.
fn tail(path: &Path) -> String {
    let mut text = Vec::new();
    if let Ok(mut file) = File::open(path) {
        let length = file.metadata().map_or(0, |data| data.len());
        let _ = file.seek(SeekFrom::Start(length.saturating_sub(LOG_BYTES_SHOWN)));
        let _ = file.read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}
