//! What the configurations of a run let jobs and commands do.

/// With this configuration [`SOMETIMES`] isn't listed.
pub(super) const WITHOUT_AN_ACTION: usize = 1;

/// With these there is no `[commands]`, and no `[jobs]`.
pub(super) const WITHOUT_COMMANDS: usize = 4;
const WITHOUT_JOBS: usize = 5;

/// An action that some configurations don't have.
pub(super) const SOMETIMES: &str = "sometimes";

/// One that may be begun again when it was interrupted.
pub(super) const AGAIN: &str = "again";

/// The tables of a configuration, by its number.
pub(super) fn tables(number: usize) -> String {
    let run = "run = [\"/usr/bin/simulated\", \"{{args}}\"]\nargs = \"[a-z0-9-]+\"\n";
    let mut text = String::new();
    if number != WITHOUT_JOBS {
        text.push_str("[jobs]\n");
    }
    if number != WITHOUT_COMMANDS {
        text.push_str("[commands]\nmax_age = \"10m\"\n");
    }
    let mut action = |name: &str, more: &str| text.push_str(&format!("[[action]]\nname = \"{name}\"\n{run}{more}\n"));
    action("work", "handler = \"work.sh\"\ntimeout = \"3m\"");
    action(AGAIN, "rerun = true\ntimeout = \"3m\"");
    if number != WITHOUT_AN_ACTION {
        action(SOMETIMES, "timeout = \"1m\"");
    }
    action("boot", "done = \"after-boot\"\ntimeout = \"5m\"");
    action("upgrade", "done = \"after-restart\"\ntimeout = \"5m\"");
    text.push_str(
        "[[action]]\nname = \"fetch\"\ndownload = { hosts = [\"files.example\"] }\n\
         run = [\"/usr/bin/simulated\", \"{{args}}\", \"{{download}}\"]\nargs = \"[a-z0-9-]+\"\ntimeout = \"3m\"\n",
    );
    text
}
