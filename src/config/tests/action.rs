//! `[[action]]`: what is read, and what is said of one that is wrong.

use super::*;
use crate::actions::{Action, Done, Invocation, RunsAs, Word};

mod doubts;

/// The lines of an action that is right, from line 6 on.
const RESTART: &str = "[[action]]\nname = \"restart\"\nrun = [\"/usr/bin/systemctl\", \"restart\", \"--\", \"{{args}}\"]\nargs = \"(a|b)\"\n";

fn actions(rest: &str) -> (Vec<Action>, Vec<String>) {
    let (config, warnings) =
        load(&format!("{CONNECTION}[jobs]\n{rest}"), &[]).unwrap_or_else(|errors| panic!("{rest}: {errors:#?}"));
    (config.actions.iter().map(|action| Action::clone(action)).collect(), warnings)
}

/// What is wrong with an action of these keys, on lines from 7 on.
fn wrong(rest: &str) -> Vec<String> {
    errors(&format!("[jobs]\n[[action]]\n{rest}\n"))
}

#[test]
fn left_out_keys_of_an_action_have_their_defaults() {
    let (actions, warnings) = actions("[[action]]\nname = \"x\"\nrun = [\"/bin/true\"]\n");
    assert_eq!(warnings, [""; 0]);
    let [action] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((action.name.as_str(), &action.handler, action.split), ("x", &None, false));
    assert_eq!((&action.arguments, action.max_arguments, &action.download), (&None, 8, &None));
    assert_eq!((action.run.program.as_str(), &action.run.words[..]), ("/bin/true", &[][..]));
    assert_eq!((action.runs_as, action.timeout), (RunsAs::Sandbox, Duration::from_secs(120)));
    assert_eq!((action.done, action.rerun, action.report_output), (Done::Exit, false, false));
}

#[test]
fn everything_that_an_action_may_have_is_read() {
    let (found, warnings) = actions(
        "[[action]]\nname = \"model:1.fetch_it-now\"\nhandler = \"fetch model.sh\"\nsplit = true\nargs = '[a-z]+\\.bin'\nmax_args = 32\n\
         run = [\n\"/usr/local/bin/install-model\",\n\"--to={{.X}}\",\n\"--file={{ download }}.x\",\n\"--\", \"{{args}}\"]\n\
         as = \"root\"\ntimeout = \"1h\"\ndone = \"after-restart\"\nrerun = true\nreport_output = true\n\
         download = { hosts = [\"*.s3.eu-west-1.amazonaws.com\", \"192.0.2.1\"], max_size = \"1 GiB\", ca_file = \"/etc/ca.pem\" }\n",
    );
    assert_eq!(warnings, [""; 0]);
    let action = &found[0];
    assert_eq!((action.name.as_str(), action.handler.as_deref()), ("model:1.fetch_it-now", Some("fetch model.sh")));
    assert_eq!((action.split, action.max_arguments, action.runs_as), (true, 32, RunsAs::Root));
    assert_eq!((action.timeout, action.done), (Duration::from_secs(3600), Done::AfterRestart));
    assert!(action.rerun && action.report_output);
    let download = Word::Download { before: "--file=".to_owned(), after: ".x".to_owned() };
    let words = [Word::Text("--to={{.X}}".to_owned()), download, Word::Text("--".to_owned()), Word::Arguments];
    assert_eq!(action.run.words, words);
    let download = action.download.as_ref().unwrap();
    let hosts: Vec<String> = download.hosts.iter().map(ToString::to_string).collect();
    assert_eq!(hosts, ["*.s3.eu-west-1.amazonaws.com", "192.0.2.1"]);
    assert_eq!((download.max_size, download.ca_file.as_deref()), (1 << 30, Some(Path::new("/etc/ca.pem"))));
    let invocation = Invocation::new(&std::sync::Arc::new(action.clone()), ["a.bin b.bin", "c.bin"]).unwrap();
    assert_eq!(
        invocation.argv(Some("/var/lib/x")),
        ["/usr/local/bin/install-model", "--to={{.X}}", "--file=/var/lib/x.x", "--", "a.bin", "b.bin", "c.bin"]
    );
}

