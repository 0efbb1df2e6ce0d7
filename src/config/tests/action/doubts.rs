//! What is said of actions that can be read, and most likely do something else than is meant.

use super::{actions, wrong};

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
}

#[test]
fn what_a_shell_would_do_is_told_with_a_line_that_works() {
    for (run, keys, advice) in [
        ("\"a\", \"|\", \"b\"", "", "[\"/bin/sh\", \"-c\", \"...\"]"),
        ("\"{{args}}\", \"|\", \"b\"", "args = \"a\"", "[\"/bin/sh\", \"-c\", '...', \"sh\", \"{{args}}\"]"),
        (
            "\"{{download}}\", \"|\", \"b\"",
            "download = { hosts = [\"a.b\"] }",
            "[\"/bin/sh\", \"-c\", '...', \"sh\", \"{{download}}\"]",
        ),
        (
            "\"{{download}}\", \"{{args}}\", \"&&\"",
            "args = \"a\"\ndownload = { hosts = [\"a.b\"] }",
            "[\"/bin/sh\", \"-c\", '...', \"sh\", \"{{download}}\", \"{{args}}\"]",
        ),
    ] {
        let action = |run: &str| format!("[[action]]\nname = \"x\"\nrun = {run}\n{keys}\n");
        let (_, warnings) = actions(&action(&format!("[\"/bin/x\", {run}]")));
        let said = "gatewire.toml:8: warning: `action.run`: `";
        assert!(warnings.len() == 1 && warnings[0].starts_with(said) && warnings[0].contains(advice), "{warnings:?}");
        let script = if keys.is_empty() { "cat /x | tee" } else { "cat \"$1\" | tee" };
        assert_eq!(actions(&action(&advice.replace("...", script))).1, [""; 0], "{advice}");
    }
}

#[test]
fn what_a_document_says_is_never_what_is_run() {
    let download = "download = { hosts = [\"a.b\"] }";
    for (run, keys, said) in [
        (
            "\"/bin/sh\", \"-c\", \"{{args}}\"",
            "",
            "sh takes `{{args}}` for code that it runs, and code never comes from",
        ),
        ("\"/usr/bin/env\", \"bash\", \"-c\", \"{{args}}\"", "", "bash takes `{{args}}` for code"),
        ("\"/usr/bin/python3\", \"-c\", \"{{args}}\"", "", "python3 takes `{{args}}` for code"),
        ("\"/usr/bin/perl\", \"-e\", \"{{args}}\"", "as = \"root\"", "perl takes `{{args}}` for code"),
        ("\"/bin/sh\", \"{{args}}\"", "", "sh takes `{{args}}` for the script that it runs, and a script never"),
        ("\"/usr/bin/sudo\", \"{{args}}\"", "as = \"root\"", "sudo takes `{{args}}` for the name of a program to run"),
        ("\"/bin/sh\", \"-c\", \"{{download}}\", \"{{args}}\"", download, "sh takes `{{download}}` for code"),
        ("\"/bin/sh\", \"{{download}}\", \"{{args}}\"", download, "sh takes `{{download}}` for the script"),
        ("\"/bin/sh\", \"-c\", '\"$@\"', \"sh\", \"{{args}}\"", "", "sh takes `{{args}}` for the name of a program"),
    ] {
        // It doesn't matter how little `args` allows.
        let text = format!("name = \"x\"\nrun = [{run}]\nargs = \"(a|b)\"\n{keys}");
        let found = wrong(&text);
        let start = format!("gatewire.toml:8: `action.run`: {said}");
        assert!(found.len() == 1 && found[0].starts_with(&start), "{run}\n{found:#?}");
        // The line that is advised is taken.
        let advice = found[0].split("`run = ").nth(1).unwrap().split('`').next().unwrap();
        let keys = if advice.contains("download") { download } else { "" };
        let args = if advice.contains("args") { "args = \"(a|b)\"" } else { "" };
        assert_eq!(actions(&format!("[[action]]\nname = \"x\"\nrun = {advice}\n{args}\n{keys}\n")).1, [""; 0]);
    }
}

#[test]
fn a_placeholder_that_there_isnt_is_a_warning() {
    let warnings = |word: &str| actions(&format!("[[action]]\nname = \"x\"\nrun = [\"/bin/x\", \"{word}\"]\n")).1;
    for (word, said) in [
        (
            "{{foo}}",
            "`{{foo}}` isn't filled in, the program gets it as it stands; there are only `{{args}}` and `{{download}}`",
        ),
        (
            "--id={{ job_id }}",
            "`{{job_id}}` isn't filled in, the program gets it as it stands; the program finds the job's id in",
        ),
        (
            "{{args[0]}}",
            "`{{args[0]}}` isn't filled in, the program gets it as it stands; `{{args}}` becomes all arguments",
        ),
        ("{{1}}", "`{{args}}` becomes all arguments"),
        ("{{url}}", "`{{download}}` becomes the path"),
    ] {
        let found = warnings(word);
        assert!(
            found.len() == 1
                && found[0].starts_with("gatewire.toml:8: warning: `action.run`: `")
                && found[0].contains(said),
            "{found:?}"
        );
    }
    for word in ["{{.Names}}", "{{json .}}", "{x}", "{{}}", "$1"] {
        assert_eq!(warnings(word), [""; 0], "{word}");
    }
}

