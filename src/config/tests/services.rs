//! `[connection] thing`, `[jobs]` and `[commands]`.

use super::*;
use crate::services::{Names, Service};

fn with_thing(thing: &str) -> String {
    CONNECTION.replace("client_id =", &format!("thing = {thing}\nclient_id ="))
}

#[test]
fn the_thing_is_the_client_id_unless_it_is_said_otherwise() {
    let text = format!("{}{}", "{}", publish("").replace("\"t\"", "\"{{thing}}/{{client_id}}\""));
    let topic = |connection: &str| {
        let (config, warnings) = load(&text.replace("{}", connection), &[]).unwrap();
        assert_eq!(warnings, [""; 0]);
        (config.connection.thing, config.publish[0].topic.as_str().to_owned())
    };
    assert_eq!(topic(CONNECTION), ("thing-1".to_owned(), "thing-1/thing-1".to_owned()));
    assert_eq!(topic(&with_thing("\"{{hostname}}:a_B\"")), ("pi4:a_B".to_owned(), "pi4:a_B/thing-1".to_owned()));
    let same = with_thing("\"gw\"").replace("thing-1", "{{thing}}");
    assert_eq!(topic(&same), ("gw".to_owned(), "gw/gw".to_owned()));
    let with_more = with_thing("\"gw\"").replace("thing-1", "{{thing}}-{{hostname}}");
    assert_eq!(topic(&with_more), ("gw".to_owned(), "gw/gw-pi4".to_owned()));
}

#[test]
fn a_thing_that_cannot_be_one_is_explained() {
    let long = format!("\"{}\"", "a".repeat(129));
    for (thing, text) in [
        ("\"\"", "can't be the name of a thing at AWS IoT: that has 1 to 128 letters, digits, `:`, `_` and `-`"),
        ("\"a.b\"", "\"a.b\" can't be the name of a thing"),
        ("\"gärtner\"", "can't be the name of a thing"),
        (&long, "can't be the name of a thing"),
        ("\"{{client_id}}\"", "may hold {{hostname}}, but neither itself nor {{client_id}}"),
        ("\"{{thing}}\"", "may hold {{hostname}}, but neither itself nor {{client_id}}"),
        ("\"{{count}}\"", "may only be used in a payload"),
        ("5", "must be a string in quotes, \"5\""),
        ("\"arn:aws:iot:eu-west-1:123456789012:thing/gw\"", "write the name alone, \"gw\""),
    ] {
        let found = load(&with_thing(thing), &[]).unwrap_err();
        let said = "gatewire.toml:3: `connection.thing`: ";
        assert!(found.len() == 1 && found[0].starts_with(said) && found[0].contains(text), "{found:#?}");
    }
}

#[test]
fn a_client_id_that_is_the_things_needs_one() {
    let found = load(&CONNECTION.replace("thing-1", "{{thing}}"), &[]).unwrap_err();
    assert_eq!(
        found,
        [
            "gatewire.toml:3: `connection.client_id`: {{thing}} stands for `thing`, which isn't there: write `thing = \"NAME\"` above \
             this line, or the name itself here"
        ]
    );
    let found = load("[connection]\nendpoint = \"localhost\"\nthing = \"gw\"\n", &[]).unwrap_err();
    assert_eq!(
        found,
        ["gatewire.toml:1: `connection.client_id`: is missing; it is written like `client_id = \"{{thing}}\"`"]
    );
    // What it is called elsewhere.
    let found = errors("thing_name = \"gw\"\n");
    assert_eq!(found, ["gatewire.toml:5: `connection.thing_name`: unknown key; did you mean `thing`?"]);
}

