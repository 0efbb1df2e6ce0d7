//! The units of gatewire as systemd reads them: each file and its drop-ins, where they lie. No question to systemd is
//! needed for that, and no D-Bus.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::regular;

/// Where units lie, the first that counts before the others (`systemd.unit(5)`).
const DIRECTORIES: [&str; 7] = [
    "etc/systemd/system.control",
    "run/systemd/system.control",
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// What the section `[Service]`, or `[Socket]`, of a unit says.
#[derive(Debug, Clone)]
pub(super) struct Unit {
    settings: Vec<Setting>,
}

/// A line of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) file: PathBuf,
}

impl Unit {
    /// The unit of that name that is in use below `root`; `None` if there is none, or it is masked.
    pub(super) fn find(root: &Path, name: &str) -> Option<Unit> {
        let at = |name: &str| DIRECTORIES.iter().map(|directory| root.join(directory).join(name)).collect::<Vec<_>>();
        let fragment = at(name).into_iter().find(|file| fs::symlink_metadata(file).is_ok())?;
        let text = read(&fragment).filter(|text| !text.trim().is_empty())?;
        let mut unit = Unit { settings: settings(&text, &fragment) };
        let kind = name.rsplit('.').next().unwrap_or_default();
        // Of two drop-ins with one name the first counts; one that is empty or a link to /dev/null takes the others away.
        let mut drop_ins: BTreeMap<OsString, PathBuf> = BTreeMap::new();
        for directory in [at(&format!("{name}.d")), at(&format!("{kind}.d"))].concat() {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.extension().is_some_and(|extension| extension == "conf") {
                    drop_ins.entry(entry.file_name()).or_insert(path);
                }
            }
        }
        for file in drop_ins.values() {
            unit.settings.extend(read(file).map(|text| settings(&text, file)).unwrap_or_default());
        }
        Some(unit)
    }

    /// The last line with this name, which is the one that counts where there can be only one.
    pub(super) fn last(&self, name: &str) -> Option<&Setting> {
        self.settings.iter().rfind(|setting| setting.name == name).filter(|setting| !setting.value.is_empty())
    }

    /// All of a list: an empty value takes away those before it.
    pub(super) fn all(&self, name: &str) -> Vec<&Setting> {
        let mut all = Vec::new();
        for setting in self.settings.iter().filter(|setting| setting.name == name) {
            match setting.value.is_empty() {
                true => all.clear(),
                false => all.push(setting),
            }
        }
        all
    }

    /// With the lines of one more drop-in.
    pub(super) fn and(mut self, lines: &[String]) -> Unit {
        let text = format!("[Service]\n{}\n", lines.join("\n"));
        self.settings.extend(settings(&text, Path::new("/drop-in")));
        self
    }
}

fn read(file: &Path) -> Option<String> {
    let bytes = regular::read(file, MAX_FILE).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The lines of the section that counts: one that ends in a backslash goes on in the next that isn't a comment.
fn settings(text: &str, file: &Path) -> Vec<Setting> {
    let (mut settings, mut is_meant, mut begun) = (Vec::new(), false, String::new());
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.starts_with(['#', ';']) || (trimmed.is_empty() && begun.is_empty()) {
            continue;
        }
        if let Some(part) = line.strip_suffix('\\') {
            begun.push_str(part);
            begun.push(' ');
            continue;
        }
        let whole = std::mem::take(&mut begun) + line;
        let whole = whole.trim();
        if whole.starts_with('[') {
            is_meant = whole == "[Service]" || whole == "[Socket]";
        } else if let Some((name, value)) = whole.split_once('=').filter(|_| is_meant) {
            let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
            settings.push(Setting { name, value, file: file.to_owned() });
        }
    }
    settings
}

/// The words of a value; quotes hold blanks, a backslash the character behind it.
pub(super) fn words(value: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut is_open) = (Vec::new(), String::new(), None, false);
    let mut characters = value.chars();
    while let Some(c) = characters.next() {
        match (c, quote) {
            ('\\', _) => word.extend(characters.next()),
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => (quote, is_open) = (Some(c), true),
            (c, None) if c.is_whitespace() => {
                if !word.is_empty() || is_open {
                    words.push(std::mem::take(&mut word));
                }
                is_open = false;
            }
            (c, _) => word.push(c),
        }
    }
    if !word.is_empty() || is_open {
        words.push(word);
    }
    words
}

/// A path as a word of a unit file.
pub(super) fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy().replace('%', "%%");
    let is_plain = |c: char| !c.is_whitespace() && !"\"'\\;#:".contains(c);
    match text.chars().all(is_plain) {
        true => text,
        false => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace(':', "\\:")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(root: &Path) -> Option<Unit> {
        Unit::find(root, "gatewire.service")
    }

    #[test]
    fn the_unit_is_read_as_systemd_reads_it() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert!(find(root.path()).is_none());
        write(
            "lib/systemd/system/gatewire.service",
            "[Unit]\nUser=nobody\n[Service]\nUser=gatewire\n# User=root\nReadWritePaths=/a \\\n# between\n  \"/b c\"\nPrivateTmp=yes\n",
        );
        let unit = find(root.path()).unwrap();
        assert_eq!(unit.last("User").unwrap().value, "gatewire");
        assert_eq!(words(&unit.last("ReadWritePaths").unwrap().value), ["/a", "/b c"]);
        write("run/systemd/system/gatewire.service.d/10.conf", "[Service]\nReadWritePaths=/d\nPrivateTmp=no\n");
        write("lib/systemd/system/service.d/20.conf", "[Service]\nPrivateTmp=yes\n");
        let unit = find(root.path()).unwrap();
        assert_eq!((unit.last("PrivateTmp").unwrap().value.as_str(), unit.all("ReadWritePaths").len()), ("yes", 2));
        write("etc/systemd/system/gatewire.service.d/20.conf", "");
        write("etc/systemd/system/gatewire.service.d/10.conf", "[Service]\nReadWritePaths=\n");
        let unit = find(root.path()).unwrap();
        assert_eq!((unit.last("PrivateTmp").unwrap().value.as_str(), unit.all("ReadWritePaths").len()), ("yes", 0));
        write("etc/systemd/system/gatewire.service", "[Service]\nUser=own\n");
        assert_eq!(find(root.path()).unwrap().last("User").unwrap().value, "own");
        fs::remove_file(root.path().join("etc/systemd/system/gatewire.service")).unwrap();
        std::os::unix::fs::symlink("/dev/null", root.path().join("etc/systemd/system/gatewire.service")).unwrap();
        assert!(find(root.path()).is_none(), "masked");
    }

    #[test]
    fn a_path_is_one_word_of_a_unit() {
        for path in ["/a/b", "/a b", "/a\"b", "/a\\b", "/it's"] {
            assert_eq!(words(&quoted(Path::new(path))), [path]);
        }
    }
}