#[test]
fn actions_have_names_of_their_own() {
    let other = "[[action]]\nname = \"other\"\nrun = [\"/bin/true\"]\n";
    let found = errors(&format!("[jobs]\n{RESTART}{RESTART}"));
    assert_eq!(found, ["gatewire.toml:11: `action.name`: \"restart\" is taken by the [[action]] at gatewire.toml:7"]);
    let handler = "handler = \"restart.sh\"\n";
    let found = errors(&format!("[jobs]\n{RESTART}{handler}{other}{handler}"));
    assert_eq!(
        found,
        ["gatewire.toml:14: `action.handler`: \"restart.sh\" is taken by the [[action]] at gatewire.toml:10"]
    );
    let found = errors(&format!("[jobs]\n{RESTART}{other}handler = \"restart\"\n"));
    assert_eq!(
        found,
        ["gatewire.toml:13: `action.handler`: \"restart\" is the name of the [[action]] at gatewire.toml:7"]
    );
    assert_eq!(actions(&format!("{RESTART}handler = \"restart\"\n{other}")).0.len(), 2);
}

#[test]
fn what_is_wrong_with_an_action_is_told_on_its_line() {
    let rest = "name = \"x\"\nrun = [\"/bin/x\"]\n";
    for (text, line, expected) in [
        ("run = [\"/bin/x\"]", 6, "`action.name`: is missing; it is written like `name = \"restart\"`"),
        ("name = \"x\"", 6, "`action.run`: is missing; it is written like `run = [\"/usr/bin/systemctl\", "),
        ("name = \"\"\nrun = [\"/bin/x\"]", 7, "`action.name`: must not be empty"),
        (
            "name = \"restart it\"\nrun = [\"/bin/x\"]",
            7,
            "must begin with a letter or digit, and hold only letters, digits, `.`, `_`, `:` and `-`; write \"restart-it\"",
        ),
        ("name = \"gatewire:reload\"\nrun = [\"/bin/x\"]", 7, "\"gatewire:reload\" is built in, or may be later"),
        ("name = \"Gatewire:x\"\nrun = [\"/bin/x\"]", 7, "is built in, or may be later: write another name"),
        ("name = \"ROTATE_CERTIFICATE\"\nrun = [\"/bin/x\"]", 7, "is built in"),
        ("name = \"-x\"\nrun = [\"/bin/x\"]", 7, "must begin with a letter or digit"),
        (
            &format!("name = \"{}\"\nrun = [\"/bin/x\"]", "x".repeat(129)),
            7,
            "is 129 bytes long, at most 128 are allowed",
        ),
        ("name = \"x\"\nrun = \"/bin/x -a\"", 8, "because no shell splits it: [\"/bin/x\", \"-a\"]"),
        ("name = \"x\"\nrun = []", 8, "`action.run`: must hold at least one string"),
        (
            "name = \"x\"\nrun = [\"systemctl\"]",
            8,
            "must be the full path of the program, such as \"/usr/bin/systemctl\"",
        ),
        ("name = \"x\"\nrun = [\"./a.sh\"]", 8, "\"./a.sh\" must be the full path of the program"),
        ("name = \"x\"\nrun = [\"/usr/bin/\"]", 8, "must name a program, not a directory"),
        (
            "name = \"x\"\nrun = [\"{{args}}\"]\nargs = \"a\"",
            8,
            "\"{{args}}\": the program stands here; what a document says never is one",
        ),
        ("name = \"x\"\nrun = [\"/opt/{{args}}\"]\nargs = \"a\"", 8, "what a document says never is one"),
        ("name = \"x\"\nrun = [\"/bin/x\", \"{{args}}\"]", 8, "`{{args}}` needs `args`, the regular expression"),
        (
            "name = \"x\"\nrun = [\"/bin/x\", \"--a={{args}}\"]\nargs = \"a\"",
            8,
            "; put what stands around it into the pattern of `args`, which must match the whole word",
        ),
        ("name = \"x\"\nrun = [\"/bin/x\", \"{{download}}\"]", 8, "`{{download}}` needs `download`"),
        (
            "name = \"x\"\nrun = [\"/bin/x\", \"{{arguments}}\"]\nargs = \"a\"",
            8,
            "`{{arguments}}` isn't known; did you mean `{{args}}`?",
        ),
        ("name = \"x\"\nrun = [\"/bin/x\", \"{{client_id}}\"]", 8, "`{{client_id}}` isn't filled in here"),
        ("name = \"x\"\nrun = [\"/bin/x\", \"a\\u0000\"]", 8, "must not hold a NUL character"),
        (&format!("{rest}args = \"(\""), 9, "`action.args`: \"(\" isn't a regular expression: "),
        (
            &format!("{rest}args = \"*\""),
            9,
            "it is no wildcard of file names: write what is needed, such as \"[a-zA-Z0-9][",
        ),
        (&format!("{rest}args = \"\""), 9, "must not be empty; leave it out for an action without arguments"),
        (&format!("{rest}args = [\"a\", \"b\"]"), 9, "must be one regular expression in quotes, \"(a|b)\""),
        (
            &format!("{rest}args = [\"a\", \"node.red\"]"),
            9,
            "must be one regular expression in quotes, '(a|node\\.red)'",
        ),
        (&format!("{rest}args = [\"[a-z]+\"]"), 9, "in quotes, \"([a-z]+)\""),
        (&format!("{rest}args = []"), 9, "in quotes, such as \"(nodered|zigbee2mqtt)\""),
        (
            &format!("{rest}args = \"*.service\""),
            9,
            "write what is needed, such as '[a-zA-Z0-9][a-zA-Z0-9_-]*\\.service'",
        ),
        (&format!("{rest}args = \"{{a,b}}\""), 9, "; one of several is written \"(a|b)\""),
        (&format!("{rest}args = /a|b/"), 9, "without slashes around it; write `args = \"a|b\"`"),
        (&format!("{rest}args = \"a{{1000}}{{1000}}\""), 9, "is too large: it takes more than 1 MiB"),
        (
            &format!("{rest}args = \"a\"\nmax_args = eight"),
            10,
            "this must be a number, without a unit or other letters",
        ),
        (&format!("{rest}args = \"a\"\nmax_args = \"99\""), 10, "99 is out of range, it must be from 1 to 32"),
        (&format!("{rest}args = \"a\"\nmax_args = 1e3"), 10, "1000 is out of range, it must be from 1 to 32"),
        (&format!("{rest}args = \"a\"\nsplit = yes"), 10, "`yes` is written `true`; write `split = true`"),
        (&format!("{rest}rerun = True"), 9, "write `rerun = true`"),
        (&format!("{rest}report_output = Off"), 9, "write `report_output = false`"),
        (&format!("{rest}as = \"Root\""), 9, "\"Root\": write \"root\"; no other user can be chosen"),
        (&format!("{rest}as = \"admin\""), 9, "write \"root\""),
        (&format!("{rest}as = 0"), 9, "must be written `as = \"root\"`"),
        (&format!("{rest}timeout = 0"), 9, "must be a duration with its unit in quotes, such as \"100ms\""),
        ("name = \"x\"\nrun = true", 8, "must be an array of strings such as [\"/usr/bin/systemctl\", "),
        (
            "name = \"x\"\nrun = [\"\"]",
            8,
            "must begin with the full path of the program, such as \"/usr/bin/systemctl\"",
        ),
        (
            "name = \"x\"\nrun = \"sh -c 'a b'\"",
            8,
            "[\"/usr/bin/sh\", \"-c\", \"a b\"] (`command -v sh` shows the full path)",
        ),
        ("name = \"x\"\nrun = \"/bin/a | b\"", 8, "[\"/bin/sh\", \"-c\", \"/bin/a | b\"]"),
        ("name = \"x\"\nrun = systemctl restart x", 8, "write `run = [\"/usr/bin/systemctl\", \"restart\", \"x\"]`"),
        (&format!("{rest}split = true"), 9, "`action.split`: is for `args`, which isn't there"),
        (&format!("{rest}max_args = 1"), 9, "`action.max_args`: is for `args`, which isn't there"),
        (&format!("{rest}args = \"a\"\nmax_args = 33"), 10, "33 is out of range, it must be from 1 to 32"),
        (&format!("{rest}args = \"a\"\nmax_args = 0"), 10, "0 is out of range, it must be from 1 to 32"),
        (&format!("{rest}as = \"gatewire\""), 9, "\"gatewire\": only \"root\" can be chosen; leave it out"),
        (&format!("{rest}as = true"), 9, "must be written `as = \"root\"`"),
        (&format!("{rest}run_as = \"root\""), 9, "unknown key; did you mean `as`?"),
        (&format!("{rest}timeout = \"8d\""), 9, "\"8d\" is out of range, it must be from 100ms to 7d"),
        (
            &format!("{rest}done = \"reboot\""),
            9,
            "isn't one of \"exit\", \"after-boot\", \"after-restart\"; did you mean \"after-boot\"?",
        ),
        (&format!("{rest}handler = \"/opt/a.sh\""), 9, "\"/opt/a.sh\" is a path; write the name alone, \"a.sh\""),
        (&format!("{rest}handler = \"..\""), 9, "\"..\" is a path; write the name alone:"),
        (&format!("{rest}handler = \"a.sh \""), 9, "has a blank at one end; write \"a.sh\""),
        (&format!("{rest}handler = \"\""), 9, "must not be empty"),
        (&format!("{rest}download = true"), 9, "must be a table, such as { hosts = "),
        (&format!("{rest}download = {{ max_size = \"1 MiB\" }}"), 9, "`action.download.hosts`: is missing"),
        (&format!("{rest}download = {{ hosts = [] }}"), 9, "`action.download.hosts`: must hold at least one string"),
        (
            &format!("{rest}download = {{ hosts = [\"https://a.example:443/x\"] }}"),
            9,
            "without scheme, port and path: \"a.example\"",
        ),
        (&format!("{rest}download = {{ hosts = [\"*\"] }}"), 9, "`*.` stands before a name of at least two parts"),
        (
            &format!("{rest}download = {{ hosts = [\"a b\"] }}"),
            9,
            "\"a b\" is several hosts; put each in quotes of its own",
        ),
        (
            &format!("{rest}download = {{ hosts = [\"a.b\"], max_size = \"0 B\" }}"),
            9,
            "`action.download.max_size`: \"0 B\" is out of range",
        ),
        (&format!("{rest}download = {{ hosts = [\"a.b\"], ca_file = \"ca.pem\" }}"), 9, "must be an absolute path"),
        (
            &format!("{rest}download = {{ hosts = [\"a.b\"], size = \"1 MiB\" }}"),
            9,
            "`action.download.size`: unknown key; did you mean `max_size`?",
        ),
        (&format!("{rest}command = [\"x\"]"), 9, "`action.command`: unknown key; did you mean `run`?"),
        (
            &format!("{rest}zzzz = 1"),
            9,
            "there are args, as, done, download, handler, max_args, name, report_output, rerun, run, split, timeout",
        ),
    ] {
        let found = wrong(text);
        let place = format!("gatewire.toml:{line}: ");
        assert!(found.len() == 1 && found[0].starts_with(&place) && found[0].contains(expected), "{text}\n{found:#?}");
    }
}

