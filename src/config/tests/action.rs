//! `[[action]]`: what is read, and what is said of one that is wrong.

use super::*;
use crate::actions::{Action, Done, Invocation, RunsAs, Word};

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
         run = [\n\"/usr/local/bin/install-model\",\n\"--to={{x}}\",\n\"--file={{ download }}.x\",\n\"--\", \"{{args}}\"]\n\
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
    let words = [Word::Text("--to={{x}}".to_owned()), download, Word::Text("--".to_owned()), Word::Arguments];
    assert_eq!(action.run.words, words);
    let download = action.download.as_ref().unwrap();
    let hosts: Vec<String> = download.hosts.iter().map(ToString::to_string).collect();
    assert_eq!(hosts, ["*.s3.eu-west-1.amazonaws.com", "192.0.2.1"]);
    assert_eq!((download.max_size, download.ca_file.as_deref()), (1 << 30, Some(Path::new("/etc/ca.pem"))));
    let invocation = Invocation::new(&std::sync::Arc::new(action.clone()), ["a.bin b.bin", "c.bin"]).unwrap();
    assert_eq!(
        invocation.argv(Some("/var/lib/x")),
        ["/usr/local/bin/install-model", "--to={{x}}", "--file=/var/lib/x.x", "--", "a.bin", "b.bin", "c.bin"]
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
            "must begin with a letter or digit, and hold only letters, digits, `.`, `_`, `:` and `-`",
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
            "`{{args}}` must stand alone in its quotes",
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
        (&format!("{rest}args = \"*\""), 9, "it is no wildcard of file names"),
        (&format!("{rest}args = \"\""), 9, "must not be empty; leave it out for an action without arguments"),
        (&format!("{rest}args = [\"a\", \"b\"]"), 9, "must be one regular expression in quotes, \"(a|b)\""),
        (&format!("{rest}split = true"), 9, "`action.split`: is for `args`, which isn't there"),
        (&format!("{rest}max_args = 1"), 9, "`action.max_args`: is for `args`, which isn't there"),
        (&format!("{rest}args = \"a\"\nmax_args = 33"), 10, "33 is out of range, it must be from 1 to 32"),
        (&format!("{rest}args = \"a\"\nmax_args = 0"), 10, "0 is out of range, it must be from 1 to 32"),
        (&format!("{rest}as = \"gatewire\""), 9, "\"gatewire\": only \"root\" can be chosen; leave it out"),
        (&format!("{rest}as = true"), 9, "must be a string in quotes"),
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
        (&format!("{rest}download = {{ hosts = [\"a b\"] }}"), 9, "\"a b\" isn't the name of a host, such as"),
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
        let place = format!("gatewire.toml:{line}: `action.");
        assert!(found.len() == 1 && found[0].starts_with(&place) && found[0].contains(expected), "{text}\n{found:#?}");
    }
}

#[test]
fn an_action_that_nothing_asks_for_is_a_warning() {
    let warnings = |rest: &str| load(&format!("{CONNECTION}{rest}"), &[]).unwrap().1;
    assert_eq!(
        warnings(RESTART),
        [
            "gatewire.toml:5: warning: `action`: nothing asks for it: write `[jobs]` for AWS IoT Jobs, `[commands]` for its commands, \
             or both"
        ]
    );
    assert_eq!(warnings(&format!("[commands]\n{RESTART}")), [""; 0]);
}

#[test]
fn what_goes_nowhere_is_a_warning() {
    let run = "name = \"x\"\nrun = [\"/bin/x\"]\n";
    let (_, warnings) = actions(&format!("[[action]]\n{run}args = \"a\"\ndownload = {{ hosts = [\"a.b\"] }}\n"));
    assert_eq!(
        warnings,
        [
            "gatewire.toml:8: warning: `action.run`: has no \"{{args}}\", so the arguments that `args` allows go nowhere",
            "gatewire.toml:8: warning: `action.run`: has no \"{{download}}\", so the program doesn't learn where the file is",
        ]
    );
    let (_, warnings) = actions("[[action]]\nname = \"x\"\nrun = [\"/bin/x\", \"a\", \"|\", \"b\"]\n");
    assert!(warnings.len() == 1 && warnings[0].contains("`|` is handed to the program"), "{warnings:?}");
}

