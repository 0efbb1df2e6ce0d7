//! `gatewire policy`: the policy that the certificate needs, and whether an existing one does.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;

use super::output::{self, Failure, StyledText, tell};
use super::{Exit, inputs};
use crate::config::{Config, Environment};
use crate::net::credentials;
use crate::policy::context::{self, Certificate, Context};
use crate::policy::document::{self, Document, DocumentError};
use crate::policy::least;
use crate::policy::needs::{self, IngestRetain};
use crate::policy::report::Report;
use crate::policy::scope::{self, Known, Scope};
use crate::policy::{certificate, claim};
use crate::provisioning::wire;

/// What each thing of a fleet is called in the policy that its provisioning template attaches: what stands for the name while the policy is
/// made, as long as that, and what IoT Core fills the name in for.
const OF_ANY_THING: &str = "whatever-thing-of-the-fleet-it-is";
const THING_VARIABLE: &str = "${iot:Connection.Thing.ThingName}";

/// The largest policy file that is read, in bytes: many times what IoT Core takes.
const MAX_FILE: u64 = 1 << 20;

pub(super) const LONG_ABOUT: &str = "\
Print the minimal IoT policy that this configuration needs, as JSON. With --against,
compare an existing policy: what is needed and denied, with the statement to add; what only
IoT Core can decide (a Condition, a variable such as a thing's attribute); and what the
policy allows without need. If several policies are attached to the certificate, give them
all: IoT Core evaluates them together.

A program on an [[ingest]] socket may publish retained messages, which the configuration
doesn't show; --ingest-retain counts iot:RetainPublish on its topics as needed.";

pub(super) const AFTER_HELP: &str = "\
Examples:
  gatewire policy --account 123456789012 > policy.json
  aws iot create-policy --policy-name gateway --policy-document file://policy.json
  aws iot get-policy --policy-name gateway --query policyDocument --output text |
    gatewire policy --against -

Exit codes: 0 printed, or nothing is denied (what is undecided or wider than needed is only
reported); 1 the policy denies something that is needed; 64 usage; 78 configuration or policy
unusable.";

/// The command line of `gatewire policy`.
#[derive(Debug, Args)]
pub(super) struct PolicyArguments {
    /// The region, such as eu-west-1 [default: that of connection.endpoint]
    #[arg(long, value_parser = scope::region)]
    region: Option<String>,

    /// The account, 12 digits; with --against, that of the policy if left out
    #[arg(long, value_parser = scope::account, required_unless_present = "against")]
    account: Option<String>,

    /// Compare this policy (`-`: standard input) instead of printing one; may be given several times
    #[arg(long, value_name = "FILE")]
    against: Vec<PathBuf>,

    /// With --against: the thing that the certificate is attached to [default: `thing` of the configuration]
    #[arg(long, value_name = "NAME", requires = "against", value_parser = context::thing)]
    thing: Option<String>,

    /// Print the policy that the certificate of the claim needs
    #[arg(long, conflicts_with_all = ["against", "ingest_retain"])]
    claim: bool,

    /// Assume that programs on the ingest sockets publish retained messages
    #[arg(long)]
    ingest_retain: bool,
}

/// The answer goes to standard output, all else to standard error.
#[inline(never)]
pub(super) fn run(path: &Path, arguments: PolicyArguments) -> Exit {
    let answered = answer(path, arguments)
        .and_then(|(text, exit)| output::answer(&StyledText::of_lines(text.lines())).map(|()| exit));
    answered.unwrap_or_else(Failure::end)
}

fn answer(path: &Path, arguments: PolicyArguments) -> Result<(String, Exit), Failure> {
    let environment = match arguments.against.is_empty() {
        true => Environment { thing: |_| Some(OF_ANY_THING.to_owned()), ..Environment::of_service() },
        false => Environment { thing: |state| Some(of_this_thing(state)), ..Environment::of_service() },
    };
    let (config, warnings) = inputs::configuration_in(path, &environment)?;
    warnings.iter().for_each(|warning| tell(warning));
    let region = region(&config, arguments.region);
    let provisioning = config.provisioning.as_ref();
    if arguments.claim && provisioning.is_none() {
        let text = "there is no [provisioning] in the configuration, and without it no claim";
        return Err(Failure::new(text, Exit::Config));
    }
    let ingest_retain = if arguments.ingest_retain { IngestRetain::Used } else { IngestRetain::Unused };
    let needs = needs::of(&config, ingest_retain);
    match (arguments.against.as_slice(), region, arguments.account) {
        (files @ [_, ..], region, account) => {
            let document = documents(files)?;
            let context = Context::of(&config, arguments.thing, certificate(&config));
            let resources = document.statements.iter().flat_map(|statement| &statement.resources);
            let (scope, notes) = Known { region, account }.completed(resources.map(String::as_str));
            let report = Report::new(&document, needs, scope, &context, notes);
            Ok((report.to_string(), if report.is_allowed() { Exit::Done } else { Exit::No }))
        }
        ([], Some(region), Some(account)) if arguments.claim => {
            let scope = Scope::new(&region, &account);
            let policies = provisioning.map(|provisioning| {
                format!("{:#}\n", claim::policy(provisioning, &wire::topics(&provisioning.template), &scope))
            });
            Ok((policies.unwrap_or_default(), Exit::Done))
        }
        ([], Some(region), Some(account)) => {
            let policy = least::policy(&needs, &Scope::new(&region, &account));
            if let Some(problem) = least::too_long(&policy) {
                tell(&format!("warning: {problem}"));
            }
            Ok((format!("{policy:#}\n").replace(OF_ANY_THING, THING_VARIABLE), Exit::Done))
        }
        ([], ..) => Err(Failure::new(
            format!(
                "connection.endpoint ({}) doesn't tell the region of IoT Core: give it with --region, such as eu-west-1",
                config.connection.endpoint
            ),
            Exit::Usage,
        )),
    }
}

/// The name of this gateway's thing, if it has one and we may know it.
fn of_this_thing(state: &Path) -> String {
    (Environment::of_service().thing)(state).unwrap_or_else(|| "THING".to_owned())
}

/// That of the command line, else that of the endpoint.
fn region(config: &Config, given: Option<String>) -> Option<String> {
    let endpoint = &config.connection.endpoint;
    let found = scope::region_of_endpoint(endpoint);
    if let (Some(given), Some(found)) = (&given, &found)
        && given != found
    {
        tell(&format!("warning: --region {given} isn't that of connection.endpoint, {endpoint}"));
    }
    given.or(found)
}

/// What `cert_file` tells a policy. The comparison goes on without it.
fn certificate(config: &Config) -> Certificate {
    match credentials::certificate(&config.tls.cert_file) {
        Ok(der) => certificate::variables(&der),
        Err(problem) => Certificate::Unknown(problem.to_string()),
    }
}

/// The statements of all policies, which IoT Core looks at together.
fn documents(files: &[PathBuf]) -> Result<Document, Failure> {
    if files.iter().filter(|file| file.as_path() == Path::new("-")).count() > 1 {
        return Err(Failure::new("`--against -` can be given once: there is one standard input", Exit::Usage));
    }
    let mut statements = Vec::new();
    let mut refused: Vec<String> = Vec::new();
    for file in files {
        match document(file) {
            Ok(document) => statements.extend(document.statements.into_iter().map(|mut statement| {
                statement.document = (files.len() > 1).then(|| name(file));
                statement
            })),
            Err(failure) => refused.extend(failure.into_lines()),
        }
    }
    match refused.is_empty() {
        true => Ok(Document { statements }),
        false => Err(Failure::of_lines(refused, Exit::Config)),
    }
}

fn name(file: &Path) -> String {
    if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() }
}

/// The policy in `file`; every problem of it begins with its name.
fn document(file: &Path) -> Result<Document, Failure> {
    let is_stdin = file == Path::new("-");
    let name = name(file);
    let refused = |text: String| {
        let lines: Vec<String> = text.lines().map(|line| format!("{name}{line}")).collect();
        Failure::of_lines(lines, Exit::Config)
    };
    let text = if is_stdin { read(io::stdin().lock()) } else { File::open(file).and_then(read) };
    let text = text.map_err(|error| refused(format!(": the policy can't be read: {error}")))?;
    document::parse(&text).map_err(|error| match error {
        DocumentError::NotJson { .. } => refused(format!(":{error}")),
        DocumentError::Encoding(_) => refused(error.to_string()),
        DocumentError::NotAPolicy(problems) => {
            refused(problems.iter().map(|problem| format!(": {problem}\n")).collect())
        }
    })
}

fn read(from: impl Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    match from.take(MAX_FILE + 1).read_to_end(&mut text)? {
        len if len as u64 > MAX_FILE => Err(io::ErrorKind::FileTooLarge.into()),
        _ => Ok(text),
    }
}
