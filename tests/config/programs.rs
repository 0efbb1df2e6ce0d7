//! What is read and run: files, programs, actions.

use super::*;

#[test]
fn what_is_read_and_run_on_a_schedule_is_looked_for() {
    let publish =
        |name: &str, source: &str| format!("[[publish]]\nname = \"{name}\"\ntopic = \"t\"\nevery = \"1m\"\n{source}\n");
    let files = Files::new("");
    let sources = [
        publish("a", "file = \"/nowhere/temp\""),
        publish("b", "command = [\"no-such-program\"]"),
        publish("c", "command = [\"/nowhere/program\"]"),
        publish("d", &format!("command = [\"{}\"]", files.0.path().join("plain").display())),
        publish("e", "command = [\"echo\", \"x\"]"),
        publish("f", "file = \"/etc/hostname\""),
    ];
    files.write("gatewire.toml", &format!("{CONNECTION}{TLS}{}", sources.concat()));
    files.write("plain", "#!/bin/sh\n");
    let said = files.check();
    assert_eq!(said.code, Some(0), "run starts all the same: {said:?}");
    assert_eq!(
        said.stderr.lines().collect::<Vec<_>>(),
        [
            "gatewire.toml:13: warning: publish a: `file` /nowhere/temp isn't there",
            "gatewire.toml:18: warning: publish b: `command`: there is no program no-such-program in the directories of PATH; write its full path",
            "gatewire.toml:23: warning: publish c: `command`: there is no program /nowhere/program",
            "gatewire.toml:28: warning: publish d: `command`: plain can't be run: it isn't executable (`chmod +x plain`)",
        ]
    );
}

#[test]
fn what_actions_run_is_looked_for_and_root_runs_what_root_alone_can_change() {
    let files = Files::new("");
    let place = |name: &str| files.0.path().join(name).display().to_string();
    let mut config = format!("{CONNECTION}{TLS}[jobs]\n");
    for (name, run, more) in [
        ("a", "\"/nowhere/program\"".to_owned(), "rerun = true"),
        ("b", format!("\"{}\"", place("plain")), "rerun = true"),
        ("c", "\"/nowhere/other\"".to_owned(), "as = \"root\""),
        ("d", format!("\"{}\"", place("open")), "as = \"root\""),
        ("e", format!("\"{}\"", place("theirs")), "as = \"root\""),
        ("f", format!("\"/bin/sh\", \"{}\"", place("script")), "as = \"root\""),
        ("g", format!("\"{}\"", place("right")), "as = \"root\""),
        (
            "h",
            format!("\"{}\"", place("theirs.toml")),
            "download = { hosts = [\"a.example\"], ca_file = \"/nowhere/ca.pem\" }",
        ),
    ] {
        config += &format!("[[action]]\nname = \"{name}\"\nrun = [{run}]\n{more}\n");
    }
    files.write("gatewire.toml", &config);
    for (name, mode) in [
        ("plain", 0o644),
        ("open", 0o777),
        ("theirs", 0o755),
        ("script", 0o666),
        ("right", 0o755),
        ("theirs.toml", 0o755),
    ] {
        files.write(name, "#!/bin/sh\n");
        fs::set_permissions(place(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    std::os::unix::fs::chown(place("theirs"), Some(12_345), None).unwrap();
    let said = files.check();
    assert_eq!(said.code, Some(0), "run starts all the same: {said:?}");
    // Whether root can be asked depends on the machine.
    let is_wanted = |line: &&str| line.contains("warning: action ") && !line.contains("root can't be asked");
    let lines: Vec<&str> = said.stderr.lines().filter(is_wanted).collect();
    let expected = [
        "gatewire.toml:12: warning: action a: `run`: there is no program /nowhere/program",
        "gatewire.toml:16: warning: action b: `run`: plain can't be run: it isn't executable (`chmod +x plain`)",
        "gatewire.toml:20: warning: action c: `run`: there is no program /nowhere/other",
        "gatewire.toml:24: warning: action d: open can be changed by others than root (mode 0777), and root obeys only what root alone",
        "gatewire.toml:28: warning: action e: theirs belongs to 12345, and root obeys only what root alone can change; `sudo chown",
        "gatewire.toml:32: warning: action f: script can be changed by others than root (mode 0666)",
        "gatewire.toml:41: warning: action h: `ca_file` /nowhere/ca.pem isn't there",
    ];
    assert_eq!(lines.len(), expected.len(), "{said:?}");
    lines.iter().zip(expected).for_each(|(line, start)| assert!(line.starts_with(start), "{line}\n{start}"));
    // What root reads the action from must be root's, too.
    fs::set_permissions(place("gatewire.toml"), fs::Permissions::from_mode(0o666)).unwrap();
    let said = files.check();
    let line = "gatewire.toml:20: warning: action c: gatewire.toml can be changed by others than root (mode 0666)";
    assert!(said.stderr.contains(line), "{said:?}");
}

#[test]
fn a_script_that_the_kernel_cannot_run_is_told_with_what_mends_it() {
    let files = Files::new("");
    let scripts = [
        ("windows", "#!/bin/sh\r\necho 5\r\n", "windows has the line ends of Windows (CRLF)"),
        ("bare", "echo 5\n", "bare is no program and has no line such as `#!/bin/sh` at its start"),
        ("mark", "\u{feff}#!/bin/sh\necho 5\n", "mark begins with a byte order mark"),
        ("lacking", "#!/nowhere/sh\necho 5\n", "lacking is to be run by `/nowhere/sh`, which isn't there"),
        ("right", "#!/bin/sh\necho 5\n", ""),
    ];
    let mut sources = String::new();
    for (name, text, _) in scripts {
        files.write(name, text);
        let path = files.0.path().join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let command = format!("command = [\"{}\"]", path.display());
        sources += &format!("[[publish]]\nname = \"{name}\"\ntopic = \"t\"\nevery = \"1m\"\n{command}\n");
    }
    let relative = "[[publish]]\nname = \"y\"\ntopic = \"t\"\nevery = \"1m\"\ncommand = [\"./nowhere.sh\"]\n";
    sources += relative;
    let rest = "[[publish]]\nname = \"x\"\ntopic = \"t\"\nevery = \"1m\"\ncommand = [\"echo me:hunter2\"]\n";
    files.write("gatewire.toml", &format!("{CONNECTION}{TLS}{sources}{rest}"));
    let said = files.check();
    assert_eq!(said.code, Some(0), "run starts all the same: {said:?}");
    for (name, _, text) in scripts {
        let lines: Vec<&str> = said.stderr.lines().filter(|line| line.contains(&format!("publish {name}:"))).collect();
        assert_eq!(lines.len(), usize::from(!text.is_empty()), "{said:?}");
        assert!(lines.iter().all(|line| line.contains(text)), "{said:?}");
    }
    assert!(said.stderr.contains("as in [\"echo\", \"...\"]") && !said.stderr.contains("hunter2"), "{said:?}");
    assert!(said.stderr.contains("./nowhere.sh in the directory that gatewire is started in"), "{said:?}");
    // The command is right as it is printed.
    let line = said.stderr.lines().find(|line| line.contains("CRLF")).unwrap();
    let mend = line.rsplit('`').nth(1).unwrap();
    assert!(Command::new("sh").args(["-c", mend]).current_dir(files.0.path()).status().unwrap().success());
    assert!(!files.check().stderr.contains("CRLF"));
}
