//! How much memory this machine, or the container on it, has. In: nothing. Out: bytes; queries may have half of them by default.

use sysinfo::{MemoryRefreshKind, System};

/// What queries may have where nothing says how much memory there is.
const UNKNOWN_BYTES: usize = 4 << 30;

/// Half of the memory of the machine, or of the container if that may have less.
pub fn default_memory_bytes() -> usize {
    let mut system = System::new();
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
    let container = system.cgroup_limits().map(|limits| limits.total_memory);
    let least =
        [Some(system.total_memory()), container].into_iter().flatten().filter(|&n| n > 0).min();
    least.map_or(UNKNOWN_BYTES, |bytes| usize::try_from(bytes / 2).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_how_much_memory_there_is() {
        let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
        let total = meminfo.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap();
        assert!((1 << 20..=total * 512).contains(&default_memory_bytes()));
    }
}
