use proptest::prelude::*;

use super::*;

fn rate_limit(messages_per_second: u32, bytes_per_second: u64, burst: u32) -> config::RateLimit {
    config::RateLimit { messages_per_second, bytes_per_second, burst, connects_per_second: 1 }
}

#[test]
fn connects_keep_their_distance() {
    let start = Instant::now();
    let mut limit = ConnectLimit::new(&rate_limit(100, 1000, 10));
    assert_eq!(limit.wait(start), Duration::ZERO);
    limit.note(start);
    assert_eq!(limit.wait(start + Duration::from_millis(300)), Duration::from_millis(700));
    assert_eq!(limit.wait(start + Duration::from_secs(2)), Duration::ZERO);
}

#[test]
fn a_message_larger_than_the_bucket_goes_once_it_is_full_and_is_paid_for() {
    let start = Instant::now();
    let mut bucket = Bucket::new(1000, 2000, start);
    assert_eq!(bucket.available_at(start, 5000), start);
    bucket.take(5000);
    assert_eq!(bucket.available_at(start, 1), start + Duration::from_millis(3001));
    let full = start + Duration::from_secs(5);
    assert_eq!(bucket.available_at(start, 5000), full);
    assert_eq!(bucket.available_at(full, 5000), full);
}

#[test]
fn what_comes_in_is_paid_for_with_half_of_the_rate() {
    let start = Instant::now();
    let mut quota = Quota::new(&rate_limit(100, 1_000_000, 10), start);
    for _ in 0..5 {
        quota.note_received(start, 100);
    }
    assert!((0..10).all(|_| quota.try_take(start, 100).is_ok()));
    // Five at half of the rate, and then as always.
    let mut now = start;
    for wait in [20, 20, 20, 20, 20, 10, 10] {
        let next = now + Duration::from_millis(wait);
        assert_eq!(quota.try_take(now, 100), Err(next));
        assert_eq!(quota.try_take(next, 100), Ok(()));
        now = next;
    }
}

#[test]
fn a_flood_from_the_server_leaves_half_to_what_goes_out() {
    let start = Instant::now();
    for flood in [1, 8, 1000] {
        let mut quota = Quota::new(&rate_limit(100, 1_000_000, 10), start);
        let mut out = 0;
        for ms in 0..10_000 {
            let now = start + Duration::from_millis(ms);
            if ms % 8 == 0 {
                (0..flood).for_each(|_| quota.note_received(now, 10));
            }
            out += u32::from(quota.try_take(now, 10).is_ok());
        }
        assert!((500..=510).contains(&out), "{out} went out in 10 s, while {flood} came in every 8 ms");
    }
}

#[test]
fn a_flood_of_bytes_leaves_half_to_what_goes_out() {
    let start = Instant::now();
    let mut quota = Quota::new(&rate_limit(u32::MAX, 512 * 1024, u32::MAX), start);
    let mut out = 0;
    for ms in 0..60_000 {
        let now = start + Duration::from_millis(ms);
        quota.note_received(now, MAX_PAYLOAD);
        out += if quota.try_take(now, MAX_PAYLOAD).is_ok() { MAX_PAYLOAD } else { 0 };
    }
    assert!(out >= 59 * 256 * 1024, "{out} bytes went out in a minute");
}

#[test]
fn the_highest_rate_is_no_limit() {
    let start = Instant::now();
    let mut quota = Quota::new(&rate_limit(u32::MAX, u64::MAX, u32::MAX), start);
    for i in 0..100_000 {
        let now = start + Duration::from_nanos(i);
        quota.note_received(now, MAX_PAYLOAD);
        assert_eq!(quota.try_take(now, MAX_PAYLOAD), Ok(()));
    }
}

/// What a test does with a bucket after a pause of some nanoseconds.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Waits until so many tokens can be taken, and takes them.
    Send(u64),
    /// Has so many tokens taken from it.
    Receive(u64),
}

fn steps(tokens: std::ops::Range<u64>) -> impl Strategy<Value = Vec<(u64, Step)>> {
    let step = prop_oneof![tokens.clone().prop_map(Step::Send), tokens.prop_map(Step::Receive)];
    prop::collection::vec((0..50_000_000u64, step), 1..200)
}

