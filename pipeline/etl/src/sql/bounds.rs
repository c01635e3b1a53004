//! How much memory this machine, or the container on it, has. In: nothing. Out: bytes; queries may have half of them by default.

use std::fs;

/// What queries may have where nothing says how much memory there is.
const UNKNOWN_BYTES: usize = 4 << 30;

/// Half of the memory of the machine, or of the container if that may have less.
pub fn default_memory_bytes() -> usize {
    let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let limits =
        limits.iter().filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok());
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_bytes(&text));
    limits.chain(machine).min().map_or(UNKNOWN_BYTES, |bytes: usize| bytes / 2)
}

/// `MemTotal:       24689764 kB`
fn total_bytes(meminfo: &str) -> Option<usize> {
    let line = meminfo.lines().find(|line| line.starts_with("MemTotal:"))?;
    line.split_whitespace().nth(1)?.parse::<usize>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_how_much_memory_there_is() {
        let text = "MemTotal:       24689764 kB\nMemFree:         1000 kB\n";
        assert_eq!(total_bytes(text), Some(24_689_764 * 1024));
        assert_eq!(total_bytes("MemFree: 1 kB"), None);
        assert!(default_memory_bytes() > 1 << 20);
    }
}
