use tempfile::TempDir;

use super::*;

const ALL: [Metric; 6] =
    [Metric::Cpu, Metric::Memory, Metric::Disk, Metric::Temperature, Metric::Network, Metric::Uptime];

/// A machine with the files given.
fn machine(files: &[(&str, &str)]) -> (TempDir, Machine) {
    let directory = TempDir::new().unwrap();
    for (path, text) in files {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let root = directory.path().to_owned();
    (directory, Machine { root })
}

const STAT: &str = "cpu  100 0 50 800 50 0 0 0 7 7\ncpu0 100 0 50 800 50 0 0 0 7 7\nintr 5\n";

#[test]
fn a_raspberry_pi_tells_how_it_is() {
    let (_directory, machine) = machine(&[
        ("proc/stat", STAT),
        ("proc/loadavg", "0.31 0.20 0.15 1/123 4567\n"),
        (
            "proc/meminfo",
            "MemTotal:        1000 kB\nMemFree: 1 kB\nMemAvailable:     250 kB\nSwapTotal: 100 kB\nSwapFree: 90 kB\n",
        ),
        ("proc/uptime", "12345.67 40000.00\n"),
        ("sys/class/thermal/cooling_device0/cur_state", "0\n"),
        ("sys/class/thermal/thermal_zone0/temp", "48312\n"),
        ("sys/class/thermal/thermal_zone1/temp", "-274000\n"),
        ("sys/class/net/lo/statistics/rx_bytes", "1\n"),
        ("sys/class/net/eth0/statistics/rx_bytes", "1000\n"),
        ("sys/class/net/eth0/statistics/tx_bytes", "2000\n"),
        ("sys/class/net/eth0/carrier", "1\n"),
        ("sys/bus/platform/drivers/raspberrypi-firmware/soc:firmware/get_throttled", "50005\n"),
    ]);
    let reading = machine.read(&ALL, None);
    assert_eq!(reading.lacks, None);
    let value = reading.value;
    assert_eq!(
        value["cpu"],
        json!({"percent": 15.0, "load": 0.31, "under_voltage": true, "under_voltage_since_boot": true,
            "throttled": true, "throttled_since_boot": true})
    );
    assert_eq!(
        value["memory"],
        json!({"total": 1_024_000, "available": 256_000, "used_percent": 75.0, "swap_used": 10_240})
    );
    assert_eq!((&value["temperature"], &value["uptime"]), (&json!(48.312), &json!(12345)));
    assert_eq!(value["network"], json!({"eth0": {"up": true, "received": 1000, "sent": 2000}}));
    assert!(value["disk"]["total"].as_u64() > Some(0) && value["disk"]["used_percent"].as_f64() <= Some(100.0));
}

#[test]
fn the_load_of_the_processor_is_that_since_it_was_read_before() {
    let (directory, machine) = machine(&[("proc/stat", STAT)]);
    let first = machine.read(&[Metric::Cpu], None);
    assert_eq!(first.value["cpu"], json!({"percent": 15.0, "load": null}));
    assert_eq!(machine.read(&[Metric::Cpu], first.cpu).value["cpu"]["percent"], 0.0);
    fs::write(directory.path().join("proc/stat"), "cpu  130 0 50 870 50 0 0 0 0 0\n").unwrap();
    assert_eq!(machine.read(&[Metric::Cpu], first.cpu).value["cpu"]["percent"], 30.0);
}

#[test]
fn what_a_machine_does_not_tell_is_null_and_named() {
    let (directory, machine) = machine(&[("proc/uptime", "5.00 1.00\n")]);
    let reading = machine.read(&[Metric::Uptime, Metric::Temperature, Metric::Memory], None);
    assert_eq!(reading.value, json!({"uptime": 5, "temperature": null, "memory": null}));
    let lacks = reading.lacks.unwrap().to_string();
    assert!(lacks.starts_with("this machine doesn't tell its temperature, its memory: null is sent"), "{lacks}");
    for text in ["", "nonsense", "cpu", "cpu  1 2 x 4\n", "cpu  99999999999999999999 1 1 1 1"] {
        fs::write(directory.path().join("proc/stat"), text).unwrap();
        assert_eq!(machine.read(&[Metric::Cpu], None).value, json!({"cpu": null}), "{text}");
    }
}

#[test]
fn under_voltage_is_known_without_the_firmware_file_too() {
    let (_directory, machine) = machine(&[
        ("proc/stat", STAT),
        ("sys/class/hwmon/hwmon0/name", "cpu_thermal\n"),
        ("sys/class/hwmon/hwmon1/name", "rpi_volt\n"),
        ("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n"),
    ]);
    let cpu = &machine.read(&[Metric::Cpu], None).value["cpu"];
    assert_eq!((&cpu["under_voltage"], cpu.get("throttled")), (&json!(true), None));
    assert_eq!(parse::throttled("0x0\n")["throttled_since_boot"], false);
    assert_eq!(parse::throttled("e0000")["throttled_since_boot"], true);
    assert!(parse::throttled("garbage").is_empty());
}

#[test]
fn this_machine_tells_what_every_linux_does() {
    let reading = Machine::default().read(&[Metric::Cpu, Metric::Memory, Metric::Disk, Metric::Uptime], None);
    assert_eq!(reading.lacks, None, "{:?}", reading.value);
    assert!(reading.cpu.is_some());
}
