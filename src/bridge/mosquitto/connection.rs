//! A `connection` of `mosquitto.conf`: each of its options has a place in gatewire's configuration, needs none, or is a problem.

use std::collections::BTreeSet;

use super::Problems;
use super::line::Line;
use super::quoted::text;
use crate::message::{MAX_MQTT_TEXT, Topic, check_characters};

/// What a `connection` says.
#[derive(Debug, Default)]
pub(super) struct Connection {
    pub(super) name: String,
    /// Where it begins.
    pub(super) begin: Option<Line>,
    pub(super) topics: Vec<Line>,
    pub(super) endpoint: Option<(String, Option<u16>)>,
    /// What belongs into `[connection]` and `[tls]` of gatewire.toml, as lines there.
    pub(super) of_connection: Vec<String>,
    pub(super) of_tls: Vec<String>,
    pub(super) local_client_id: Option<String>,
    pub(super) username: Option<String>,
    pub(super) has_password: bool,
    pub(super) status_topic: Option<String>,
    is_notifying: bool,
    pub(super) carries_retain: bool,
    /// What is otherwise with gatewire, for the reader of the tables.
    pub(super) remarks: Vec<String>,
}

/// Options of mosquitto that aren't about a bridge: they stay where they are, for mosquitto goes on.
const OF_THE_BROKER: &str = "accept_protocol_versions acl_file allow_anonymous allow_duplicate_messages allow_zero_length_clientid auth_plugin \
auth_plugin_deny_special_chars auto_id_prefix autosave_interval autosave_on_changes bind_address bind_interface cafile capath certfile \
check_retain_source ciphers ciphers_tls1.3 clientid_prefixes connection_messages crlfile dhparamfile disable_client_cert_date_checks \
enable_control_api enable_proxy_protocol global_max_clients global_max_connections global_plugin http_dir include_dir keyfile listener \
listener_allow_anonymous listener_auto_id_prefix log_dest log_facility log_timestamp log_timestamp_format log_type \
max_connections max_inflight_bytes max_inflight_messages max_keepalive max_packet_size max_qos max_queued_bytes \
max_queued_messages max_topic_alias max_topic_alias_broker memory_limit message_size_limit mount_point packet_buffer_size \
packet_max_auth packet_max_connect packet_max_simple packet_max_sub packet_max_un password_file per_listener_settings persistence \
persistence_file persistence_location persistent_client_expiration pid_file plugin plugin_load plugin_use port protocol \
proxy_protocol_v2_require_tls psk_file psk_hint queue_qos0_messages require_certificate retain_available retain_expiry_interval \
retained_persistence set_tcp_nodelay socket_domain store_clean_interval sys_interval tls_engine tls_engine_kpass_sha1 tls_keyform tls_version \
upgrade_outgoing_qos use_identity_as_username use_subject_as_username use_username_as_clientid user websockets_headers_size \
websockets_log_level websockets_origin";

/// Options of a bridge that gatewire doesn't need: it does so anyway, or decides by itself.
const NOT_NEEDED: &str = "try_private bridge_attempt_unsubscribe bridge_reload_type bridge_tcp_keepalive bridge_tcp_user_timeout \
bridge_max_topic_alias bridge_receive_maximum notifications_local_only idle_timeout threshold local_cleansession";

pub(super) fn all(lines: &[Line], problems: &mut Problems) -> Vec<Connection> {
    let mut connections: Vec<Connection> = Vec::new();
    for line in lines {
        if line.option == "connection" {
            let mut name: String = line.value.chars().filter(|c| !c.is_control()).collect();
            if name.is_empty() {
                problems.at(line, "`connection` has no name");
                "mosquitto".clone_into(&mut name);
            }
            while connections.iter().any(|other| other.name == name) {
                problems.at(line, format!("there already is a connection \"{name}\"; this one becomes \"{name}-2\""));
                name.push_str("-2");
            }
            let (begin, is_notifying) = (Some(line.clone()), true);
            connections.push(Connection { name, begin, is_notifying, carries_retain: true, ..Connection::default() });
            continue;
        }
        if is_one_of(OF_THE_BROKER, &line.option)
            || line.option.starts_with("plugin_opt_")
            || line.option.starts_with("auth_opt_")
        {
            continue;
        }
        match connections.last_mut() {
            Some(connection) => connection.take(line, problems),
            None if is_of_a_bridge(&line.option) => {
                problems
                    .at(line, format!("`{}` stands above the first `connection`, so it belongs to none", line.option));
            }
            None => unknown(line, problems),
        }
    }
    connections.iter_mut().for_each(Connection::finish);
    let mut known = BTreeSet::new();
    for connection in &mut connections {
        // mosquitto wouldn't take the second either.
        if connection.local_client_id.as_ref().is_some_and(|id| !known.insert(id.clone())) {
            connection.local_client_id = None;
        }
    }
    connections
}

