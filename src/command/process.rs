//! What the system knows of this process: memory and processor time.
//!
//! Contract: numbers come from /proc; where there is none they are 0, and never an error.

use std::fs::read_to_string;

/// Bytes in a page, as Linux counts memory in /proc/self/statm on the machines we run on.
const PAGE_BYTES: u64 = 4096;

/// Ticks in a second in /proc/self/stat: fixed by Linux for what it shows to programs.
const TICKS_PER_SECOND: f64 = 100.0;

/// Memory that lies in RAM, in bytes.
pub fn resident_bytes() -> u64 {
    let pages = read_to_string("/proc/self/statm").ok().and_then(|text| field(&text, 1));
    pages.unwrap_or(0) * PAGE_BYTES
}

/// The most memory that ever lay in RAM, in bytes.
pub fn resident_peak_bytes() -> u64 {
    let status = read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| field(line, 0)).unwrap_or(0) * 1024
}

/// Processor seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cpu {
    /// Of this process, in the system.
    pub system: f64,
    /// Of this process, its own.
    pub user: f64,
    /// Of its children, in the system.
    pub children_system: f64,
    /// Of its children, their own.
    pub children_user: f64,
    /// Of its first thread, in the system.
    pub main_system: f64,
    /// Of its first thread, its own.
    pub main_user: f64,
}

/// Processor seconds spent so far.
pub fn cpu() -> Cpu {
    let process = read_to_string("/proc/self/stat").unwrap_or_default();
    let main = read_to_string(format!("/proc/self/task/{}/stat", std::process::id())).unwrap_or_default();
    Cpu {
        system: seconds(&process, 12),
        user: seconds(&process, 11),
        children_system: seconds(&process, 14),
        children_user: seconds(&process, 13),
        main_system: seconds(&main, 12),
        main_user: seconds(&main, 11),
    }
}

/// A field of a stat file, in seconds.
fn seconds(stat: &str, place: usize) -> f64 {
    // The program's name stands in parentheses and may hold spaces.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    field(after_name, place).unwrap_or(0) as f64 / TICKS_PER_SECOND
}

/// The system's name, release and machine, as `uname` says them.
pub fn system() -> String {
    let release = read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let name = if cfg!(target_os = "linux") { "Linux" } else { std::env::consts::OS };
    [name, release.trim(), std::env::consts::ARCH]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// All memory of the machine, in bytes.
pub fn machine_bytes() -> u64 {
    let info = read_to_string("/proc/meminfo").unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    line.and_then(|line| field(line, 0)).unwrap_or(0) * 1024
}

fn field(text: &str, place: usize) -> Option<u64> {
    text.split_whitespace().nth(place)?.parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_process_has_a_size_below_its_peak_and_the_machine() {
        assert!(resident_bytes() > 1 << 20);
        assert!(resident_peak_bytes() <= machine_bytes());
        let before = cpu();
        let after = cpu();
        assert!(after.system >= before.system && after.user >= before.user);
        assert!(after.main_user <= after.user + 0.1, "{after:?}");
        assert!(system().starts_with("Linux ") && system().split(' ').count() == 3);
    }
}