#[test]
fn a_pattern_that_allows_more_than_is_meant_is_a_warning() {
    let warnings = |args: &str, run: &str, more: &str| {
        let found = actions(&format!("[[action]]\nname = \"x\"\nargs = '{args}'\nrun = [{run}]\n{more}")).1;
        let text = |line: &String| line.strip_prefix("gatewire.toml:8: warning: `action.args`: ").unwrap().to_owned();
        found.iter().map(text).collect::<Vec<String>>()
    };
    let x = "\"/opt/x\", \"--\", \"{{args}}\"";
    let bare = "\"/opt/x\", \"{{args}}\"";
    for anything in [".*", ".+", "(?s).*", ".{0,100}", "^.*$", "(a|.*)", "[^\\n]*", "(.*)"] {
        let found = warnings(anything, x, "");
        let said =
            format!("\"{anything}\" allows everything, so that whoever may create a job decides what x does; list");
        assert!(found.len() == 1 && found[0].starts_with(&said), "{anything}: {found:?}");
        let found = warnings(anything, bare, "as = \"root\"\n");
        assert!(found.len() == 1 && found[0].contains("decides what x does as root; "), "{anything}: {found:?}");
    }
    for option in ["[a-z-]+", "-.*", "\\S+", "[^ /.]*", "--?[a-z=]+", "[\\w=-]{1,9}"] {
        let found = warnings(option, bare, "");
        assert!(found[0].contains("\", and x may read that as an option: "), "{option}: {found:?}");
        assert!(!warnings(option, x, "").iter().any(|line| line.contains("option")), "{option}");
    }
    for path in ["[a-z./-]+", "/.*", "\\S+", "[^ ]+\\.bin", "/[a-z/]+"] {
        let found = warnings(path, x, "");
        assert!(found.len() == 1 && found[0].contains("allows every path, such as \"/etc/shadow"), "{path}: {found:?}");
    }
    for path in
        ["/srv/models/.*", "/srv/models/[a-z./]+\\.bin", "^/srv/[^ ]+$", "(/srv/[a-z./]*)", "models/[^ ]*", "[a-z./]*x"]
    {
        let found = warnings(path, x, "");
        assert!(found.len() == 1 && found[0].contains("/etc/shadow"), "{path}: {found:?}");
    }
    for (args, run) in [
        ("[a-z]+", "\"/bin/sh\", \"-c\", \"{{args}}\""),
        ("\\w+", "\"/usr/bin/env\", \"A=1\", \"{{args}}\""),
        (".*", "\"/usr/bin/sudo\", \"-n\", \"--\", \"{{args}}\""),
        ("[a-z ]+", "\"/usr/bin/timeout\", \"5s\", \"{{args}}\""),
    ] {
        let found = warnings(args, run, "as = \"root\"\n");
        assert!(
            found.len() == 1 && found[0].contains("a document could run every program of this machine"),
            "{run}: {found:?}"
        );
    }
    for (args, run) in [
        ("(zigbee2mqtt|nodered)", bare),
        ("(--fast|-q)", bare),
        ("-?[0-9]+", bare),
        ("[a-z0-9][a-z0-9_-]*", bare),
        ("/srv/models/[a-z0-9_-]+\\.bin", x),
        ("https://[a-z./]+", x),
        ("(reboot|sync)", "\"/bin/sh\", \"-c\", \"{{args}}\""),
        ("[a-z]+", "\"/bin/sh\", \"/opt/x.sh\", \"{{args}}\""),
        ("[a-z]+@[a-z]+\\.service", bare),
    ] {
        assert_eq!(warnings(args, run, ""), [""; 0], "{args}");
    }
}
