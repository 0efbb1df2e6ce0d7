use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// `A` is `{{args}}`, `D` is `{{download}}`, and what stands before a `D` in a word is text.
fn run(line: &[&str]) -> Run {
    let word = |text: &&str| match *text {
        "A" => Word::Arguments,
        text if text.ends_with('D') => {
            Word::Download { before: text[..text.len() - 1].to_owned(), after: String::new() }
        }
        text => Word::Text(text.to_owned()),
    };
    Run { program: line[0].to_owned(), words: line[1..].iter().map(word).collect() }
}

#[test]
fn a_document_may_not_name_what_is_run() {
    for (line, expected) in [
        (&["/bin/sh", "-c", "A"][..], ("sh", As::Code, false)),
        (&["/bin/bash", "-ec", "A"], ("bash", As::Code, false)),
        (&["/bin/bash", "-o", "pipefail", "-c", "A"], ("bash", As::Code, false)),
        (&["/bin/sh", "-c", "--", "A"], ("sh", As::Code, false)),
        (&["/bin/sh", "-c", "D"], ("sh", As::Code, true)),
        (&["/bin/sh", "A"], ("sh", As::Script, false)),
        (&["/bin/sh", "-x", "--", "D"], ("sh", As::Script, true)),
        (&["/bin/ksh93", "A"], ("ksh93", As::Script, false)),
        (&["/usr/bin/env", "bash", "-c", "A"], ("bash", As::Code, false)),
        (&["/usr/bin/env", "A=1", "-u", "B", "A"], ("env", As::Program, false)),
        (&["/usr/bin/env", "-S", "A"], ("env", As::Code, false)),
        (&["/usr/bin/python3", "-c", "A"], ("python3", As::Code, false)),
        (&["/usr/bin/python3.11", "-m", "A"], ("python3.11", As::Code, false)),
        (&["/usr/bin/python3", "-X", "dev", "-u", "D"], ("python3", As::Script, true)),
        (&["/usr/bin/python3", "-cD"], ("python3", As::Code, true)),
        (&["/usr/bin/perl", "-e", "A"], ("perl", As::Code, false)),
        (&["/usr/bin/perl", "-MTime", "-ne", "A"], ("perl", As::Code, false)),
        (&["/usr/bin/node", "--eval", "A"], ("node", As::Code, false)),
        (&["/usr/bin/node", "--eval=D"], ("node", As::Code, true)),
        (&["/usr/bin/awk", "-F", ":", "A"], ("awk", As::Code, false)),
        (&["/usr/bin/sed", "-i", "-e", "A", "/x"], ("sed", As::Code, false)),
        (&["/usr/bin/sudo", "-u", "pi", "--", "A"], ("sudo", As::Program, false)),
        (&["/usr/bin/sudo", "-n", "sh", "-c", "A"], ("sh", As::Code, false)),
        (&["/bin/su", "-", "pi", "-c", "A"], ("su", As::Code, false)),
        (&["/sbin/runuser", "-u", "pi", "--", "A"], ("runuser", As::Program, false)),
        (&["/sbin/runuser", "pi", "-c", "A"], ("runuser", As::Code, false)),
        (&["/usr/bin/timeout", "-k", "5s", "10s", "A"], ("timeout", As::Program, false)),
        (&["/usr/bin/timeout", "A"], ("timeout", As::Program, false)),
        (&["/usr/bin/nice", "-n", "5", "nohup", "A"], ("nohup", As::Program, false)),
        (&["/usr/bin/flock", "/run/x", "-c", "A"], ("flock", As::Code, false)),
        (&["/usr/bin/flock", "/run/x", "A"], ("flock", As::Program, false)),
        (&["/bin/busybox", "A"], ("busybox", As::Program, false)),
        (&["/bin/busybox", "ash", "-c", "A"], ("ash", As::Code, false)),
        (&["/usr/bin/systemd-run", "--wait", "-p", "User=pi", "A"], ("systemd-run", As::Program, false)),
        (&["/usr/bin/watch", "ls", "A"], ("watch", As::Code, false)),
        (&["/usr/bin/ssh", "-p", "22", "pi@other", "A"], ("ssh", As::Program, false)),
        (&["/usr/bin/find", "/srv", "-exec", "A", ";"], ("find", As::Program, false)),
        (&["/usr/bin/xargs", "-I{}", "sh", "-c", "A"], ("sh", As::Code, false)),
        (&["/lib/ld-linux-aarch64.so.1", "D"], ("ld-linux-aarch64.so.1", As::Program, true)),
        (&["/usr/bin/docker", "exec", "app", "sh", "-c", "A"], ("sh", As::Code, false)),
        (&["/bin/sh", "-c", ". D", "x"], (".", As::Script, true)),
        (&["/bin/sh", "-c", "cd /srv; sudo bash D"], ("bash", As::Script, true)),
        (&["/usr/bin/pwsh", "-Command", "A"], ("pwsh", As::Code, false)),
        (&["/usr/bin/java", "-Xmx64m", "-jar", "D"], ("java", As::Code, true)),
        (&["/usr/bin/make", "-f", "D"], ("make", As::Code, true)),
        // What a script makes of its arguments.
        (&["/bin/sh", "-c", "\"$@\"", "sh", "A"], ("sh", As::Program, false)),
        (&["/bin/sh", "-c", "cd /srv && exec \"$@\"", "sh", "A"], ("exec", As::Program, false)),
        (&["/bin/sh", "-c", "if true; then $1; fi", "sh", "A"], ("sh", As::Program, false)),
        (&["/bin/sh", "-c", "x=$($1 -v)", "sh", "A"], ("sh", As::Program, false)),
        (&["/bin/sh", "-c", "eval \"$1\"", "sh", "A"], ("eval", As::Code, false)),
        (&["/bin/sh", "-c", "sudo -n ${2}", "sh", "x", "A"], ("sudo", As::Program, false)),
        (&["/bin/sh", "-c", ". \"$1\"", "sh", "D"], (".", As::Script, true)),
        (&["/bin/sh", "-c", "$0", "A"], ("sh", As::Program, false)),
    ] {
        let found = run(line).named_by_document();
        let found = found.as_ref().map(|found| (found.program.as_str(), found.as_what, found.is_download));
        assert_eq!(found, Some(expected), "{line:?}");
    }
}

