//! Durations as people write them in the configuration: `7d`, `1h 30m`.

use std::time::Duration;

/// `duration` as it can be written in the configuration, and is in what the documentation says: no unit is longer than a day.
pub(crate) fn written(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let below = u64::from(duration.subsec_nanos());
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
        (below / 1_000_000, "ms"),
        (below / 1000 % 1000, "us"),
        (below % 1000, "ns"),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(number, _)| *number > 0).map(|(number, unit)| format!("{number}{unit}")).collect();
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

/// A duration that was measured or drawn, for a sentence: whole seconds, or below one second whole milliseconds; never nothing, unless it
/// is none.
pub(crate) fn told(duration: Duration) -> String {
    let millis = duration.as_nanos().div_ceil(1_000_000);
    let rounded = match millis {
        0..1000 => Duration::from_millis(millis as u64),
        _ => Duration::from_secs((duration + Duration::from_millis(500)).as_secs()),
    };
    written(rounded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_of_nanoseconds() {
        for (nanos, expected) in [
            (0, "0s"),
            (1, "1ms"),
            (999_000_001, "1s"),
            (1_200_000_000, "1s"),
            (2_847_720_643, "3s"),
            (103_841_466_569, "1m 44s"),
            (59_500_000_000, "1m"),
            (864_000_400_000_001, "10d"),
        ] {
            assert_eq!(told(Duration::from_nanos(nanos)), expected);
        }
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        for (text, expected) in [
            ("0s", "0s"),
            ("7d", "7d"),
            ("1year 18h", "366d"),
            ("10years 7days 12h", "3660d"),
            ("90m", "1h 30m"),
            ("1500ms", "1s 500ms"),
            ("2m 1us 3ns", "2m 1us 3ns"),
            ("1month", "30d 10h 33m 36s"),
        ] {
            let duration = humantime::parse_duration(text).unwrap();
            assert_eq!(written(duration), expected);
            assert_eq!(humantime::parse_duration(&written(duration)).unwrap(), duration);
        }
    }
}