#[test]
fn an_action_that_nothing_asks_for_is_a_warning() {
    let warnings = |rest: &str| load(&format!("{CONNECTION}{rest}"), &[]).unwrap().1;
    let restart = format!("{RESTART}as = \"root\"\n");
    assert_eq!(
        warnings(&restart),
        [
            "gatewire.toml:5: warning: `action`: nothing asks for it: write `[jobs]` for AWS IoT Jobs, `[commands]` for its commands, \
             or both"
        ]
    );
    assert_eq!(warnings(&format!("[commands]\n{restart}")), [""; 0]);
}

#[test]
fn the_patterns_of_all_actions_together_have_a_bound() {
    let action = |n: usize| {
        format!("[[action]]\nname = \"x{n}\"\nargs = \"[^x]{{1,9000}}\"\nrun = [\"/bin/x\", \"{{{{args}}}}\"]\n")
    };
    let found = errors(&format!("[jobs]\n{}", (0..100).map(action).collect::<String>()));
    let (first, others) = found.split_first().unwrap();
    assert!(first.contains("is too large: with it the patterns of all actions take more than 4 MiB"), "{first}");
    assert!(others.len() > 50 && others.iter().all(|line| line.contains("4 MiB")), "{}", others.len());
    let small = |n: usize| action(n).replace("[^x]{1,9000}", "(zigbee2mqtt|nodered|[a-z0-9][a-z0-9_-]{1,32})");
    assert_eq!(actions(&(0..100).map(small).collect::<String>()).0.len(), 100);
}

