//! The memory that this process takes, as the kernel counts it.

use serde::Serialize;

/// The `memory` of the status document, in bytes: pages of the binary and of libraries included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct MemoryStatus {
    pub(crate) resident: u64,
    /// The most that was resident since the start.
    pub(crate) peak: u64,
}

/// `None` where there is no /proc.
pub(crate) fn status() -> Option<MemoryStatus> {
    parse(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// Reads what proc_pid_status(5) describes.
fn parse(text: &str) -> Option<MemoryStatus> {
    let bytes = |key| {
        let value = text.lines().find_map(|line| line.strip_prefix(key))?;
        value.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
    };
    Some(MemoryStatus { resident: bytes("VmRSS:")?, peak: bytes("VmHWM:")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_become_bytes() {
        let text = "Name:\tgatewire\nVmHWM:\t    6100 kB\nVmRSS:\t    5300 kB\nThreads:\t2\n";
        assert_eq!(parse(text), Some(MemoryStatus { resident: 5300 * 1024, peak: 6100 * 1024 }));
        assert_eq!(parse("Name:\tkthreadd\n"), None);
        let own = status().unwrap();
        assert!(own.resident > 100 * 1024 && own.peak >= own.resident, "{own:?}");
    }
}
