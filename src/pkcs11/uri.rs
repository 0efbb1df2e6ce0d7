//! Which key is meant, and how to get to it: a PKCS#11 URI (RFC 7512).

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::spelling::nearest;

/// What a URI begins with (RFC 7512, 2.3); a scheme is in letters of either size (RFC 3986, 3.1).
const SCHEME: &str = "pkcs11:";

/// More can't be meant: labels and serial numbers have at most 32 characters.
const MAX_LEN: usize = 4096;

/// The attributes that say which key is meant (RFC 7512, 2.3), with those that we know only to refuse.
const PATH: [&str; 13] = [
    "id",
    "library-description",
    "library-manufacturer",
    "library-version",
    "manufacturer",
    "model",
    "object",
    "serial",
    "slot-description",
    "slot-id",
    "slot-manufacturer",
    "token",
    "type",
];
const QUERY: [&str; 4] = ["module-name", "module-path", "pin-source", "pin-value"];

/// Whether `text` is meant to be a URI of a key in a token.
pub(crate) fn is_uri(text: &str) -> bool {
    text.get(..SCHEME.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME))
}

/// Which key is meant, and how to get to it. What isn't given (`None`) is as it may be. It holds no secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Uri {
    /// As it is written.
    text: String,
    /// The shared library of the token's maker.
    pub(crate) module: PathBuf,
    /// The file that holds the PIN; `None`: nothing is logged in to.
    pub(crate) pin_file: Option<PathBuf>,
    pub(crate) library: Library,
    pub(crate) slot: Slot,
    pub(crate) token: Token,
    pub(crate) key: Key,
}

/// What the module must say of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Library {
    pub(crate) manufacturer: Option<String>,
    pub(crate) description: Option<String>,
    /// Major and minor.
    pub(crate) version: Option<(u8, u8)>,
}

/// In which slot the token must be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Slot {
    pub(crate) description: Option<String>,
    pub(crate) manufacturer: Option<String>,
    pub(crate) id: Option<u64>,
}

/// What the token must say of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Token {
    pub(crate) label: Option<String>,
    pub(crate) manufacturer: Option<String>,
    pub(crate) serial: Option<String>,
    pub(crate) model: Option<String>,
}

/// Which of the token's private keys it must be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Key {
    pub(crate) label: Option<String>,
    pub(crate) id: Option<Vec<u8>>,
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Token {
    /// As `token "gw", serial "1234"`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = [("", &self.label), ("serial ", &self.serial), ("model ", &self.model)];
        let manufacturer = [("manufacturer ", &self.manufacturer)];
        let mut separator = "";
        for (name, value) in named.into_iter().chain(manufacturer) {
            if let Some(value) = value {
                write!(f, "{separator}{name}{value:?}")?;
                separator = ", ";
            }
        }
        Ok(())
    }
}

impl fmt::Display for Key {
    /// As `object "gatewire", id 01ab`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(label) = &self.label {
            write!(f, "object {label:?}")?;
        }
        if let Some(id) = &self.id {
            write!(f, "{}id {}", if self.label.is_some() { ", " } else { "" }, hex(id))?;
        }
        Ok(())
    }
}