#[test]
fn what_is_run_for_the_configuration_to_say_may_get_what_a_document_says() {
    for line in [
        &["/usr/bin/systemctl", "restart", "--", "A"][..],
        &["/bin/sh", "/opt/x.sh", "A"],
        &["/bin/sh", "-c", "systemctl restart -- \"$1\"", "sh", "A"],
        &["/bin/sh", "-c", "awk '$1 ~ /x/' \"$1\"", "sh", "A"],
        &["/bin/sh", "-c", "cp D", "x"],
        &["/bin/sh", "-c", "\"$1\" -x", "sh", "/opt/x", "A"],
        &["/bin/sh", "-eu", "-o", "pipefail", "/opt/x.sh", "A"],
        &["/usr/bin/python3", "/opt/x.py", "--file=D", "A"],
        &["/usr/bin/python3", "-m", "mymodule", "A"],
        &["/usr/bin/python3", "-c", "import sys", "A"],
        &["/usr/bin/perl", "-MTime", "/opt/x.pl", "A"],
        &["/usr/bin/perl", "-ne", "print", "A"],
        &["/usr/bin/awk", "-f", "/opt/x.awk", "A"],
        &["/usr/bin/sed", "-i.before", "s/a/b/", "A"],
        &["/usr/bin/env", "A=1", "/opt/x", "A"],
        &["/usr/bin/sudo", "-u", "pi", "/opt/x", "A"],
        &["/usr/bin/flock", "/run/x", "/opt/x", "A"],
        &["/usr/bin/find", "/srv", "-name", "A", "-exec", "rm", "{}", ";"],
        &["/usr/bin/ssh", "pi@other", "systemctl", "restart", "A"],
        &["/usr/bin/dpkg", "-i", "D"],
        &["/bin/sh", "-c", "bash /opt/x.sh --file=D"],
        &["/usr/bin/java", "-jar", "/opt/x.jar", "A"],
        &["/usr/bin/make", "-C", "/opt", "A"],
        &["/opt/shell", "-c", "A"],
        &["/opt/x", "--shell", "bash", "A"],
        &["/usr/bin/docker", "exec", "app", "sh", "-c", "systemctl restart \"$1\"", "sh", "A"],
    ] {
        assert_eq!(run(line).named_by_document(), None, "{line:?}");
    }
}

#[test]
fn the_programs_that_are_run_in_turn_are_told() {
    let names = |line: &[&str]| run(line).commands().into_iter().map(|command| command.name).collect::<Vec<_>>();
    assert_eq!(names(&["/bin/systemctl", "reboot"]), ["systemctl"]);
    assert_eq!(names(&["/usr/bin/env", "A=1", "nice", "-n", "5", "/sbin/reboot"]), ["env", "nice", "reboot"]);
    let script = "sync; A=1 sudo reboot || (echo 'no; reboot' | tee \"$1\") && if x; then /sbin/halt; fi";
    assert_eq!(
        names(&["/bin/sh", "-c", script, "sh", "A"])[..],
        ["sh", "sync", "sudo", "reboot", "echo", "tee", "x", "halt", "fi"]
    );
    let command = &run(&["/bin/sh", "-c", "systemctl restart a\\ b"]).commands()[1];
    assert_eq!(command.words, ["restart", "a b"]);
}

#[test]
fn what_is_nested_without_end_is_left() {
    let many: Vec<&str> = std::iter::once("/usr/bin/env").chain(std::iter::repeat_n("sudo", 100_000)).collect();
    assert!(run(&many).commands().len() <= DEEPEST + 1);
    let code = "eval ".repeat(100_000);
    assert!(run(&["/bin/sh", "-c", &code]).commands().len() <= DEEPEST + 1);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_words_make_it_panic_and_what_a_document_gives_is_found_behind_any_wrapping(
        program in select(vec!["/bin/sh", "/usr/bin/env", "/usr/bin/python3", "/usr/bin/flock", "/usr/bin/find", "/bin/x"]),
        words in vec("[-+a-z$\"'{}@0-9 ;|=/.\\\\ä]{0,12}", 0..8),
        wrappers in vec(select(vec![&["/usr/bin/env", "A=1"][..], &["/usr/bin/nice", "-n", "5"], &["/usr/bin/timeout", "5s"]]), 1..4),
    ) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let run_of = run(&[&[program], &words[..]].concat());
        let _ = (run_of.named_by_document(), run_of.commands());
        let wrapped = [&wrappers.concat()[..], &["sh", "-c", "A"]].concat();
        prop_assert_eq!(run(&wrapped).named_by_document().map(|found| found.as_what), Some(As::Code));
    }
}
