//! Large numbers for people.

use crate::count::noun;

/// With a comma between thousands: `43,800`.
pub(super) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1 message`, `43,800 messages`.
pub(super) fn counted(n: u64, what: &str) -> String {
    format!("{} {}", grouped(n), noun(n, what))
}

/// In the units in which data plans are sold, a thousand, a million and more bytes each: `79 bytes`, `5.2 MB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] =
        [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match UNITS.iter().find(|(size, _)| bytes >= *size) {
        Some((size, unit)) => format!("{:.1} {unit}", bytes as f64 / *size as f64),
        None if bytes == 0 => "nothing".to_owned(),
        None => counted(bytes, "byte"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_have_commas_and_bytes_the_unit_that_fits() {
        assert_eq!(
            [0, 12, 123, 1234, 43_800, 1_234_567].map(grouped),
            ["0", "12", "123", "1,234", "43,800", "1,234,567"]
        );
        assert_eq!(
            [0, 1, 999, 1000, 525_600, 5_234_000, 1_999_000_000, 3_421_630_800_000].map(bytes),
            ["nothing", "1 byte", "999 bytes", "1.0 kB", "525.6 kB", "5.2 MB", "2.0 GB", "3.4 TB"]
        );
        assert_eq!([counted(1, "unit"), counted(1000, "unit")], ["1 unit", "1,000 units"]);
    }
}
