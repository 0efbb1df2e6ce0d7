//! `[provisioning]`: its keys, defaults and bounds.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::Reader;
use super::claims::Use;
use super::paths::path;
use crate::config::document::{Entry, Node, Value};
use crate::config::doubt;
use crate::config::provisioning::{ClaimAfter, NoValue, Provisioning, Told};
use crate::config::section::{Complaints, Section};
use crate::config::values::{DAY, duration, string, word};
use crate::identity::KeyKind;
use crate::limits::{MAX_CLIENT_ID_BYTES, MAX_PARAMETERS};
use crate::message::check_characters;
use crate::template::{Machine, NAMES_OF_MACHINE, OfMachine, beginning, fill_of_machine};

/// Bounds of AWS IoT's provisioning templates and of RegisterThing, in characters (AWS IoT API reference).
const MAX_TEMPLATE: usize = 36;
const MAX_PARAMETER_KEY: usize = 2048;
const MAX_PARAMETER_VALUE: usize = 4096;

/// What is said of a file in `tls.key_file`.
pub(super) const KEY_BESIDE_PROVISIONING: &str = "with [provisioning] gatewire makes its key by itself; delete this line. The claim's key is named by provisioning.claim_key_file, \
     and a key in a token by a URI that begins with `pkcs11:`. For a certificate and key put here by hand, delete [provisioning]";

const DEFAULT_CLIENT_ID: &str = "claim-{{machine_id}}";

/// A text with its placeholders filled in, or the placeholder that has no value here.
type OrLacks<T> = Result<T, &'static str>;

/// `claim_client_id`
struct ClaimClientId {
    /// What stands before the first placeholder.
    begins: String,
    /// There is no placeholder.
    is_fixed: bool,
    filled: OrLacks<String>,
}

impl<'a> Reader<'a> {
    /// `None` if there is none, or anything is wrong with it, which is reported.
    pub(in crate::config) fn provisioning(&self) -> Option<Provisioning> {
        self.root.get("provisioning")?;
        let section = Section::of(self.root, "provisioning", self.report);
        let template = section.require("template", "\"gateways\"", template);
        let claim_cert_file = self.claim_file(&section, "claim_cert_file", "certificate.pem.crt");
        let claim_key_file = self.claim_file(&section, "claim_key_file", "private.pem.key");
        let client_id = self.claim_client_id(&section);
        let parameters = match section.node("parameters") {
            None => Some(Ok(BTreeMap::new())),
            Some(node) => self.parameters(node, &section.complaints("parameters")),
        };
        let keys = word(&[("ec-p256", KeyKind::EcP256), ("rsa-2048", KeyKind::Rsa2048)]);
        let key = section.get_or("key", KeyKind::EcP256, keys);
        let claim_after = word(&[("keep", ClaimAfter::Keep), ("delete", ClaimAfter::Delete)]);
        let claim_after = section.get_or("claim_after", ClaimAfter::Keep, claim_after);
        let renew_before = section.get_or("renew_before", 30 * DAY, duration(Duration::ZERO..=3660 * DAY));
        let lacks =
            |key, placeholder| NoValue { placeholder, key: section.full(key), place: section.place(key).to_string() };
        let told =
            client_id.as_ref().zip(parameters).map(|(claim, parameters)| match (claim.filled.clone(), parameters) {
                (Err(placeholder), _) => Err(lacks("claim_client_id", placeholder)),
                (_, Err(placeholder)) => Err(lacks("parameters", placeholder)),
                (Ok(client_id), Ok(parameters)) => Ok(Told { client_id, parameters }),
            });
        section.finish();
        let ClaimClientId { begins, is_fixed, .. } = client_id?;
        Some(Provisioning {
            state: self.environment.state(),
            template: template?,
            claim_cert_file: claim_cert_file?,
            claim_key_file: claim_key_file?,
            claim_client_id_begins: begins,
            is_claim_client_id_fixed: is_fixed,
            told: told?,
            key,
            claim_after,
            longest_name: None,
            client_id: (self.written_client_id.clone(), self.environment.hostname.clone()),
            renew_before: Some(renew_before).filter(|before| !before.is_zero()),
        })
    }