#[test]
fn from_where_a_file_may_come_is_told_as_it_must_be_written() {
    let of = |host: &str| {
        format!("name = \"x\"\nrun = [\"/bin/x\", \"{{{{download}}}}\"]\ndownload = {{ hosts = [\"{host}\"] }}")
    };
    for (host, said) in [
        (
            "s3://bucket/key",
            "is a bucket; write the name of its host, with the bucket's region: \"bucket.s3.eu-west-1.amazonaws.com\"",
        ),
        ("arn:aws:s3:::bucket", "\"bucket.s3.eu-west-1.amazonaws.com\""),
        ("10.0.0.0/8", "is a network; write the names or addresses of the hosts, one by one"),
        ("2001:db8::/32", "is a network"),
        ("10.0.0.1-10.0.0.9", "is a network"),
        ("a.example,b.example", "is several hosts; put each in quotes of its own: \"a.example\", \"b.example\""),
        ("[::1]:443", "without scheme, port and path: \"::1\""),
        ("fe80::1%eth0", "\"fe80::1\""),
        ("127.1", "isn't the name of a host"),
        ("1.2.3.999", "isn't the name of a host"),
        ("-a.example", "isn't the name of a host"),
        ("*example.com", "write \"*.example.com\""),
        ("*.com", "`*.` stands before a name of at least two parts"),
        ("münchen.example", "must be written in ASCII"),
        ("", "must not be empty"),
    ] {
        let found = wrong(&of(host));
        let start = "gatewire.toml:9: `action.download.hosts`: ";
        assert!(found.len() == 1 && found[0].starts_with(start) && found[0].contains(said), "{host}\n{found:#?}");
    }
    for (host, said) in [
        ("my-bucket", "if it is an S3 bucket, write the name of its host, with the bucket's region: \"my-bucket.s3."),
        ("*.co.uk", "\"*.co.uk\" allows the hosts of everybody who has a name there"),
        ("*.CO.UK.", "\"*.co.uk\" allows the hosts of everybody"),
        ("*.amazonaws.com", "allows the hosts of everybody"),
        ("*.github.io", "allows the hosts of everybody"),
    ] {
        let found = actions(&format!("[[action]]\n{}\n", of(host))).1;
        assert!(found.len() == 1 && found[0].contains(said), "{host}\n{found:#?}");
    }
    for host in
        ["A.Example.", "*.a.example", "xn--mnchen-3ya.example", "192.0.2.1", "[::1]", "::1", "localhost", "a_b.example"]
    {
        assert_eq!(actions(&format!("[[action]]\n{}\n", of(host))).1, [""; 0], "{host}");
    }
}

