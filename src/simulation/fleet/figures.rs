//! The figures of docs/fleet.md: `make fleet`.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use super::report::Second;
use super::*;

/// A table, and the runs of which the picture has each second.
#[derive(Default)]
struct Figures {
    table: String,
    seconds: String,
}

fn told(duration: Option<Duration>) -> String {
    duration.map_or_else(|| "never".to_owned(), |at| format!("{:.0}", at.as_secs_f64()))
}

impl Figures {
    /// Runs one for a row of the table.
    fn row(&mut self, figure: &str, settings: &str, scenario: &Scenario) -> Report {
        let report = scenario.run();
        let row = format!(
            "{figure},{settings},{},{:.2},{},{},{},{},{},{},{},{}",
            report.gateways,
            report.refused(),
            report.most(|second| second.connects),
            told(report.connected(0.5)),
            told(report.connected(0.99)),
            told(report.connected(1.0)),
            told(report.caught_up(0.99)),
            report.most(|second| second.publishes),
            report.beyond(),
            report.given_up
        );
        println!("{row}");
        writeln!(self.table, "{row}").unwrap();
        report
    }

    /// Likewise, with a curve of so many seconds.
    fn curve(&mut self, figure: &str, settings: &str, scenario: &Scenario, seconds: usize) {
        let report = self.row(figure, settings, scenario);
        for second in 0..seconds {
            let Second { connects, refused, publishes, beyond } = report.at(second);
            let connected = report.connected_by(second);
            writeln!(
                self.seconds,
                "{figure},{settings},{},{second},{connects},{refused},{connected},{publishes},{beyond}",
                report.gateways
            )
            .unwrap();
        }
    }
}

/// IoT Core closes all connections and is back at once: `first` decides.
fn short(figures: &mut Figures) {
    for gateways in [1, 10, 100, 1000, 10_000, 100_000] {
        let fleet = Scenario::new(gateways, Happens::Outage(Duration::ZERO));
        for first in [0, 1, 5, 30] {
            let fleet = fleet.clone().waits(SECOND * first, 2 * MINUTE);
            let settings = format!("first = {first}s");
            match gateways {
                10_000 => figures.curve("short", &settings, &fleet, 120),
                _ => drop(figures.row("short", &settings, &fleet)),
            }
        }
        let recommended = fleet.recommended();
        let settings = format!("first = {}s recommended", recommended.backoff.first.as_secs());
        figures.row("short", &settings, &recommended);
    }
    let fleet = Scenario::new(10_000, Happens::NoNetwork(10 * MINUTE));
    for first in [0, 1, 30] {
        figures.row("carrier", &format!("first = {first}s"), &fleet.clone().waits(SECOND * first, 2 * MINUTE));
    }
}

/// It is away for an hour: `max` decides.
fn long(figures: &mut Figures) {
    for gateways in [10, 100, 1000, 3000, 10_000, 30_000, 100_000] {
        let fleet = Scenario::new(gateways, Happens::Outage(HOUR));
        for max in [30, 60, 120, 600] {
            figures.row("long", &format!("max = {max}s"), &fleet.clone().waits(SECOND, SECOND * max));
        }
    }
}

/// Likewise, and each gateway publishes once a minute: an hour's backlog.
fn backlog(figures: &mut Figures) {
    for gateways in [1000, 10_000, 30_000] {
        let fleet = Scenario::new(gateways, Happens::Outage(HOUR)).publishing(When::Every(MINUTE), Duration::ZERO);
        for max in [120, 600] {
            let fleet = fleet.clone().waits(SECOND, SECOND * max);
            figures.row("backlog", &format!("max = {max}s"), &fleet);
            let rate_limit = config::RateLimit { messages_per_second: 1, ..fleet.rate_limit.clone() };
            figures.row("backlog", &format!("max = {max}s and 1 message a second"), &Scenario { rate_limit, ..fleet });
        }
        let batched = fleet.publishing(When::Every(HOUR / 6), Duration::ZERO).waits(SECOND, 2 * MINUTE);
        figures.row("backlog", "max = 120s and batches of 10", &batched);
    }
}

/// Schedules that began together, as after a power cut; the same with a pattern of cron.
fn schedules(figures: &mut Figures) {
    for gateways in [10_000, 30_000, 100_000] {
        for jitter in [0, 1, 5, 10] {
            let fleet = Scenario::new(gateways, Happens::Nothing).publishing(When::Every(5 * MINUTE), SECOND * jitter);
            let fleet = Scenario { began_together: true, patience: 10 * MINUTE - SECOND, ..fleet };
            let settings = format!("jitter = {jitter}s");
            match gateways {
                30_000 => figures.curve("schedules", &settings, &fleet, 420),
                _ => drop(figures.row("schedules", &settings, &fleet)),
            }
        }
    }
}

#[test]
#[ignore = "takes a minute in a release build: `make fleet`"]
fn are_made() {
    let directory = PathBuf::from(std::env::var_os("GATEWIRE_FLEET").expect("a directory to write to"));
    let mut figures = Figures {
        table: "figure,settings,gateways,refused_per_gateway,connects_at_most,connected_50,connected_99,connected_all,caught_up_99,\
                publishes_at_most,publishes_beyond,connections_given_up\n"
            .to_owned(),
        seconds: "figure,settings,gateways,second,connects,refused,connected,publishes,beyond\n".to_owned(),
    };
    println!("seed {}\n{}", Scenario::new(1, Happens::Nothing).seed, figures.table.trim_end());
    short(&mut figures);
    long(&mut figures);
    backlog(&mut figures);
    schedules(&mut figures);
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("table.csv"), figures.table).unwrap();
    fs::write(directory.join("seconds.csv"), figures.seconds).unwrap();
}
