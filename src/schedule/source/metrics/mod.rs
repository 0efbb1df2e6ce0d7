//! `metrics`: how this machine is, from /proc and /sys.
//!
//! Read here rather than by a crate: the six of them are a dozen small files, a crate for them brings hundreds of kilobytes and
//! lists of processes, and none knows what a Raspberry Pi says of its power supply.

mod parse;

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;
use serde_json::{Map, Value as Json, json};
use thiserror::Error;

use super::aside::PATIENCE;
use crate::config::Metric;
use parse::CpuTimes;

/// What the processor had done when it was last read: its load is the difference.
pub(super) type Baseline = Cell<Option<CpuTimes>>;

/// Why a metric isn't there.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum MetricError {
    #[error("this machine doesn't tell {}: null is sent instead. Leave what it never tells out of `metrics`", .0.join(", "))]
    Lacking(Vec<String>),
    #[error("/proc and /sys can't be read within {}", crate::duration::written(PATIENCE))]
    Slow,
}

/// All metrics that were asked for.
#[derive(Debug)]
pub(super) struct Reading {
    /// An object with a member for each; null for one that isn't there.
    pub(super) value: Json,
    pub(super) cpu: Option<CpuTimes>,
    pub(super) lacks: Option<MetricError>,
}

/// Where /proc and /sys are.
#[derive(Debug)]
pub(super) struct Machine {
    root: PathBuf,
}

impl Default for Machine {
    fn default() -> Machine {
        Machine { root: PathBuf::from("/") }
    }
}

impl Machine {
    /// Reads `metrics`. `before` is the [`Reading::cpu`] of the last time. It may block.
    pub(super) fn read(&self, metrics: &[Metric], before: Option<CpuTimes>) -> Reading {
        let (mut members, mut lacking, mut cpu) = (Map::new(), Vec::new(), before);
        for metric in metrics {
            let found = match metric {
                Metric::Cpu => self.cpu(&mut cpu),
                Metric::Memory => self.text("proc/meminfo").and_then(|text| parse::memory(&text)),
                Metric::Disk => self.disk(),
                Metric::Temperature => self.temperature(),
                Metric::Network => self.network(),
                Metric::Uptime => self.text("proc/uptime").and_then(|text| parse::uptime(&text)),
            };
            if found.is_none() {
                lacking.push(format!("its {}", metric.as_str()));
            }
            members.insert(metric.as_str().to_owned(), found.unwrap_or_default());
        }
        let lacks = (!lacking.is_empty()).then_some(MetricError::Lacking(lacking));
        Reading { value: Json::Object(members), cpu, lacks }
    }

    fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok()
    }

    /// The entries of a directory by name; none if it isn't there.
    fn entries(&self, path: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.root.join(path)).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.sort_unstable();
        paths
    }

    /// How busy it was since `times`, which become those of now, and what a Raspberry Pi says of its speed and its power.
    fn cpu(&self, times: &mut Option<CpuTimes>) -> Option<Json> {
        let now = parse::cpu_times(&self.text("proc/stat")?)?;
        let mut cpu = Map::new();
        cpu.insert("percent".to_owned(), json!(now.percent_since(times.unwrap_or_default())));
        *times = Some(now);
        let load = self.text("proc/loadavg").and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
        cpu.insert("load".to_owned(), json!(load));
        cpu.extend(self.raspberry_pi());
        Some(Json::Object(cpu))
    }

    /// The firmware's word on throttling and under-voltage; without it, that of its voltage sensor.
    fn raspberry_pi(&self) -> Map<String, Json> {
        let firmware = self.entries("sys/bus/platform/drivers/raspberrypi-firmware");
        if let Some(text) = firmware.iter().find_map(|device| self.text(device.join("get_throttled"))) {
            return parse::throttled(&text);
        }
        let sensors = self.entries("sys/class/hwmon");
        let sensor =
            sensors.iter().find(|path| self.text(path.join("name")).is_some_and(|name| name.trim() == "rpi_volt"));
        let alarm = sensor.and_then(|path| self.text(path.join("in0_lcrit_alarm")));
        alarm.map(|alarm| ("under_voltage".to_owned(), json!(alarm.trim() == "1"))).into_iter().collect()
    }

    /// The file system of /.
    #[allow(clippy::useless_conversion, reason = "on 32-bit architectures these counts have 32 bits")]
    fn disk(&self) -> Option<Json> {
        let found = statvfs(&self.root).ok()?;
        let block = u64::from(found.fragment_size());
        let bytes = |blocks: u64| blocks.saturating_mul(block);
        let (total, free, available) =
            (u64::from(found.blocks()), u64::from(found.blocks_free()), u64::from(found.blocks_available()));
        let used = total.saturating_sub(free);
        // As df(1) has it: of what may be used at all.
        let percent = parse::percent(used, used.saturating_add(available));
        Some(json!({ "total": bytes(total), "available": bytes(available), "used_percent": percent }))
    }

    /// Degrees Celsius of the hottest thermal zone.
    fn temperature(&self) -> Option<Json> {
        let zones = self.entries("sys/class/thermal");
        let millidegrees = zones.iter().filter_map(|zone| self.text(zone.join("temp"))?.trim().parse::<i64>().ok());
        // A sensor that is off reads as absolute zero or less.
        let hottest = millidegrees.filter(|temp| *temp > -273_150).max()?;
        Some(json!(hottest as f64 / 1000.0))
    }

    /// Bytes through each interface since it came up, the loopback left out.
    fn network(&self) -> Option<Json> {
        let mut interfaces = Map::new();
        for path in self.entries("sys/class/net") {
            let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|name| *name != "lo") else {
                continue;
            };
            let counter = |file: &str| self.text(path.join("statistics").join(file))?.trim().parse::<u64>().ok();
            let (received, sent) = (counter("rx_bytes"), counter("tx_bytes"));
            let up = self.text(path.join("carrier")).is_some_and(|carrier| carrier.trim() == "1");
            interfaces.insert(name.to_owned(), json!({ "up": up, "received": received, "sent": sent }));
        }
        (!interfaces.is_empty()).then_some(Json::Object(interfaces))
    }
}

#[cfg(test)]
mod tests;
