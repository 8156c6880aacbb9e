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

/// Processor seconds of this process: in the system, and its own.
pub fn cpu_seconds() -> (f64, f64) {
    let stat = read_to_string("/proc/self/stat").unwrap_or_default();
    // The program's name stands in parentheses and may hold spaces.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let seconds = |place| field(after_name, place).unwrap_or(0) as f64 / TICKS_PER_SECOND;
    (seconds(12), seconds(11))
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
        let before = cpu_seconds();
        let after = cpu_seconds();
        assert!(after.0 >= before.0 && after.1 >= before.1);
    }
}
