//! Tables of `gatewire.toml`.

use super::Line;
use super::connection::Connection;
use super::listener::Local;
use super::quoted::text;
use super::rules::{Made, Rules};
use crate::config::{Down, Up};
use crate::message::TopicFilter;

/// A topic in quotes, in which `{{` would begin a placeholder.
fn topic(name: &str) -> String {
    text(&name.replace("{{", "{{\"{{\"}}"))
}

/// A comment, in lines that a terminal shows whole.
fn comment(toml: &mut String, words: &str) {
    const WIDTH: usize = 100;
    let mut line = String::from("#");
    for word in words.split_whitespace() {
        if line.len() > 1 && line.len() + 1 + word.len() > WIDTH {
            toml.push_str(&line);
            toml.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(&word.chars().filter(|c| !c.is_control()).collect::<String>());
    }
    toml.push_str(&line);
    toml.push('\n');
}

fn line(toml: &mut String, text: &str) {
    toml.push_str(text);
    toml.push('\n');
}

/// The table of a connection with those of its rules, or why there is none. It is the one of this number.
pub(super) fn bridge(connection: &Connection, rules: &Rules, local: &Local, number: usize) -> String {
    let mut toml = String::new();
    if number > 0 {
        toml.push('\n');
    }
    let place = connection.begin.as_ref().map(Line::place).unwrap_or_default();
    comment(&mut toml, &format!("From {place}, connection {}.", text(&connection.name)));
    comment(
        &mut toml,
        "Once gatewire carries these topics, take this connection out of mosquitto's configuration and restart mosquitto: what both carry \
         arrives twice, and two clients with the same client id disconnect each other.",
    );
    link(&mut toml, connection);
    connection.remarks.iter().for_each(|remark| comment(&mut toml, remark));
    if rules.up.is_empty() && rules.down.is_empty() {
        comment(&mut toml, "None of its topics can be carried, so there is no [[bridge]].");
        return toml;
    }
    line(&mut toml, "[[bridge]]");
    line(&mut toml, &format!("name = {}", text(&connection.name)));
    line(&mut toml, &format!("broker = {}", text(&local.broker)));
    if local.has_tls {
        comment(
            &mut toml,
            "The CA that signed mosquitto's own certificate (`certfile`), which must be valid for this host.",
        );
        let client = match local.wants_certificate {
            true => ", cert_file = \"/etc/gatewire/house.pem\", key_file = \"/etc/gatewire/house.key\"",
            false => "",
        };
        line(&mut toml, &format!("tls = {{ ca_file = \"/etc/gatewire/house-ca.pem\"{client} }}"));
    }
    login(&mut toml, connection);
    match &connection.local_client_id {
        Some(id) => line(&mut toml, &format!("client_id = {}", topic(id))),
        None if number > 0 => line(&mut toml, &format!("client_id = \"gatewire-{{{{client_id}}}}-{}\"", number + 1)),
        None => {}
    }
    if let Some(status) = &connection.status_topic {
        line(&mut toml, &format!("status_topic = {}", topic(status)));
    }
    rules.up.iter().for_each(|made| up(&mut toml, made));
    rules.down.iter().for_each(|made| down(&mut toml, made));
    toml
}

/// What belongs into the sections of the link to IoT Core, if it isn't there.
fn link(toml: &mut String, connection: &Connection) {
    let mut of_connection = Vec::new();
    if let Some((host, port)) = &connection.endpoint {
        of_connection.push(format!("endpoint = {}", text(host)));
        of_connection.extend(port.filter(|port| *port != 8883).map(|port| format!("port = {port}")));
    }
    of_connection.extend(connection.of_connection.iter().cloned());
    if of_connection.is_empty() && connection.of_tls.is_empty() {
        return;
    }
    comment(toml, "The settings of the link to IoT Core belong in gatewire.toml, if they aren't there yet:");
    for (header, lines) in [("[connection]", &of_connection), ("[tls]", &connection.of_tls)] {
        if !lines.is_empty() {
            line(toml, &format!("#   {header}"));
            lines.iter().for_each(|text| line(toml, &format!("#   {text}")));
        }
    }
    if !connection.of_tls.is_empty() {
        comment(
            toml,
            "gatewire's user must be able to read these files, and nobody else the key: it is best to copy them to /etc/gatewire/certs.",
        );
    }
}

fn login(toml: &mut String, connection: &Connection) {
    if let Some(name) = &connection.username {
        line(toml, &format!("username = {}", text(name)));
        if connection.has_password {
            comment(toml, "Write the `local_password` into this file, which only gatewire may read (mode 0600).");
            line(toml, "password_file = \"/etc/gatewire/house.password\"");
        }
    }
}

fn heading(toml: &mut String, header: &str, of: &super::line::Line) {
    toml.push('\n');
    comment(toml, &format!("Line {}.", of.number));
    line(toml, header);
}

fn mapped(toml: &mut String, from: &TopicFilter, strip: &str, to: &str) {
    line(toml, &format!("from = {}", topic(from.as_str())));
    if !strip.is_empty() {
        line(toml, &format!("strip = {}", topic(strip)));
    }
    if !to.is_empty() {
        line(toml, &format!("to = {}", topic(to)));
    }
}

fn up(toml: &mut String, made: &Made<Up>) {
    let Up { from, strip, to, except, retain, .. } = &made.rule;
    heading(toml, "[[bridge.up]]", &made.line);
    mapped(toml, from, strip, to);
    if made.is_mended {
        comment(toml, "What comes down stays here: otherwise it would go up again, round for ever.");
    }
    if !except.is_empty() {
        let except: Vec<String> = except.iter().map(|filter| topic(filter.as_str())).collect();
        line(toml, &format!("except = [{}]", except.join(", ")));
    }
    if *retain {
        comment(
            toml,
            "As mosquitto does unless `bridge_outgoing_retain false` is set. The policy must allow iot:RetainPublish for this.",
        );
        line(toml, "retain = true");
    }
}

fn down(toml: &mut String, made: &Made<Down>) {
    let Down { from, strip, to, .. } = &made.rule;
    heading(toml, "[[bridge.down]]", &made.line);
    mapped(toml, from, strip, to);
}
