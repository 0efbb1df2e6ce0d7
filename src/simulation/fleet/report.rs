//! What became of a fleet.

use std::time::Duration;

/// What happened in one second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Second {
    pub(super) connects: u32,
    pub(super) refused: u32,
    pub(super) publishes: u32,
    pub(super) beyond: u32,
}

/// What became of a fleet. Times count from the end of the outage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) gateways: u32,
    /// From the beginning of the outage.
    pub(super) seconds: Vec<Second>,
    over: Duration,
    /// When each gateway was connected for the first time after the outage, sorted.
    pub(super) connected: Vec<Duration>,
    /// When each had nothing left to send for the first time after that, sorted.
    pub(super) caught_up: Vec<Duration>,
    /// Connections that ended because IoT Core had discarded a publication.
    pub(super) given_up: u64,
}

impl Report {
    pub(super) fn new(gateways: u32, over: Duration) -> Report {
        Report { gateways, seconds: Vec::new(), over, connected: Vec::new(), caught_up: Vec::new(), given_up: 0 }
    }

    pub(super) fn second(&mut self, now: Duration) -> &mut Second {
        let second = usize::try_from(now.as_secs()).unwrap();
        if self.seconds.len() <= second {
            self.seconds.resize(second + 1, Second::default());
        }
        &mut self.seconds[second]
    }

    pub(super) fn is_connected(&mut self, now: Duration) {
        self.connected.push(now.saturating_sub(self.over));
    }

    pub(super) fn has_caught_up(&mut self, now: Duration) {
        self.caught_up.push(now.saturating_sub(self.over));
    }

    /// When so much of the fleet, of 1, was connected; `None`: it never was.
    pub(super) fn connected(&self, part: f64) -> Option<Duration> {
        self.when(&self.connected, part)
    }

    /// How many were connected by then, second by second.
    pub(super) fn connected_by(&self, second: usize) -> usize {
        self.connected.partition_point(|at| at.as_secs() <= second as u64)
    }

    /// What happened so many seconds after the outage.
    pub(super) fn at(&self, second: usize) -> Second {
        self.seconds.get(self.over.as_secs() as usize + second).copied().unwrap_or_default()
    }

    /// When so much of the fleet had nothing left to send.
    pub(super) fn caught_up(&self, part: f64) -> Option<Duration> {
        self.when(&self.caught_up, part)
    }

    fn when(&self, times: &[Duration], part: f64) -> Option<Duration> {
        let nth = (f64::from(self.gateways) * part).ceil() as usize;
        times.get(nth.max(1) - 1).copied()
    }

    /// CONNECTs that IoT Core has refused because there were too many, for each gateway.
    pub(super) fn refused(&self) -> f64 {
        let over = self.over.as_secs() as usize;
        let refused: u32 = self.seconds.iter().skip(over).map(|second| second.refused).sum();
        f64::from(refused) / f64::from(self.gateways)
    }

    /// Publications that IoT Core hasn't taken.
    pub(super) fn beyond(&self) -> u64 {
        self.seconds.iter().map(|second| u64::from(second.beyond)).sum()
    }

    /// The most of something in a second after the outage.
    pub(super) fn most(&self, of: impl Fn(&Second) -> u32) -> u32 {
        self.seconds.iter().skip(self.over.as_secs() as usize).map(of).max().unwrap_or(0)
    }
}