    fn claim_file(&self, section: &Section<'a>, key: &'static str, name: &str) -> Option<PathBuf> {
        let read = |node: &Node| path(node, self.environment);
        let file = section.require(key, &format!("\"/etc/gatewire/claim/{name}\""), read)?;
        self.note(section, key, &file);
        self.claim(section, key, &file, Use::File).then_some(file)
    }

    /// What is deleted with the claim may be for nothing else. Once all files are known that the configuration names.
    pub(in crate::config) fn check_deleted(&self, provisioning: Option<&Provisioning>) {
        let Some(provisioning) = provisioning.filter(|known| known.claim_after == ClaimAfter::Delete) else { return };
        let section = Section::of(self.root, "provisioning", self.report);
        let files =
            [("claim_cert_file", &provisioning.claim_cert_file), ("claim_key_file", &provisioning.claim_key_file)];
        let own = files.map(|(key, _)| section.full(key));
        for (key, file) in files {
            if let Some(other) = self.also_for(file, &own) {
                let text = format!(
                    "{} is {other}, too, and `claim_after = \"delete\"` deletes it once there is an identity; name a copy of the file \
                     here, or write `claim_after = \"keep\"`",
                    file.display()
                );
                section.error(key, &text);
            }
        }
    }

    fn claim_client_id(&self, section: &Section<'a>) -> Option<ClaimClientId> {
        let read = |text: &str| {
            let filled = self.of_machine(text)?;
            match &filled {
                Ok(id) if id.trim().is_empty() => return Err("must not be blank".to_owned()),
                Ok(id) if id.starts_with('$') => {
                    let meant = doubt::placeholder_of(text, NAMES_OF_MACHINE);
                    return Err(
                        meant.unwrap_or_else(|| "must not begin with `$`, which IoT Core keeps for itself".to_owned())
                    );
                }
                Ok(id) if id.len() > MAX_CLIENT_ID_BYTES => {
                    return Err(format!("is {} bytes long, IoT Core takes at most {MAX_CLIENT_ID_BYTES}", id.len()));
                }
                Ok(id) => check_characters(id).map_err(|forbidden| format!("{forbidden}{}", doubt::escaped(text)))?,
                Err(_) => {}
            }
            let (begins, has_more) = beginning(text).map_err(|error| error.to_string())?;
            Ok(ClaimClientId { begins, is_fixed: !has_more, filled })
        };
        let Some(_) = section.node("claim_client_id") else { return read(DEFAULT_CLIENT_ID).ok() };
        let text = section.get("claim_client_id", string)?;
        let found = read(text).map_err(|text| section.error("claim_client_id", &text)).ok()?;
        let doubts = [
            doubt::unseen(text).or_else(|| doubt::blanks(text)),
            doubt::placeholder_of(text, NAMES_OF_MACHINE),
            doubt_of_client_id(&found),
        ];
        doubts.iter().flatten().for_each(|doubt| section.warning("claim_client_id", doubt));
        Some(found)
    }