/// A text that MQTT can hold, and isn't empty.
fn usable(line: &Line, problems: &mut Problems) -> Option<String> {
    let is_usable = check_characters(&line.value).is_ok() && (1..=MAX_MQTT_TEXT).contains(&line.value.len());
    if !is_usable {
        problems.at(line, format!("`{}` is empty, too long, or holds characters that MQTT doesn't allow", line.option));
    }
    is_usable.then(|| line.value.clone())
}

fn is_one_of(list: &str, option: &str) -> bool {
    list.split_whitespace().any(|known| known == option)
}

fn is_of_a_bridge(option: &str) -> bool {
    let others = "address addresses topic clientid username password cleansession keepalive_interval notifications notification_topic round_robin \
                  restart_timeout start_type";
    ["bridge_", "remote_", "local_"].iter().any(|start| option.starts_with(start))
        || is_one_of(others, option)
        || is_one_of(NOT_NEEDED, option)
}

fn unknown(line: &Line, problems: &mut Problems) {
    problems.at(line, format!("gatewire doesn't know `{}` as an option of mosquitto, and leaves it out", line.option));
}

impl Connection {
    fn take(&mut self, line: &Line, problems: &mut Problems) {
        let first = line.words().next().unwrap_or_default();
        match line.option.as_str() {
            "topic" => self.topics.push(line.clone()),
            "address" | "addresses" => self.address(line, problems),
            "clientid" | "remote_clientid" => self.connection_line("client_id", &text(&line.value)),
            "cleansession" if line.is_true() => self.remarks.push(format!(
                "`cleansession true` ({}) isn't translated: IoT Core keeps subscriptions and messages for `session_expiry` in \
                 [connection], 1h by default; \"0s\" does what `cleansession true` did.",
                line.place()
            )),
            "cleansession" => {}
            "keepalive_interval" => self.keep_alive(line, problems),
            "restart_timeout" => self.backoff(line, problems),
            "bridge_protocol_version" => match first {
                "mqttv311" | "mqttv31" => self.remarks.push(format!(
                    "`{} {first}` ({}): gatewire speaks MQTT 5 with IoT Core, which then says why it refuses something; `protocol = \
                     \"3.1.1\"` in [connection] selects the older version.",
                    line.option,
                    line.place()
                )),
                _ => {}
            },
            "bridge_cafile" => self.tls_line("ca_file", line),
            "bridge_certfile" => self.tls_line("cert_file", line),
            "bridge_keyfile" => self.tls_line("key_file", line),
            "bridge_insecure" if line.is_true() => problems.at(
                line,
                "`bridge_insecure true` isn't translated: gatewire always checks that the server is the one it asked for",
            ),
            "bridge_insecure" => {}
            "bridge_tls_version" if matches!(first, "tlsv1.2" | "tlsv1.3") => {}
            "bridge_alpn" if first == "x-amzn-mqtt-ca" => {}
            "bridge_capath" | "bridge_tls_use_os_certs" => problems.at(
                line,
                format!("`{}` isn't translated: gatewire reads one file of CAs, `ca_file` in [tls]; for IoT Core it is AmazonRootCA1.pem", line.option),
            ),
            "remote_username" | "username" | "remote_password" | "password" => problems.at(
                line,
                format!("`{}` isn't translated: IoT Core identifies this gateway by its certificate", line.option),
            ),
            "local_clientid" => self.local_client_id = usable(line, problems),
            "local_username" => self.username = usable(line, problems),
            "local_password" => self.has_password = true,
            "notifications" => self.is_notifying = line.is_true(),
            "notification_topic" => match line.value.starts_with('$') {
                true => problems.at(line, "`notification_topic` below `$` isn't translated: such topics are the broker's own. Choose another one for `status_topic`"),
                false => match Topic::of_mqtt(&line.value) {
                    Ok(_) => self.status_topic = Some(line.value.clone()),
                    Err(error) => problems.at(line, format!("`notification_topic` can't be published to: {error}")),
                },
            },
            "bridge_outgoing_retain" => self.carries_retain = line.is_true(),
            "start_type" if first == "automatic" => {}
            "start_type" => problems.at(line, format!("`start_type {first}` isn't translated: gatewire connects when it starts, and stays connected")),
            "round_robin" if line.is_true() => problems.at(line, "`round_robin true` isn't translated: gatewire has one endpoint, that of [connection]"),
            "round_robin" => {}
            "bridge_session_expiry_interval" => match first.parse::<u64>() {
                Ok(seconds) => self.connection_line("session_expiry", &format!("\"{}s\"", seconds.min(7 * 24 * 3600))),
                Err(_) => problems.at(line, "`bridge_session_expiry_interval` isn't a number of seconds"),
            },
            "bridge_max_packet_size" => self.remarks.push(format!(
                "`{}` ({}) isn't needed: what is larger than the 128 KiB that IoT Core accepts is left out, counted and named.",
                line.option,
                line.place()
            )),
            option if is_one_of(NOT_NEEDED, option) => {}
            option if is_of_a_bridge(option) => problems.at(line, format!("`{option}` isn't translated: gatewire has no equivalent")),
            _ => unknown(line, problems),
        }
    }

