//! The programs that run what they are given, and where among their words that stands.

/// What the first operand of a program is, once those of its own are passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// A program, and its words behind it.
    Program,
    /// A file with what is run.
    Script,
    /// What is run, itself.
    Code,
    /// Likewise, with all operands behind it.
    AllCode,
    /// Nothing that is run.
    Data,
}

/// A program that runs what it is given.
#[derive(Debug)]
pub(super) struct Runner {
    /// Without the digits and dots of a version.
    names: &'static [&'static str],
    /// Options whose value is the next word, and isn't run: letters, and names.
    values: (&'static str, &'static [&'static str]),
    /// Options whose value is what is run.
    code: (&'static str, &'static [&'static str]),
    /// Letters of options whose value, if they have one, stands in the same word.
    attached: &'static str,
    /// Operands before what is run.
    pub(super) operands: usize,
    pub(super) rest: Rest,
}

impl Runner {
    const fn new(names: &'static [&'static str], rest: Rest) -> Runner {
        Runner { names, values: ("", &[]), code: ("", &[]), attached: "", operands: 0, rest }
    }

    const fn values(self, letters: &'static str, names: &'static [&'static str]) -> Runner {
        Runner { values: (letters, names), ..self }
    }

    const fn code(self, letters: &'static str, names: &'static [&'static str]) -> Runner {
        Runner { code: (letters, names), ..self }
    }

    const fn attached(self, letters: &'static str) -> Runner {
        Runner { attached: letters, ..self }
    }

    const fn operands(self, operands: usize) -> Runner {
        Runner { operands, ..self }
    }

    pub(super) fn takes_value(&self, letter: char) -> bool {
        self.values.0.contains(letter)
    }

    pub(super) fn has_attached(&self, letter: char) -> bool {
        self.attached.contains(letter)
    }

    pub(super) fn takes_code(&self, letter: char) -> bool {
        self.code.0.contains(letter)
    }

    /// `name` without its dashes.
    pub(super) fn takes_value_named(&self, name: &str) -> bool {
        self.values.1.contains(&name)
    }

    /// `name` without its dashes.
    pub(super) fn takes_code_named(&self, name: &str) -> bool {
        self.code.1.contains(&name)
    }

    /// `-c` of a shell has no value: what is run is the first operand.
    pub(super) fn is_shell(&self) -> bool {
        self.names.contains(&"sh")
    }

    /// The code that it takes is read by a shell.
    pub(super) fn reads_as_a_shell(&self) -> bool {
        const OTHERS: [&str; 3] = ["gdb", "make", "java"];
        let is_other = OTHERS.iter().any(|name| self.names.contains(name));
        self.is_shell() || self.names.contains(&"su") || !is_other && !matches!(self.rest, Rest::Script | Rest::Code)
    }

    /// Options may stand behind its operands.
    pub(super) fn permutes(&self) -> bool {
        ["su", "runuser", "flock"].iter().any(|name| self.names.contains(name))
    }

    /// With `-u` there is no user among the operands.
    pub(super) fn is_runuser(&self) -> bool {
        self.names.contains(&"runuser")
    }

    /// Variables may be set before the program, as in `A=1`.
    pub(super) fn sets_variables(&self) -> bool {
        ["env", "sudo"].iter().any(|name| self.names.contains(name))
    }
}

/// What begins a part of a shell's script and is no program.
pub(super) const KEYWORDS: [&str; 10] = ["if", "then", "elif", "else", "while", "until", "do", "!", "{", "time"];

const RUNNERS: &[Runner] = &[
    Runner::new(&["sh", "bash", "rbash", "dash", "ash", "zsh", "ksh", "mksh", "fish", "csh", "tcsh"], Rest::Script)
        .values("oO", &["rcfile", "init-file"])
        .code("c", &["command"]),
    Runner::new(&["python", "pypy", "micropython"], Rest::Script).values("WXQ", &[]).code("cm", &[]),
    Runner::new(&["perl"], Rest::Script).values("I", &[]).code("eE", &[]).attached("Mmi0lFCDx"),
    Runner::new(&["ruby"], Rest::Script).values("IrCE", &[]).code("e", &[]).attached("i0FTWx"),
    Runner::new(&["node", "nodejs", "deno", "bun"], Rest::Script)
        .values("rC", &["require", "import", "loader", "conditions", "env-file"])
        .code("ep", &["eval", "print"]),
    Runner::new(&["php"], Rest::Script)
        .values("dczt", &["define"])
        .code("rBREfF", &["run", "file", "process-begin", "process-code", "process-end", "process-file"]),
    Runner::new(&["lua", "luajit"], Rest::Script).values("l", &[]).code("e", &[]),
    Runner::new(&["tclsh", "wish", "expect"], Rest::Script).code("cf", &[]),
    Runner::new(&["awk", "gawk", "mawk", "nawk"], Rest::Code)
        .values("vF", &["assign", "field-separator"])
        .code("feEi", &["file", "source", "exec", "include"]),
    Runner::new(&["sed"], Rest::Code).values("l", &["line-length"]).code("ef", &["expression", "file"]).attached("i"),
    Runner::new(&["env"], Rest::Program).values("uC", &["unset", "chdir"]).code("S", &["split-string"]),
    Runner::new(&["sudo"], Rest::Program).values(
        "ugphCDRTrtU",
        &["user", "group", "prompt", "host", "chdir", "chroot", "close-from", "role", "type", "command-timeout"],
    ),
    Runner::new(&["doas"], Rest::Program).values("uC", &[]),
    Runner::new(&["pkexec"], Rest::Program).values("", &["user"]),
    Runner::new(&["su"], Rest::Script)
        .values("sgGwT", &["shell", "group", "supp-group", "whitelist-environment"])
        .code("c", &["command", "session-command"])
        .operands(1),
    Runner::new(&["runuser"], Rest::Program)
        .values("ugGsw", &["user", "group", "supp-group", "shell"])
        .code("c", &["command", "session-command"])
        .operands(1),
    Runner::new(&["nice"], Rest::Program).values("n", &["adjustment"]),
    Runner::new(&["ionice"], Rest::Program).values("cn", &["class", "classdata"]),
    Runner::new(&["timeout"], Rest::Program).values("ks", &["kill-after", "signal"]).operands(1),
    Runner::new(&["chrt", "taskset", "chroot", "setarch"], Rest::Program).operands(1),
    Runner::new(
        &[
            "nohup",
            "setsid",
            "eatmydata",
            "fakeroot",
            "dbus-run-session",
            "parallel",
            "busybox",
            "toybox",
            "command",
            "builtin",
            "exec",
            "time",
        ],
        Rest::Program,
    )
    .values("a", &[]),
    Runner::new(&["stdbuf"], Rest::Program).values("ioe", &["input", "output", "error"]),
    Runner::new(&["xargs"], Rest::Program)
        .values("adEILnPs", &["arg-file", "delimiter", "max-args", "max-procs", "max-chars"]),
    Runner::new(&["nsenter"], Rest::Program).values("tSG", &["target", "setuid", "setgid"]),
    Runner::new(&["unshare"], Rest::Program)
        .values("SGRw", &["setuid", "setgid", "root", "wd", "propagation", "setgroups", "map-user", "map-group"]),
    Runner::new(&["setpriv"], Rest::Program).values(
        "",
        &[
            "reuid",
            "regid",
            "groups",
            "inh-caps",
            "ambient-caps",
            "bounding-set",
            "securebits",
            "pdeathsig",
            "selinux-label",
            "apparmor-profile",
        ],
    ),
    Runner::new(&["systemd-run", "systemd-inhibit"], Rest::Program).values(
        "puMHEC",
        &[
            "property",
            "unit",
            "uid",
            "gid",
            "slice",
            "description",
            "setenv",
            "working-directory",
            "machine",
            "host",
            "nice",
            "service-type",
            "what",
            "who",
            "why",
            "mode",
            "on-active",
            "on-boot",
            "on-calendar",
        ],
    ),
    Runner::new(&["flock"], Rest::Program)
        .values("wE", &["timeout", "wait", "conflict-exit-code"])
        .code("c", &["command"])
        .operands(1),
    Runner::new(&["strace", "ltrace"], Rest::Program).values("oepusaEbIOPSUX", &[]),
    Runner::new(&["watch"], Rest::AllCode).values("n", &["interval"]),
    Runner::new(&["script"], Rest::Data).values("EIOBTmo", &[]).code("c", &["command"]),
    Runner::new(&["start-stop-daemon"], Rest::Data)
        .values("npugcdrNPIkR", &["name", "pidfile", "user", "group", "chuid", "chdir", "chroot", "nicelevel", "umask"])
        .code("xa", &["exec", "startas"]),
    Runner::new(&["ssh"], Rest::Program).values("bcDEeFIiJLlmOopQRSWwB", &[]).operands(1),
    Runner::new(&["pwsh", "powershell"], Rest::Script)
        .code("c", &["Command", "EncodedCommand", "File", "command", "file"]),
    Runner::new(&["Rscript"], Rest::Script).code("e", &[]),
    Runner::new(&["java"], Rest::Script)
        .values("", &["class-path", "classpath", "cp", "module-path"])
        .code("", &["jar"])
        .attached("DXjavewsd"),
    Runner::new(&["gdb"], Rest::Data).code("x", &["ex", "iex", "eval-command", "init-eval-command", "command"]),
    Runner::new(&["make"], Rest::Data).values("CIjlo", &["directory"]).code("f", &["file", "makefile"]),
    Runner::new(&["screen"], Rest::Program).values("SctTehpL", &[]),
    Runner::new(&["sshpass"], Rest::Program).values("pfd", &[]),
    Runner::new(&["ld-linux", "ld"], Rest::Program).values("", &["library-path", "preload", "argv0", "audit"]),
    // Words of a shell's own.
    Runner::new(&["eval"], Rest::AllCode),
    Runner::new(&[".", "source"], Rest::Script),
];

/// The one that a program is, by its path or name; `python3.11` is `python`.
pub(super) fn runner(program: &str) -> Option<&'static Runner> {
    let name = base(program);
    let name = if name.starts_with("ld-linux") { "ld-linux" } else { name };
    let is_version = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-');
    let bare = match name.trim_end_matches(is_version) {
        "" => name,
        bare => bare,
    };
    RUNNERS.iter().find(|runner| runner.names.contains(&name) || runner.names.contains(&bare))
}

/// The name of the file alone.
pub(super) fn base(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or_default()
}