    /// Those of RegisterThing. Everything that is wrong is reported where it stands.
    fn parameters(&self, node: &Node, complaints: &Complaints<'_>) -> Option<OrLacks<BTreeMap<String, String>>> {
        let Value::Table(table) = &node.value else {
            let text =
                format!("must be a table, such as {{ SerialNumber = \"{{{{serial}}}}\" }}, not {}", node.value.kind());
            complaints.at(node, text);
            return None;
        };
        let parameter = |Entry { key, node, .. }: &Entry| {
            let read = || {
                let text = string(node)?;
                let filled = self.of_machine(text)?;
                let length = |text: &str| text.chars().count();
                match &filled {
                    _ if key.is_empty() => Err("the name of a parameter must not be empty".to_owned()),
                    _ if length(key) > MAX_PARAMETER_KEY => Err(format!(
                        "this name has {} characters, AWS IoT takes at most {MAX_PARAMETER_KEY}",
                        length(key)
                    )),
                    Ok(value) if length(value) > MAX_PARAMETER_VALUE => Err(format!(
                        "the value of {key} has {} characters, AWS IoT takes at most {MAX_PARAMETER_VALUE}",
                        length(value)
                    )),
                    _ => {
                        let doubt = doubt::placeholder_of(text, NAMES_OF_MACHINE);
                        doubt.iter().for_each(|doubt| complaints.warn(node, doubt));
                        Ok(filled)
                    }
                }
            };
            Some((key.clone(), read().map_err(|text| complaints.at(node, text)).ok()?))
        };
        // All of them, and only then whether one is missing: each complaint is wanted.
        let parameters: Vec<_> = table.entries.iter().map(parameter).collect();
        let parameters: Vec<_> = parameters.into_iter().collect::<Option<_>>()?;
        let json = |text: &str| serde_json::Value::from(text).to_string().len();
        let of = |(key, value): &(String, OrLacks<String>)| json(key) + value.as_deref().map_or(0, json) + 2;
        let bytes: usize = parameters.iter().map(of).sum();
        if bytes > MAX_PARAMETERS {
            let text =
                format!("together have {bytes} bytes as JSON, and a request to AWS IoT has room for {MAX_PARAMETERS}");
            complaints.at(node, text);
            return None;
        }
        Some(parameters.into_iter().map(|(key, value)| Ok((key, value?))).collect())
    }

    fn of_machine(&self, text: &str) -> Result<OrLacks<String>, String> {
        let machine: &Machine = &self.environment.machine;
        match fill_of_machine(text, machine).map_err(|error| error.to_string())? {
            OfMachine::Text(text) => Ok(Ok(text)),
            OfMachine::Lacks(name) => Ok(Err(name)),
        }
    }

    /// Refuses a key of `[connection]` or `[tls]` whose value `[provisioning]` finds by itself.
    pub(in crate::config) fn not_beside_provisioning(&self, section: &Section<'a>, key: &'static str) {
        if self.root.get("provisioning").is_none() || section.node(key).is_none() {
            return;
        }
        let text = match key {
            "thing" => {
                "with [provisioning] AWS says the name of the thing; delete this line, `{{thing}}` stands for that name"
            }
            _ => {
                "with [provisioning] gatewire gets its certificate by itself; delete this line. The claim's certificate is named by \
                 provisioning.claim_cert_file. For a certificate put here by hand, delete [provisioning]"
            }
        };
        section.error(key, text);
    }
}

fn template(node: &Node) -> Result<String, String> {
    let text = string(node)?;
    if let Some(fault) = doubt::arn(text) {
        return Err(fault);
    }
    let is_taken = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    match text.chars().count() {
        1..=MAX_TEMPLATE if text.chars().all(is_taken) => Ok(text.to_owned()),
        0 => Err("must not be empty; it is the name of a provisioning template at AWS IoT".to_owned()),
        _ => Err(format!(
            "\"{text}\" can't be the name of a provisioning template at AWS IoT: that has 1 to {MAX_TEMPLATE} letters, digits, `_` and `-`"
        )),
    }
}

fn doubt_of_client_id(client_id: &ClaimClientId) -> Option<String> {
    if client_id.is_fixed {
        return Some(format!(
            "is the same on each gateway, and IoT Core lets one at a time connect with it; write \"{DEFAULT_CLIENT_ID}\""
        ));
    }
    client_id.begins.is_empty().then(|| {
        format!(
            "begins with a placeholder, so that the claim's policy must allow any client id, and who has the claim can disconnect any \
             gateway; write a word in front, as in \"{DEFAULT_CLIENT_ID}\""
        )
    })
}