    fn connection_line(&mut self, key: &str, value: &str) {
        self.of_connection.push(format!("{key} = {value}"));
    }

    fn tls_line(&mut self, key: &str, line: &Line) {
        self.of_tls.push(format!("{key} = {}", text(&line.value)));
    }

    fn address(&mut self, line: &Line, problems: &mut Problems) {
        let mut words = line.words();
        let Some(first) = words.next() else {
            return problems.at(line, "`address` is empty");
        };
        if words.next().is_some() || self.endpoint.is_some() {
            problems.at(line, "gatewire has one endpoint: of several addresses only the first is taken");
        }
        if self.endpoint.is_some() {
            return;
        }
        let (host, port) = match first.rsplit_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok() && !host.contains(':') => (host, port.parse().ok()),
            _ => (first, None),
        };
        if !host.to_ascii_lowercase().ends_with(".amazonaws.com")
            && !host.to_ascii_lowercase().ends_with(".amazonaws.com.cn")
        {
            problems.at(
                line,
                format!("\"{host}\" isn't an endpoint of IoT Core: gatewire only carries between the local broker and the endpoint in [connection]"),
            );
        }
        self.endpoint = Some((host.to_owned(), port));
    }

    fn keep_alive(&mut self, line: &Line, problems: &mut Problems) {
        match line.value.parse::<u64>() {
            Ok(seconds) => {
                let bounded = seconds.clamp(30, 1200);
                self.connection_line("keep_alive", &format!("\"{bounded}s\""));
                if bounded != seconds {
                    problems.at(
                        line,
                        format!("`keepalive_interval {seconds}` becomes {bounded}: IoT Core allows 30 to 1200 seconds"),
                    );
                }
            }
            Err(_) => problems.at(line, "`keepalive_interval` isn't a number of seconds"),
        }
    }

    fn backoff(&mut self, line: &Line, problems: &mut Problems) {
        let numbers: Option<Vec<u64>> = line.words().map(|word| word.parse().ok()).collect();
        match numbers.as_deref() {
            Some([fixed]) => {
                let max = fixed.clamp(&1, &3600);
                self.connection_line("backoff", &format!("{{ min = \"1s\", max = \"{max}s\" }}"));
            }
            Some([base, cap, ..]) => {
                let min = (*base).clamp(1, 3600);
                self.connection_line(
                    "backoff",
                    &format!("{{ min = \"{min}s\", max = \"{}s\" }}", (*cap).clamp(min, 3600)),
                );
            }
            _ => problems.at(line, "`restart_timeout` isn't a number of seconds, or two"),
        }
    }

    fn finish(&mut self) {
        if !self.is_notifying {
            self.status_topic = None;
        }
        if self.status_topic.is_some() {
            self.remarks.push(
                "`status_topic` holds {\"state\":\"connected\"} and the like, where mosquitto's `notification_topic` holds 1 and 0; it is \
                 published at the local broker only."
                    .to_owned(),
            );
        }
    }
}