proptest! {
    #[test]
    fn no_window_sees_more_than_rate_and_burst(
        rate in 1..2000u64,
        burst in 1..50u64,
        steps in steps(1..60),
    ) {
        let start = Instant::now();
        let (mut bucket, mut now) = (Bucket::new(rate, burst, start), start);
        let mut sent: Vec<(Instant, u64)> = Vec::new();
        for (pause, step) in steps {
            now += Duration::from_nanos(pause);
            match step {
                Step::Receive(tokens) => bucket.owe(now, tokens),
                Step::Send(tokens) => {
                    let at = bucket.available_at(now, tokens);
                    if at > now {
                        prop_assert!(bucket.available_at(at - Duration::from_nanos(1), tokens) == at, "it was too late");
                        now = at;
                        prop_assert_eq!(bucket.available_at(now, tokens), now);
                    }
                    bucket.take(tokens);
                    sent.push((now, tokens));
                }
            }
        }
        for (i, (from, _)) in sent.iter().enumerate() {
            let mut sum = 0;
            for (to, tokens) in &sent[i..] {
                sum += tokens;
                let window = i128::try_from((*to - *from).as_nanos()).unwrap() * i128::from(2 * rate);
                // One larger than the bucket goes when the bucket is full.
                prop_assert!(units(sum) <= window + units(burst.max(*tokens)));
            }
        }
    }

    #[test]
    fn in_and_out_together_keep_to_the_rate_while_half_of_it_comes_in(
        rate in 1..2000u64,
        burst in 1..50u64,
        pauses in prop::collection::vec((0..50_000_000u64, any::<bool>()), 1..200),
    ) {
        let start = Instant::now();
        let (mut bucket, mut now, mut next_in) = (Bucket::new(rate, burst, start), start, start);
        let mut seen: Vec<(Instant, bool)> = Vec::new();
        for (pause, incoming) in pauses {
            now += Duration::from_nanos(pause);
            if incoming && now >= next_in {
                next_in = now + Duration::from_nanos(2_000_000_000u64.div_ceil(rate));
                bucket.owe(now, 1);
                seen.push((now, true));
            } else if bucket.available_at(now, 1) == now {
                bucket.take(1);
                seen.push((now, false));
            }
        }
        for (i, (from, _)) in seen.iter().enumerate() {
            for (j, (to, _)) in seen.iter().enumerate().skip(i) {
                let window = i128::try_from((*to - *from).as_nanos()).unwrap() * i128::from(2 * rate);
                prop_assert!(units((j - i + 1) as u64) <= window + units(2 * burst));
            }
        }
    }

    #[test]
    fn whatever_comes_in_a_message_waits_no_longer_than_at_half_the_rate(
        rate in 1..2000u64,
        tokens in 1..50u64,
        flood in prop::collection::vec((1..20_000_000u64, 0..1_000_000u64), 1..300),
    ) {
        let start = Instant::now();
        // As large as the bucket, which is the hardest to wait for.
        let mut bucket = Bucket::new(rate, tokens, start);
        bucket.take(tokens);
        let (mut now, mut latest) = (start, start + Duration::from_nanos((tokens * 2_000_000_000).div_ceil(rate)));
        for (pause, received) in flood {
            now += Duration::from_nanos(pause);
            bucket.owe(now, received);
            if bucket.available_at(now, tokens) == now {
                bucket.take(tokens);
                latest = now + Duration::from_nanos((tokens * 2_000_000_000).div_ceil(rate));
            }
            prop_assert!(now < latest, "late by {:?}", now - latest);
        }
    }

    #[test]
    fn no_number_overflows(
        rate in any::<u64>(),
        burst in any::<u64>(),
        steps in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u64>()), 1..20),
    ) {
        let (mut now, century) = (Instant::now(), Duration::from_secs(100 * 365 * 24 * 3600));
        let mut bucket = Bucket::new(rate, burst, now);
        for (pause, sent, received) in steps {
            now += Duration::from_nanos(pause).min(century);
            bucket.owe(now, received);
            let at = bucket.available_at(now, sent);
            prop_assert!(at >= now);
            if at == now {
                bucket.take(sent);
            }
        }
    }
}