#[test]
fn a_program_that_cannot_work_where_it_runs_is_a_warning() {
    let warnings = |run: &str, keys: &str| {
        let found = actions(&format!("[[action]]\nname = \"x\"\nrun = [{run}]\n{keys}\n")).1;
        let text = |line: &String| line.strip_prefix("gatewire.toml:8: warning: `action.run`: ").unwrap().to_owned();
        found.iter().map(text).collect::<Vec<String>>()
    };
    let root = "as = \"root\"";
    for run in [
        "\"/usr/bin/systemctl\", \"restart\", \"nodered\"",
        "\"/usr/bin/apt-get\", \"install\", \"--yes\", \"x\"",
        "\"/usr/bin/dpkg\", \"-i\", \"/x.deb\"",
        "\"/usr/bin/apt\", \"update\"",
        "\"/usr/bin/env\", \"A=1\", \"systemctl\", \"stop\", \"x\"",
        "\"/bin/sh\", \"-c\", \"cd / && systemctl stop x\"",
        "\"/sbin/modprobe\", \"x\"",
    ] {
        let found = warnings(run, "");
        let said = " most likely needs root, and the action runs as gatewire, in the sandbox of gatewire.service";
        assert!(
            found.len() == 1 && found[0].contains(said) && found[0].ends_with("write `as = \"root\"`"),
            "{run}: {found:?}"
        );
        assert_eq!(warnings(run, root), [""; 0], "{run}");
    }
    for (run, name) in [
        ("\"/usr/bin/sudo\", \"/opt/x\"", "sudo"),
        ("\"/usr/bin/sudo\", \"systemctl\", \"restart\", \"x\"", "sudo"),
        ("\"/bin/sh\", \"-c\", \"x | sudo tee /etc/x\"", "sudo"),
        ("\"/bin/su\", \"-c\", \"x\"", "su"),
    ] {
        let found = warnings(run, "");
        let said = format!(
            "{name} can't work here: the sandbox of gatewire.service lets no program have another user's rights"
        );
        assert!(found.len() == 1 && found[0].starts_with(&said), "{run}: {found:?}");
        assert_eq!(warnings(run, root), [""; 0], "{run}");
    }
    for run in [
        "\"/usr/bin/systemctl\", \"status\", \"nodered\"",
        "\"/usr/bin/dpkg\", \"-l\"",
        "\"/usr/bin/systemctl\", \"--user\", \"restart\", \"x\"",
        "\"/opt/x\", \"sudo\", \"reboot\"",
        "\"/bin/echo\", \"systemctl\"",
    ] {
        assert_eq!(warnings(run, ""), [""; 0], "{run}");
    }
    let reboots = ["\"/sbin/reboot\"", "\"/usr/bin/systemctl\", \"reboot\"", "\"/sbin/shutdown\", \"-r\", \"now\""];
    for run in reboots.into_iter().chain(["\"/bin/sh\", \"-c\", \"sync; reboot\""]) {
        assert_eq!(warnings(run, "").len(), 2, "{run}");
        for keys in [root, "as = \"root\"\ndone = \"after-restart\""] {
            let found = warnings(run, keys);
            assert!(found.len() == 1 && found[0].contains("; write `done = \"after-boot\"`"), "{run}: {found:?}");
        }
        assert_eq!(warnings(run, "as = \"root\"\ndone = \"after-boot\""), [""; 0], "{run}");
    }
    let itself = "\"/usr/bin/systemctl\", \"restart\", \"gatewire\"";
    let found = warnings(itself, root);
    assert!(found.len() == 1 && found[0].contains("; write `done = \"after-restart\"`"), "{found:?}");
    assert_eq!(warnings(itself, "as = \"root\"\ndone = \"after-restart\""), [""; 0]);
}

#[test]
fn a_pattern_that_means_something_else_is_a_warning() {
    let warnings = |args: &str, keys: &str| {
        let found = actions(&format!(
            "[[action]]\nname = \"x\"\nargs = {args}\nrun = [\"/opt/x\", \"--\", \"{{{{args}}}}\"]\n{keys}\n"
        ))
        .1;
        let text = |line: &String| line.strip_prefix("gatewire.toml:8: warning: `action.args`: ").unwrap().to_owned();
        found.iter().map(text).collect::<Vec<String>>()
    };
    for (args, keys, said) in [
        ("\"/a|b/\"", "", "the slashes count as a part of each argument; write it without them: \"a|b\""),
        ("\"/^(a|b)$/i\"", "", "write it without them: \"(?i)^(a|b)$\""),
        (
            "\"nodered, node.red\"",
            "",
            "\"nodered, node.red\" is one argument; for one of several write '(nodered|node\\.red)'",
        ),
        ("\"node*\"", "", "`*` stands for any number of `e`: it is no wildcard of file names"),
        (
            "\"(one two|three four)\"",
            "split = true",
            "needs a blank, and with `split = true` an argument is divided at its blanks",
        ),
        ("'[a-z]+\\s[a-z]+'", "split = true", "needs a blank"),
        ("\"a\\tb\"", "", "needs a control character"),
    ] {
        let found = warnings(args, keys);
        assert!(found.len() == 1 && found[0].contains(said), "{args}: {found:?}");
    }
    for (args, keys) in
        [("\"(one two|three)\"", "split = true"), ("\"one two\"", ""), ("\"/srv/[a-z]+\"", ""), ("\"[a-z0-9]*\"", "")]
    {
        assert_eq!(warnings(args, keys), [""; 0], "{args}");
    }
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
        ("(zigbee2mqtt|nodered)", bare),
        ("(--fast|-q)", bare),
        ("-?[0-9]+", bare),
        ("[a-z0-9][a-z0-9_-]*", bare),
        ("/srv/models/[a-z0-9_-]+\\.bin", x),
        ("https://[a-z./]+", x),
        ("[a-z]+", "\"/bin/sh\", \"/opt/x.sh\", \"{{args}}\""),
        ("[a-z]+@[a-z]+\\.service", bare),
    ] {
        assert_eq!(warnings(args, run, ""), [""; 0], "{args}");
    }
}
