//! What a node refuses to start with: one sentence, that names the thing and says what to do.

use crate::harness::cluster::{Cluster, free_port};
use crate::harness::node::command;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// How long a refusal may take.
const REFUSED_WITHIN: Duration = Duration::from_secs(10);

/// Starts a node that must refuse; gives what it said, without its log.
fn refusal(dir: &Path, arguments: &[&str]) -> String {
    let mut command = command(None);
    let (port, bus) = (free_port().to_string(), free_port().to_string());
    if !arguments.contains(&"--port") {
        command.args(["--port", &port]);
    }
    if !arguments.contains(&"--cluster-port") {
        command.args(["--cluster-port", &bus]);
    }
    if !arguments.contains(&"--dir") {
        command.arg("--dir").arg(dir);
    }
    let process = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::null());
    let mut process = process.spawn().expect("the process starts");
    let begun = Instant::now();
    while process.try_wait().expect("a child can be looked at").is_none() {
        if begun.elapsed() > REFUSED_WITHIN {
            process.kill().expect("our own child can be killed");
            let output = process.wait_with_output().expect("it ended");
            panic!("{arguments:?} was not refused; it said: {}", String::from_utf8_lossy(&output.stderr));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = process.wait_with_output().expect("it ended");
    assert!(!output.status.success(), "{arguments:?} must end with an error");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains("panicked") && !said.contains("Error {"), "{said}");
    let refusal: Vec<&str> = said.lines().skip_while(|line| !line.starts_with("dynamis-server: ")).collect();
    refusal.join("\n")
}

/// One sentence on one line.
fn says(said: &str, parts: &[&str]) {
    assert!(said.lines().count() == 1, "one sentence: {said:?}");
    for part in parts {
        assert!(said.contains(part), "the refusal does not name {part:?}: {said:?}");
    }
}

/// Settings that contradict each other or are none.
#[test]
fn settings_that_cannot_be() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("data");
    for (arguments, parts) in [
        (&["--r", "4"][..], &["r (4) must not exceed n (3)"][..]),
        (&["--w", "4"], &["w (4) must not exceed n (3)"]),
        (&["--dw", "3"], &["dw (3) must not exceed w (2)"]),
        (&["--storage-engine", "memory", "--dw", "1"], &["dw (1)", "storage-engine (memory)"]),
        (&["--prot", "1"], &["prot", "nearest", "port"]),
        (&["--aplendfsync", "no"], &["aplendfsync", "appendfsync"]),
        (&["--appendfsync", "sometimes"], &["appendfsync", "sometimes"]),
        (&["--partitions", "100"], &["partitions", "100", "power of two"]),
        (&["--maxclients", "many"], &["maxclients", "many"]),
        (&["/no/such/file.toml"], &["/no/such/file.toml", "cannot be read"]),
        (&["--cluster-port", "7777", "--port", "7777"], &["cluster-port (7777)", "port (7777)"]),
    ] {
        says(&refusal(&dir, arguments), parts);
        assert!(!dir.exists(), "{arguments:?}: a refused start makes no directory");
    }
}

/// A file with an unknown key, and one that is no TOML.
#[test]
fn files_that_cannot_be_read() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("my.toml");
    let path = file.to_string_lossy().into_owned();
    for (text, parts) in [
        ("max-clients = 5\n", &["my.toml", "max-clients", "maxclients"][..]),
        ("port = \n", &["my.toml", "TOML"]),
        ("[[database]]\nindex = 1\nn = 1\n", &["my.toml", "[[database]] 1"]),
    ] {
        std::fs::write(&file, text).unwrap();
        let said = refusal(&home.path().join("data"), &[&path]);
        // A contradiction is found when file and flags lie over each other, so it names no file.
        let parts = if said.contains("[[database]]") { &parts[1..] } else { parts };
        says(&said, parts);
    }
}

/// A client port and a bus port that somebody has.
#[test]
fn ports_in_use() {
    let home = tempfile::tempdir().unwrap();
    for flag in ["--port", "--cluster-port"] {
        let port = free_port();
        let taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let said = refusal(&home.path().join("data"), &[flag, &port.to_string()]);
        says(&said, &[&port.to_string(), "in use"]);
        drop(taken);
    }
}

/// A directory that another node uses; that node is not disturbed.
#[test]
fn a_directory_in_use() {
    let cluster = Cluster::single(&[]);
    let dir = cluster.nodes[0].dir.to_string_lossy().into_owned();
    says(&refusal(&cluster.nodes[0].dir, &[]), &[&dir, "in use by another running node"]);
    cluster.connect(0).done("SET k v");
}

/// A directory of a node of another cluster.
#[test]
fn a_directory_of_another_cluster() {
    let mut cluster = Cluster::single(&[("cluster-name", "shop")]);
    cluster.connect(0).done("SET k v");
    cluster.nodes[0].sigterm();
    let said = refusal(&cluster.nodes[0].dir, &["--cluster-name", "bank"]);
    says(&said, &["shop", "bank"]);
    cluster.nodes[0].restart();
    assert_eq!(cluster.connect(0).run("GET k").text(), "v", "the refused start changed nothing");
}

/// A path that is no directory.
#[test]
fn a_directory_that_is_none() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file");
    std::fs::write(&file, "not a directory").unwrap();
    says(&refusal(&file, &[]), &[&file.to_string_lossy()]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "not a directory");
}

/// A directory that a later version of the program wrote.
#[test]
fn a_directory_of_a_newer_format() {
    let mut cluster = Cluster::single(&[]);
    cluster.nodes[0].sigterm();
    let identity = cluster.nodes[0].dir.join("identity");
    let written = std::fs::read(&identity).unwrap();
    let mut newer = written.clone();
    // The format's place in every sealed file, see `storage::files`.
    newer[8..10].copy_from_slice(&[0x7f, 0xff]);
    std::fs::write(&identity, newer).unwrap();
    says(&refusal(&cluster.nodes[0].dir, &[]), &["identity", "format 32767", "newer than this program knows"]);
    std::fs::write(&identity, written).unwrap();
    cluster.nodes[0].restart();
}