/// As `pkcs11-tool --id` takes it.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to memory can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Uri {
    /// Reads a URI. `file` makes a path of the module's and of the PIN's file, as for any file in the configuration.
    ///
    /// # Errors
    /// What is wrong with it, in words that follow "`tls.key_file`: ". A PIN isn't repeated.
    pub(crate) fn parse(text: &str, file: impl Fn(&str) -> Result<PathBuf, String>) -> Result<Uri, String> {
        let rest = text.get(SCHEME.len()..).filter(|_| is_uri(text)).ok_or("must begin with `pkcs11:`")?;
        if text.len() > MAX_LEN {
            return Err(format!("is {} bytes long, the URI of a key may have at most {MAX_LEN}", text.len()));
        }
        let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
        if query.is_none() && QUERY.iter().any(|name| path.contains(&format!("{name}="))) {
            return Err("lacks the `?` in front of `module-path` and `pin-source`, as in \
                        `pkcs11:object=gatewire?module-path=/usr/lib/MODULE.so`"
                .to_owned());
        }
        let mut uri = Uri { text: text.to_owned(), ..Uri::default() };
        for (name, value) in attributes(path, ';', &PATH, &QUERY)? {
            uri.take_path(name, value)?;
        }
        for (name, value) in attributes(query.unwrap_or_default(), '&', &QUERY, &PATH)? {
            uri.take_query(name, value, &file)?;
        }
        if uri.module.as_os_str().is_empty() {
            return Err(
                "names no module: add `?module-path=` and the full path of the PKCS#11 library of the token's \
                        maker, as in `?module-path=/usr/lib/softhsm/libsofthsm2.so`"
                    .to_owned(),
            );
        }
        Ok(uri)
    }

    /// The files that it names: the module, and that of the PIN.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        [Some(self.module.as_path()), self.pin_file.as_deref()].into_iter().flatten()
    }

    fn take_path(&mut self, name: &str, value: &str) -> Result<(), String> {
        let place = match name {
            "id" => {
                self.key.id = Some(decoded(name, value, PATH_CHARS)?).filter(|id| !id.is_empty());
                return Ok(());
            }
            "type" => return is_private(value),
            "slot-id" => {
                let number = text_of(name, value, PATH_CHARS)?;
                let number = Some(&number).filter(|number| number.bytes().all(|digit| digit.is_ascii_digit()));
                let number = number.and_then(|number| number.parse().ok());
                self.slot.id = Some(number.ok_or("`slot-id` must be a number, as in `slot-id=0`")?);
                return Ok(());
            }
            "library-version" => {
                self.library.version = Some(version(&text_of(name, value, PATH_CHARS)?)?);
                return Ok(());
            }
            "object" => &mut self.key.label,
            "token" => &mut self.token.label,
            "manufacturer" => &mut self.token.manufacturer,
            "serial" => &mut self.token.serial,
            "model" => &mut self.token.model,
            "library-manufacturer" => &mut self.library.manufacturer,
            "library-description" => &mut self.library.description,
            "slot-manufacturer" => &mut self.slot.manufacturer,
            _ => &mut self.slot.description,
        };
        *place = Some(text_of(name, value, PATH_CHARS)?);
        Ok(())
    }

    fn take_query(
        &mut self,
        name: &str,
        value: &str,
        file: impl Fn(&str) -> Result<PathBuf, String>,
    ) -> Result<(), String> {
        let path = |path: &str| file(path).map_err(|text| format!("`{name}`: {text}"));
        match name {
            "module-path" => self.module = path(&text_of(name, value, QUERY_CHARS)?)?,
            "pin-source" => {
                let source = text_of(name, value, QUERY_CHARS)?;
                self.pin_file = Some(path(pin_file(&source)?)?);
            }
            "pin-value" => {
                return Err(
                    "must not hold a PIN, as others may read a configuration. Write the PIN alone into a file that \
                            only gatewire may read (0600), and name that instead of `pin-value`, as in \
                            `pin-source=file:/etc/gatewire/pin`"
                        .to_owned(),
                );
            }
            // p11-kit's names of modules, which its own configuration explains.
            _ => {
                return Err(
                    "`module-name` isn't supported: write the full path of the library as `module-path` (`p11-kit \
                            list-modules` shows where it is)"
                        .to_owned(),
                );
            }
        }
        Ok(())
    }
}

/// Characters beside letters, digits and `-._~` that may stand for themselves (RFC 7512, 2.3).
const PATH_CHARS: &str = ":[]@!$'()*+,=&";
const QUERY_CHARS: &str = ":[]@!$'()*+,=/?|";

