//! What the server refuses is kept apart, and the rest goes on: the binary as it is by default, against a server that refuses
//! a new topic each time, or everything.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(unreachable_pub, reason = "shared by the files of this test")]

mod at_once;
mod everything;
mod play;
mod scenarios;
#[path = "../support/mod.rs"]
mod support;

use support::daemon::Setup;
use support::judge::Judge;

const INGEST: &str = "[[ingest]]\nname = \"publish\"\nsocket = \"DIR/publish.sock\"\ntopics = [\"#\"]\n\
                      [[ingest]]\nname = \"events\"\nsocket = \"DIR/events.sock\"\ntopics = [\"#\"]\n";

/// With everything else as it is by default.
fn setup(server: &Judge, protocol: &str, rest: &str) -> Setup {
    Setup::with_connection(server.port, "", &format!("{INGEST}{rest}")).speaking(protocol)
}

at_once! {
    scenarios::a_new_forbidden_topic_each_three_seconds_does_not_stop_the_rest,
    scenarios::a_new_forbidden_topic_each_three_seconds_does_not_stop_the_rest_in_mqtt_3_1_1,
    scenarios::good_and_forbidden_topics_that_share_a_prefix_and_a_source_are_told_apart,
    scenarios::two_groups_at_a_time_are_found_both,
    scenarios::what_is_forbidden_by_its_retain_flag_alone_is_told_from_the_rest_of_its_topic,
    scenarios::what_is_forbidden_by_its_size_alone_is_told_from_the_rest_of_its_topic,
    scenarios::what_is_forbidden_with_qos_0_alone_is_told_from_the_rest_of_its_topic,
    scenarios::a_failure_for_each_new_topic_is_one_group_and_closes_nothing,
    scenarios::ten_forbidden_topics_a_second_do_not_stop_the_rest,
    scenarios::bursts_of_forbidden_topics_before_anything_was_taken_do_not_stop_the_rest,
    scenarios::where_nothing_separates_the_forbidden_the_rest_goes_on_too,
    scenarios::a_policy_that_changes_is_noticed_both_ways,
    everything::a_server_that_closes_on_everything_costs_nothing_and_recovers,
    everything::a_server_that_closes_on_everything_with_a_reason_costs_nothing_and_recovers,
    everything::a_server_that_answers_everything_with_a_failure_costs_nothing_and_recovers,
    everything::a_server_that_answers_everything_with_an_error_costs_nothing_and_recovers,
    everything::what_a_connack_rules_out_is_said_once_and_goes_once_it_is_allowed,
    everything::a_server_that_allows_qos_0_alone_costs_nothing_and_recovers,
    everything::a_server_that_allows_no_packet_of_a_size_costs_nothing_and_recovers,
}