#[test]
fn the_presence_of_a_section_asks_for_its_service() {
    let config = |rest: &str| load(&format!("{CONNECTION}{rest}"), &[]).unwrap().0;
    assert_eq!(config("").services(), []);
    let jobs = config("[jobs]\n");
    assert_eq!((jobs.services(), jobs.jobs.unwrap().socket), (vec![Service::Jobs], None));

    let both = config(
        "[commands]\n[jobs]\nsocket = \"$RUNTIME_DIRECTORY/jobs.sock\"\nmode = \"0600\"\ngroup = \"gatewire\"\n",
    );
    assert_eq!(both.services(), [Service::Jobs, Service::Commands]);
    assert_eq!(both.commands.unwrap().max_age, Duration::from_secs(300));
    let socket = both.jobs.unwrap().socket.unwrap();
    assert_eq!((socket.path.as_path(), socket.mode), (Path::new("/run/a/jobs.sock"), 0o600));
    assert_eq!(socket.group.as_deref(), Some("gatewire"));
    assert_eq!(config("[commands]\nmax_age = \"90s\"\n").commands.unwrap().max_age, Duration::from_secs(90));
}

#[test]
fn what_is_wrong_with_a_service_is_told_on_its_line() {
    let long = format!("{}[jobs]\n", "x".repeat(0));
    let forward = "[[forward]]\nname = \"f\"\nfilters = [\"a\"]\nsocket = \"/run/x.sock\"\n";
    for (rest, expected) in [
        ("[jobs]\nmode = \"0600\"\n", "6: `jobs.mode`: is for `socket`, which isn't there; leave it out"),
        ("[jobs]\nsocket = \"jobs.sock\"\n", "6: `jobs.socket`: \"jobs.sock\" must be an absolute path"),
        ("[jobs]\nsokket = \"/run/jobs.sock\"\n", "6: `jobs.sokket`: unknown key; did you mean `socket`?"),
        ("[[jobs]]\n", "5: `jobs`: there is only one; write its header `[jobs]`"),
        ("[command]\nmax_age = \"5m\"\n", "5: `command`: unknown section; did you mean `[commands]`?"),
        (
            "[jobs]\nenabled = false\n",
            "6: `jobs.enabled`: unknown key; a section that is there is in use; to turn it off, delete `[jobs]`",
        ),
        ("[jobs]\nthing_name = \"x\"\n", "unknown key; it is that of [connection]: write `thing = \"NAME\"` there"),
        ("[commands]\ntimeout = \"3s\"\n", "an action has it, as `timeout`: write that below its [[action]]"),
        ("[commands]\nzzzz = 1\n", "unknown key; there is only max_age"),
        ("[job]\n", "5: `job`: unknown section; did you mean `[jobs]`?"),
        (
            "[commands]\nmax_age = 5\n",
            "6: `commands.max_age`: must be a duration with its unit in quotes, such as \"5s\"",
        ),
        ("[commands]\nmax_age = \"0s\"\n", "6: `commands.max_age`: \"0s\" is out of range, it must be from 1s to 1d"),
        ("[commands]\nage = \"1m\"\n", "6: `commands.age`: unknown key; did you mean `max_age`?"),
        (
            &format!("{forward}[jobs]\nsocket = \"/run/x.sock\"\n"),
            "10: `jobs.socket`: /run/x.sock is gatewire's own socket, `forward.socket` at gatewire.toml:8",
        ),
        (
            &format!("{long}socket = \"/run/gatewire/status.sock\"\n"),
            "`: /run/gatewire/status.sock is gatewire's own socket",
        ),
    ] {
        let found = errors(rest);
        assert!(found.len() == 1 && found[0].contains(expected), "{rest}\n{found:#?}");
    }
}

#[test]
fn a_service_that_has_nothing_to_do_is_a_warning() {
    let warnings = |rest: &str| load(&format!("{CONNECTION}{rest}"), &[]).unwrap().1;
    let action = "[[action]]\nname = \"x\"\nrun = [\"/bin/x\"]\n";
    let of = |line: usize, name: &str, lacks: &str| {
        format!(
            "gatewire.toml:{line}: warning: `{name}s`: there is {lacks}, so that every {name} is rejected but for gatewire:reload and \
             gatewire:diagnose"
        )
    };
    let (jobs, commands) = ("no [[action]] and no `socket`", "no [[action]]");
    assert_eq!(warnings("[jobs]\n"), [of(5, "job", jobs)]);
    assert_eq!(warnings("[jobs]\n[commands]\n"), [of(5, "job", jobs), of(6, "command", commands)]);
    assert_eq!(warnings("[jobs]\nsocket = \"/run/j.sock\"\n[commands]\n"), [of(7, "command", commands)]);
    for rest in ["[jobs]\nsocket = \"/run/j.sock\"\n", &format!("[jobs]\n[commands]\n{action}")] {
        assert_eq!(warnings(rest), [""; 0], "{rest}");
    }
}

