//! A pattern of anything, at any time, in zones that do the most to their clocks.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Cron;

/// Summer time by an hour and by half of one, a day that was left out, and none of it.
const ZONES: [&str; 4] = ["Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia", "UTC"];

/// How many times of a pattern are looked at.
const TIMES: usize = 20;

/// The first bytes of `input` say the zone and the time (seconds since 1970), the rest is a pattern: each of its times comes
/// after the one before.
pub fn cron(input: &[u8]) {
    let Some((&[zone, a, b, c, d], pattern)) = input.split_first_chunk() else { return };
    let Ok(pattern) = std::str::from_utf8(pattern) else { return };
    let zone = TimeZone::get(ZONES[usize::from(zone) % ZONES.len()]).expect("the zone is known");
    let cron = match Cron::new(pattern, zone) {
        Ok(cron) => cron,
        Err(why) => return assert!(!why.is_empty()),
    };
    assert!(cron.to_string().starts_with("cron `"));
    let mut time = Timestamp::from_second(u32::from_be_bytes([a, b, c, d]).into()).expect("it is in the calendar");
    for _ in 0..TIMES {
        let Some(next) = cron.after(time) else { break };
        assert!(next > time, "{pattern:?}: {next} after {time}");
        cron.left_out(next);
        time = next;
    }
}