#[test]
fn a_key_that_is_meant_otherwise_is_told_where_it_belongs() {
    let rest = "name = \"x\"\nrun = [\"/bin/x\"]\n";
    for (key, said) in [
        ("path = \"/x\"", "`action.path`: unknown key; leave it out: the full path of the program stands in `run`"),
        ("max_size = \"1 MiB\"", "unknown key; it belongs to `download`: write `download = { max_size = ... }`"),
        ("hosts = [\"a.b\"]", "it belongs to `download`: write `download = { hosts = ... }`"),
        ("ca_file = \"/x\"", "it belongs to `download`"),
        ("url = \"https://a.b\"", "a document says that; `download = { hosts = "),
        ("enabled = false", "to turn it off, delete `[[action]]` and its keys, or put a # before each line"),
        ("cwd = \"/\"", "a program is started in /"),
    ] {
        let found = wrong(&format!("{rest}{key}"));
        assert!(found.len() == 1 && found[0].contains(said), "{key}\n{found:#?}");
    }
    let found =
        wrong("name = \"x\"\nrun = [\"/bin/x\", \"{{download}}\"]\ndownload = { hosts = [\"a.b\"], path = \"/x\" }");
    assert!(
        found.len() == 1 && found[0].contains("leave it out: the file is where `{{download}}` in `run` says"),
        "{found:?}"
    );
}

#[test]
fn a_long_value_doesnt_fill_the_screen() {
    let long = "x".repeat(100_000);
    let rest = "name = \"x\"\nrun = [\"/bin/x\", \"{{args}}\"]\n";
    for (text, said) in [
        (format!("{rest}args = \"({long}\""), "isn't a regular expression"),
        (format!("{rest}args = \"({long})\""), "is too large"),
        (format!("{rest}args = \"{}\"", "x ".repeat(50_000)), "is too large"),
        (format!("{rest}args = \"a\"\nas = \"{long}\""), "only \"root\" can be chosen"),
        (format!("{rest}args = \"a\"\ntimeout = \"{}\"", "1".repeat(100_000)), "lacks its unit"),
        (format!("{rest}args = \"a\"\ndone = \"{long}\""), "isn't one of"),
        (format!("{rest}args = \"a\"\n{long} = 1"), "unknown key; there are args"),
        (format!("name = \"{long}\"\nrun = [\"/bin/x\"]"), "is 100000 bytes long, at most 128 are allowed"),
        (format!("name = \"x\"\nrun = [\"/{long}\"]"), "is 100001 bytes long, and Linux takes at most 4095"),
        (
            format!("name = \"x\"\nrun = [\"/x\", \"{long}{long}\"]"),
            "holds a word of 200000 bytes, and Linux passes at most",
        ),
        (format!("name = \"x\"\nrun = [\"/x\"{}]", format!(", \"{long}\"").repeat(11)), "at most 1048576 are allowed"),
    ] {
        let found = wrong(&text);
        assert!(found.len() == 1 && found[0].contains(said) && found[0].len() < 2100, "{}: {said}", found[0].len());
    }
}
