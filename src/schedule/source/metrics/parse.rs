//! What the files of /proc and /sys say. Pure.

use serde_json::{Map, Value as Json, json};

/// What the processors have done since boot, in ticks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CpuTimes {
    busy: u64,
    total: u64,
}

impl CpuTimes {
    /// How much of the time since `before` they were busy, 0 to 100.
    pub(super) fn percent_since(self, before: CpuTimes) -> f64 {
        percent(self.busy.saturating_sub(before.busy), self.total.saturating_sub(before.total))
    }
}

/// `part` of `whole`, 0 to 100, with one digit.
pub(super) fn percent(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 0.0,
        whole => (part as f64 / whole as f64 * 1000.0).round().clamp(0.0, 1000.0) / 10.0,
    }
}

/// The first line of /proc/stat (proc(5)).
pub(super) fn cpu_times(stat: &str) -> Option<CpuTimes> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    // user nice system idle iowait irq softirq steal; what follows is counted in these.
    let ticks = line.split_whitespace().take(8).map(str::parse).collect::<Result<Vec<u64>, _>>().ok()?;
    let idle = ticks.get(3)?.saturating_add(ticks.get(4).copied().unwrap_or(0));
    let total = ticks.iter().fold(0, |sum: u64, ticks| sum.saturating_add(*ticks));
    Some(CpuTimes { busy: total.saturating_sub(idle), total })
}

/// /proc/meminfo, in bytes.
pub(super) fn memory(meminfo: &str) -> Option<Json> {
    let bytes = |key: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
    };
    let (total, available) = (bytes("MemTotal")?, bytes("MemAvailable")?);
    let swap_used = bytes("SwapTotal").zip(bytes("SwapFree")).map(|(total, free)| total.saturating_sub(free));
    Some(json!({
        "total": total,
        "available": available,
        "used_percent": percent(total.saturating_sub(available), total),
        "swap_used": swap_used,
    }))
}

/// /proc/uptime, in whole seconds.
pub(super) fn uptime(uptime: &str) -> Option<Json> {
    uptime.split('.').next()?.parse::<u64>().ok().map(Json::from)
}

/// The bits of `get_throttled` as the Raspberry Pi's firmware has them: 0 is under-voltage, 1 to 3 are ways of being slower
/// than it could (frequency capped, throttled, soft temperature limit), and from 16 on whether each has been since boot.
pub(super) fn throttled(text: &str) -> Map<String, Json> {
    let text = text.trim();
    let Ok(bits) = u32::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16) else { return Map::new() };
    let any = |mask: u32| Json::from(bits & mask != 0);
    [
        ("under_voltage", any(0x1)),
        ("under_voltage_since_boot", any(0x1_0000)),
        ("throttled", any(0xe)),
        ("throttled_since_boot", any(0xe_0000)),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}
