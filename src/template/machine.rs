//! Texts that are about this machine: `{{serial}}`, `{{machine_id}}` and `{{hostname}}`.

use std::fs;

use super::TemplateError;
use super::pieces::{Part, parts};

/// What this machine is known by. `None`: it has none, or doesn't say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Machine {
    /// The serial number of the board, where the kernel has it from a device tree.
    pub(crate) serial: Option<String>,
    /// See machine-id(5).
    pub(crate) machine_id: Option<String>,
    pub(crate) hostname: Option<String>,
}

/// The names of its values.
pub(crate) const NAMES_OF_MACHINE: &[&str] = &["serial", "machine_id", "hostname"];

/// A text with its placeholders filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OfMachine {
    Text(String),
    /// This placeholder has no value on this machine.
    Lacks(&'static str),
}

impl Machine {
    /// This one.
    pub(crate) fn this(hostname: &str) -> Machine {
        // The second is where the first leads to; a sandbox may hide one of them.
        let serial = ["/proc/device-tree/serial-number", "/sys/firmware/devicetree/base/serial-number"];
        Machine {
            serial: serial.iter().find_map(|path| value(&fs::read(path).ok()?)),
            machine_id: fs::read("/etc/machine-id").ok().and_then(|bytes| machine_id(&bytes)),
            hostname: Some(hostname.to_owned()).filter(|name| !name.is_empty()),
        }
    }

    fn get(&self, name: &str) -> Option<(&'static str, Option<&str>)> {
        let value = match name {
            "serial" => &self.serial,
            "machine_id" => &self.machine_id,
            "hostname" => &self.hostname,
            _ => return None,
        };
        let name = NAMES_OF_MACHINE.iter().find(|known| **known == name)?;
        Some((name, value.as_deref()))
    }
}

/// What a file of the kernel holds, without the NUL or newline at its end. `None` if that is nothing, or no text.
fn value(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?.trim_end_matches('\0').trim();
    (!text.is_empty() && !text.contains(char::is_control)).then(|| text.to_owned())
}

/// `None` in an image that hasn't been booted yet (`uninitialized`, or an empty file).
fn machine_id(bytes: &[u8]) -> Option<String> {
    value(bytes).filter(|id| id.len() == 32 && id.bytes().all(|c| c.is_ascii_hexdigit()))
}

/// Fills in what `machine` says.
pub(crate) fn fill_of_machine(source: &str, machine: &Machine) -> Result<OfMachine, TemplateError> {
    let (mut filled, mut lacks) = (String::new(), None);
    for part in parts(source)? {
        match part {
            Part::Text(text) => filled.push_str(text),
            Part::Name(name) => match machine.get(name) {
                Some((_, Some(value))) => filled.push_str(value),
                Some((name, None)) => lacks = lacks.or(Some(name)),
                None => return Err(TemplateError::Unknown(name.to_owned(), NAMES_OF_MACHINE)),
            },
        }
    }
    Ok(lacks.map_or(OfMachine::Text(filled), OfMachine::Lacks))
}

/// What stands before the first placeholder, and whether there is one.
pub(crate) fn beginning(source: &str) -> Result<(String, bool), TemplateError> {
    let parts = parts(source)?;
    let texts = parts.iter().map_while(|part| if let Part::Text(text) = part { Some(*text) } else { None });
    let text: String = texts.collect();
    Ok((text, parts.iter().any(|part| matches!(part, Part::Name(_)))))
}
