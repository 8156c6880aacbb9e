//! What this was measured on.

use std::process::Command;

/// Cores, processor, kernel, version, day, and how busy the machine was, as sentences.
pub fn about() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let info = read("/proc/cpuinfo");
    let processor =
        info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, name)| name);
    let kernel = read("/proc/sys/kernel/osrelease");
    let busy = read("/proc/loadavg");
    let changed = if said("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty() {
        ""
    } else {
        " with local changes"
    };
    format!(
        "{cores} cores of {}, Linux {}, dynamis {}{changed}, {}. Servers and load generator share these cores; nothing kept the \
         machine quiet (load average at the start: {}).",
        processor.unwrap_or(std::env::consts::ARCH),
        kernel.trim(),
        said("git", &["rev-parse", "--short", "HEAD"]),
        said("date", &["+%F"]),
        busy.split(' ').next().unwrap_or_default(),
    )
}

/// What a program prints; nothing where it fails.
fn said(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output();
    output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
