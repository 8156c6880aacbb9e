//! Running real clients: redis-cli, redis-benchmark, and the scripts in `compat-tests/clients/`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// How long a client may run, in seconds.
const CLIENT_SECONDS: &str = "90";

/// What a client said and how it ended.
#[derive(Debug)]
pub struct Said {
    /// Standard output.
    pub output: String,
    /// Standard error.
    pub errors: String,
    /// Whether it ended with 0.
    pub well: bool,
}

impl Said {
    /// The output of a client that must have ended well.
    pub fn expect_well(self, what: &str) -> String {
        assert!(self.well, "{what} failed:\n{}\n{}", self.output, self.errors);
        self.output
    }
}

/// The folder of these tests.
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("compat-tests")
}

/// Runs a program of the system to its end.
pub fn run(program: &str, arguments: &[&str]) -> Said {
    let mut command = Command::new("timeout");
    command.arg(CLIENT_SECONDS).arg(program).args(arguments).stdin(Stdio::null());
    let output = command.output().unwrap_or_else(|error| panic!("{program} cannot be started: {error}"));
    assert_ne!(
        output.status.code(),
        Some(127),
        "{program} is not installed; compat-tests/run installs what these tests need"
    );
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { output: text(&output.stdout), errors: text(&output.stderr), well: output.status.success() }
}

/// Runs redis-cli against a node.
pub fn redis_cli(address: SocketAddr, arguments: &[&str]) -> Said {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    run("redis-cli", &[&["-h", &host, "-p", &port], arguments].concat())
}

/// Runs redis-benchmark against a node, quietly.
pub fn redis_benchmark(address: SocketAddr, arguments: &[&str]) -> Said {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    run("redis-benchmark", &[&["-h", &host, "-p", &port, "-q"], arguments].concat())
}

/// Runs one of our Python scripts in the tests' own Python; it must end well.
pub fn python(script: &str, arguments: &[&str]) {
    let interpreter = folder().join(".venv/bin/python");
    assert!(interpreter.exists(), "{} is missing; compat-tests/run makes it", interpreter.display());
    script_of(&interpreter.to_string_lossy(), script, arguments);
}

/// Runs one of our scripts in Node; it must end well.
pub fn node(script: &str, arguments: &[&str]) {
    let modules = folder().join("clients/node_modules");
    assert!(modules.exists(), "{} is missing; compat-tests/run makes it", modules.display());
    script_of("node", script, arguments);
}

/// Runs one of our scripts in Node with another release of its library; it must end well.
pub fn node_with(library: &str, script: &str, arguments: &[&str]) {
    script_of("env", "", &[&[&format!("LIBRARY={library}")[..], "node", &path_of(script)], arguments].concat());
}

/// Runs one of our Python scripts with an older redis-py; it must end well.
pub fn older_python(script: &str, arguments: &[&str]) {
    let (here, interpreter) = (folder().join(".venv"), folder().join(".venv/bin/python"));
    let library = format!("PYTHONPATH={}", here.join("redis-7").display());
    let interpreter = interpreter.to_string_lossy();
    script_of("env", "", &[&[&library[..], &interpreter, &path_of(script)], arguments].concat());
}

/// Runs one of our scripts in Ruby; it must end well.
pub fn ruby(script: &str, arguments: &[&str]) {
    script_of("ruby", script, arguments);
}

/// Runs one of our scripts in PHP; it must end well.
pub fn php(script: &str, arguments: &[&str]) {
    script_of("php", script, arguments);
}

/// The program that drives Rust's libraries, a package of its own.
pub fn rust_clients() -> PathBuf {
    let program = folder().join("clients/rust/target/debug/dynamis-compat-clients");
    assert!(program.exists(), "{} is missing; compat-tests/run builds it", program.display());
    program
}

/// Runs the program that drives Rust's libraries; it must end well.
pub fn rust(arguments: &[&str]) {
    run(&rust_clients().to_string_lossy(), arguments).expect_well(&arguments.join(" "));
}

fn path_of(script: &str) -> String {
    folder().join("clients").join(script).to_string_lossy().into_owned()
}

fn script_of(interpreter: &str, script: &str, arguments: &[&str]) {
    let path = path_of(script);
    let script: &[&str] = if script.is_empty() { &[] } else { &[&path] };
    run(interpreter, &[script, arguments].concat()).expect_well(&[script, arguments].concat().join(" "));
}