/// The attributes of one part, with their values as they are written; `others` are those of the other part.
fn attributes<'a>(
    part: &'a str,
    separator: char,
    known: &[&'static str],
    others: &[&str],
) -> Result<Vec<(&'static str, &'a str)>, String> {
    let mut found: Vec<(&'static str, &str)> = Vec::new();
    for piece in part.split(separator).filter(|_| !part.is_empty()) {
        let (name, value) = piece.split_once('=').ok_or_else(|| {
            format!(
                "has a part without `=`: its attributes are written NAME=VALUE, with `{separator}` between them, and a \
                 `{separator}` within a value is written {}",
                encoded(separator)
            )
        })?;
        let Some(known) = known.iter().find(|known| **known == name) else {
            return Err(unknown(name, separator, known, others));
        };
        if found.iter().any(|(other, _)| other == known) {
            return Err(format!("has `{known}` twice"));
        }
        found.push((known, value));
    }
    Ok(found)
}

fn unknown(name: &str, separator: char, known: &[&'static str], others: &[&str]) -> String {
    if others.contains(&name) {
        return match separator {
            ';' => format!("`{name}` belongs behind the `?`"),
            _ => format!("`{name}` belongs in front of the `?`"),
        };
    }
    // What looks otherwise may be a piece of a PIN.
    let is_name = !name.is_empty() && name.bytes().all(|c| c.is_ascii_lowercase() || c == b'-');
    let known_names = || known.iter().filter(|name| !["pin-value", "module-name"].contains(name)).copied();
    let all = known_names().collect::<Vec<_>>().join(", ");
    match nearest(name, known_names()).filter(|_| is_name) {
        Some(meant) => format!("has the unknown attribute `{name}`; did you mean `{meant}`?"),
        None if is_name => format!("has the unknown attribute `{name}`; there are {all}"),
        None => format!("has an attribute that isn't known; there are {all}"),
    }
}

/// The bytes of a value, in which other characters than these are written as `%` and two hexadecimal digits.
fn decoded(name: &str, value: &str, plain: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.chars();
    while let Some(c) = rest.next() {
        match c {
            '%' => {
                let digits = rest.as_str().get(..2).filter(|digits| digits.bytes().all(|c| c.is_ascii_hexdigit()));
                let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                bytes.push(byte.ok_or_else(|| {
                    format!("`{name}` has a `%` without two hexadecimal digits behind it; a `%` itself is written %25")
                })?);
                rest.nth(1);
            }
            c if c.is_ascii_alphanumeric() || "-._~".contains(c) || plain.contains(c) => bytes.push(c as u8),
            c => {
                return Err(format!(
                    "`{name}` has {} in it, which is written {} in a URI",
                    if c == ' ' { "a blank".to_owned() } else { format!("`{}`", c.escape_default()) },
                    encoded(c)
                ));
            }
        }
    }
    Ok(bytes)
}

fn encoded(c: char) -> String {
    c.encode_utf8(&mut [0; 4]).bytes().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "%{byte:02X}");
        text
    })
}

fn text_of(name: &str, value: &str, plain: &str) -> Result<String, String> {
    match String::from_utf8(decoded(name, value, plain)?) {
        Ok(text) if text.contains(char::is_control) => Err(format!("`{name}` has a control character in it")),
        Ok(text) if text.is_empty() => Err(format!("`{name}` is empty; leave it out")),
        Ok(text) => Ok(text),
        Err(_) => Err(format!("`{name}` isn't UTF-8")),
    }
}

/// `type`: only a private key can be meant.
fn is_private(value: &str) -> Result<(), String> {
    match value {
        "private" => Ok(()),
        "public" | "cert" | "secret-key" | "data" => {
            Err(format!("names another kind of object (`type={value}`) than a private key; write `type=private`"))
        }
        _ => Err("`type` is none of private, public, cert, secret-key, data; write `type=private`".to_owned()),
    }
}

/// `M` or `M.N`.
fn version(text: &str) -> Result<(u8, u8), String> {
    let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
    let number = |part: &str| {
        let is_number = !part.is_empty() && part.bytes().all(|digit| digit.is_ascii_digit());
        part.parse::<u8>().ok().filter(|_| is_number)
    };
    number(major).zip(number(minor)).ok_or_else(|| "`library-version` must be like `2.6`".to_owned())
}

/// The path in a `pin-source`: `file:/PATH`, `file:///PATH`, or the path alone.
fn pin_file(source: &str) -> Result<&str, String> {
    let Some((scheme, rest)) = source.split_once(':').filter(|(scheme, _)| !scheme.contains(['/', '$'])) else {
        return match source.starts_with('|') {
            true => Err("`pin-source` names a program, which isn't supported: write the PIN into a file that only \
                         gatewire may read (0600), as in `pin-source=file:/etc/gatewire/pin`"
                .to_owned()),
            false => Ok(source),
        };
    };
    if !scheme.eq_ignore_ascii_case("file") {
        return Err("`pin-source` must name a file, as in `pin-source=file:/etc/gatewire/pin`".to_owned());
    }
    Ok(rest.strip_prefix("//localhost").or_else(|| rest.strip_prefix("//")).unwrap_or(rest))
}

#[cfg(test)]
mod tests;
