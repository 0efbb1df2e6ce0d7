//! gatewire(1), a page for each command, and completions: all from the command line as it is parsed.

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

/// How a command's `after_help` names its parts, and the sections they become.
const PARTS: [(&str, &str); 2] = [("Examples:", "EXAMPLES"), ("Exit codes:", "EXIT STATUS")];

/// The files and what they are for.
const FILES: [(&str, &str); 6] = [
    ("/etc/gatewire/gatewire.toml", "The configuration, gatewire.toml(5)."),
    ("/etc/gatewire/conf.d/*.toml", "Read after it, in the order of their names."),
    ("/etc/gatewire/certs/", "The certificate, its key, and Amazon's root certificate."),
    ("/run/gatewire/*.sock", "The sockets; members of the group gatewire may use them."),
    ("/run/gatewire-action.sock", "Where gatewire, and nobody else, asks for actions that root runs."),
    ("/var/lib/gatewire/gatewire.db", "What waits for IoT Core."),
];

/// The pages, each with the name of its file.
pub(crate) fn pages() -> Vec<(String, Vec<u8>)> {
    let mut root = gatewire::cli::command().disable_help_subcommand(true);
    root.build();
    let commands: Vec<&Command> = [&root].into_iter().chain(root.get_subcommands()).collect();
    let names: Vec<String> = commands.iter().map(|command| name(command)).collect();
    commands.iter().map(|command| (format!("{}.1", name(command)), page(command, &names))).collect()
}

/// The completions, each with the name that its shell wants.
pub(crate) fn completions() -> Vec<(String, Vec<u8>)> {
    let generate = |(shell, file): (Shell, &str)| {
        let mut content = Vec::new();
        clap_complete::generate(shell, &mut gatewire::cli::command(), "gatewire", &mut content);
        (file.to_owned(), content)
    };
    [(Shell::Bash, "gatewire"), (Shell::Zsh, "_gatewire"), (Shell::Fish, "gatewire.fish")].map(generate).into()
}

fn name(command: &Command) -> String {
    command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned()
}

/// A page; `names` are those of all commands.
fn page(command: &Command, names: &[String]) -> Vec<u8> {
    let mut page = Vec::new();
    render(command, &mut page).unwrap_or_else(|error| panic!("writing to memory: {error}"));
    let mut rest = Roff::new();
    after_help(command, &mut rest);
    if command.has_subcommands() {
        rest.control("SH", ["FILES"]);
        for (file, text) in FILES {
            rest.control("TP", []).text([bold(file)]).text([roman(text)]);
        }
    }
    rest.control("SH", ["SEE ALSO"]);
    let others = names.iter().filter(|other| **other != name(command)).map(|other| format!("{other}(1)"));
    let others: Vec<String> = others.chain(["gatewire.toml(5)".to_owned()]).collect();
    rest.text([roman(others.join(", "))]);
    page.extend(rest.to_roff().into_bytes());
    page
}

fn render(command: &Command, page: &mut Vec<u8>) -> std::io::Result<()> {
    // As --help has it: a list of all options would say less.
    let usage = command.clone().render_usage().to_string();
    let command = command.clone().override_usage(usage.trim_start_matches("Usage: ").to_owned());
    let man = Man::new(command.clone()).source(concat!("gatewire ", env!("CARGO_PKG_VERSION"))).manual("gatewire");
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(page)?;
    }
    Ok(())
}

/// The sections that the text behind the options becomes: indented lines stay as they are, others flow.
fn after_help(command: &Command, page: &mut Roff) {
    let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    for paragraph in text.split("\n\n") {
        let Some((part, section)) = PARTS.iter().find(|(part, _)| paragraph.starts_with(part)) else {
            assert!(paragraph.is_empty(), "a part of the help that has no section: {paragraph}");
            continue;
        };
        page.control("SH", [*section]);
        let body = &paragraph[part.len()..];
        if let Some(lines) = body.strip_prefix('\n') {
            page.control("EX", []);
            for line in lines.lines() {
                page.text([roman(line.trim_start())]);
            }
            page.control("EE", []);
        } else {
            page.text([roman(body.split_whitespace().collect::<Vec<_>>().join(" "))]);
        }
    }
}