#[test]
fn a_service_needs_the_name_of_a_thing() {
    let dotted = CONNECTION.replace("thing-1", "gw.1");
    assert!(load(&dotted, &[]).is_ok());
    let found = load(&format!("{dotted}[commands]\n[jobs]\n"), &[]).unwrap_err();
    assert!(
        found.len() == 1
            && found[0]
                .starts_with("gatewire.toml:3: `connection.client_id`: [jobs] needs the name of this gateway's thing"),
        "{found:#?}"
    );
    let named = with_thing("\"gw\"").replace("thing-1", "gw.1");
    assert_eq!(load(&format!("{named}[jobs]\n"), &[]).unwrap().0.connection.thing, "gw");
}

#[test]
fn the_filters_of_services_count() {
    let of = |service: Service| service.filters(Names { thing: "thing-1", template: "" }).unwrap().len();
    let (jobs, commands) = (of(Service::Jobs), of(Service::Commands));
    let forward = |n: usize| {
        let filters: Vec<String> = (0..n).map(|i| format!("\"t/{i}\"")).collect();
        format!("[[forward]]\nname = \"f\"\nfilters = [{}]\nsocket = \"/s\"\n", filters.join(","))
    };
    let fits = 50 - jobs - commands;
    assert!(load(&format!("{CONNECTION}[jobs]\n[commands]\n{}", forward(fits)), &[]).is_ok());
    let found = errors(&format!("[jobs]\n[commands]\n{}", forward(fits + 1)));
    assert_eq!(
        found,
        [format!(
            "gatewire.toml:6: `commands`: with the {commands} filters of [commands] there are 51 filters, connection.max_subscriptions \
             allows 50; a wildcard in [[forward]] or [[bridge.down]] covers several topics"
        )]
    );
    let found = load(&format!("{CONNECTION}max_subscriptions = 1\n[jobs]\n"), &[]).unwrap_err();
    let said = format!("gatewire.toml:6: `jobs`: with the {jobs} filters of [jobs] there are {jobs}");
    let way = format!("allows 1; write `max_subscriptions = {jobs}` below [connection]");
    assert!(found.len() == 1 && found[0].starts_with(&said) && found[0].ends_with(&way), "{found:#?}");
    let both = "[jobs]\nsocket = \"/j\"\n[commands]\n";
    let found = load(&format!("{CONNECTION}max_subscriptions = 1\n{both}"), &[]).unwrap_err();
    let all = jobs + commands;
    assert!(found[0].ends_with(&format!("; write `max_subscriptions = {all}` below [connection]")), "{found:#?}");
    assert!(load(&format!("{CONNECTION}max_subscriptions = {all}\n{both}"), &[]).is_ok());
}

#[test]
fn the_filters_of_a_new_certificate_count_too() {
    let provisioning =
        "[provisioning]\ntemplate = \"gateways\"\nclaim_cert_file = \"/c/cert\"\nclaim_key_file = \"/c/key\"\n";
    let connection = CONNECTION.replace("thing-1", "{{thing}}");
    let of =
        |most: usize, rest: &str| load(&format!("{connection}max_subscriptions = {most}\n{provisioning}{rest}"), &[]);
    let jobs = Service::Jobs.filters(Names { thing: "thing-1", template: "" }).unwrap().len();
    for (rest, needed) in [("renew_before = \"30d\"\n", 2), ("[jobs]\nsocket = \"/j\"\n", jobs + 2)] {
        let found = of(needed - 1, rest).unwrap_err();
        let said =
            format!("gatewire.toml:6: `provisioning`: with the 2 filters of [provisioning] there are {needed} filters");
        let way = format!("write `max_subscriptions = {needed}` below [connection]");
        assert!(found.len() == 1 && found[0].starts_with(&said) && found[0].ends_with(&way), "{found:#?}");
        assert!(of(needed, rest).is_ok(), "{rest}");
    }
    assert!(of(1, "renew_before = \"0s\"\n").is_ok(), "nothing is asked for");
}
