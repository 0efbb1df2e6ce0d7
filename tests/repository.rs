//! What the repository promises of itself.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use toml::Table;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> Table {
    fs::read_to_string(root().join(name)).unwrap().parse().unwrap()
}

/// Files below `directory`, but for those of other programs, which are in hidden ones.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let own = entries.filter(|path| !path.file_name().unwrap().to_string_lossy().starts_with('.'));
    own.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The versions of each package in a lock file.
fn locked(name: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in read(name)["package"].as_array().unwrap() {
        let text = |key: &str| package[key].as_str().unwrap().to_owned();
        versions.entry(text("name")).or_default().insert(text("version"));
    }
    versions
}

#[test]
fn the_fuzzers_are_built_of_what_gatewire_is_built_of() {
    let (gatewire, fuzz) = (locked("Cargo.lock"), locked("fuzz/Cargo.lock"));
    let advice = "run `cargo fetch --manifest-path fuzz/Cargo.toml`, and `cargo update --manifest-path fuzz/Cargo.toml \
                  --precise VERSION PACKAGE` where versions differ";
    for (name, versions) in &fuzz {
        if let Some(known) = gatewire.get(name) {
            assert!(versions.is_subset(known), "{name} is {versions:?} in fuzz/Cargo.lock, {known:?} here: {advice}");
        }
    }
    let manifest = read("Cargo.toml");
    for (name, dependency) in manifest["dependencies"].as_table().unwrap() {
        let name = dependency.get("package").map_or(name.as_str(), |package| package.as_str().unwrap());
        assert!(fuzz.contains_key(name), "{name} isn't in fuzz/Cargo.lock: {advice}");
    }
}

/// Where tests may sleep: between two looks at what gives no other sign, and where the time that passes is what is tested.
const MAY_SLEEP: [&str; 12] = [
    // `found_within`
    "tests/support/mod.rs",
    // Random times, of a printed seed.
    "tests/crash/",
    // So many messages a second, and no more.
    "tests/disk/quiet.rs",
    // Which moment something is ended at is what is tested.
    "tests/bridge_crash.rs",
    "tests/isolation/",
    // Until Apache listens.
    "src/download/fetch/tests/apache.rs",
    // `eventually`, for what processes do.
    "src/schedule/source/command/tests.rs",
    "src/actions/leftover/tests.rs",
    // In virtual time.
    "src/bridge/local/tests.rs",
    "src/net/race/tests.rs",
    "src/time/simulated.rs",
    // The kernel's timer has fired, and nobody looks.
    "src/time/timer.rs",
];

#[test]
fn tests_wait_for_what_they_need_and_not_for_a_while() {
    // Not a call, here.
    let sleep = ["sleep", "("].concat();
    let paths = [files(&root().join("src")), files(&root().join("tests"))].concat();
    let names = paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let mut found = Vec::new();
    for path in names {
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap();
        let text = fs::read_to_string(path).unwrap();
        let is_test = name.starts_with("tests/") || name.contains("test") || name.contains("fuzzing");
        let code =
            if is_test { text.as_str() } else { text.split_once("#[cfg(test)]\nmod tests {").unwrap_or_default().1 };
        if code.contains(&sleep) && !MAY_SLEEP.iter().any(|place| name.starts_with(place)) {
            found.push(name.to_owned());
        }
    }
    assert!(found.is_empty(), "use `eventually`, or wait for an event: {found:#?}");
}

/// One that doesn't would be found out only when somebody looks for it.
#[test]
fn each_planted_fault_can_still_be_planted() {
    let patches = files(&root().join("tests/simulation/planted"));
    assert!(patches.len() > 30, "{patches:?}");
    for patch in patches {
        let output = Command::new("git").args(["apply", "--check"]).arg(&patch).current_dir(root()).output().unwrap();
        assert!(output.status.success(), "{}: {}", patch.display(), String::from_utf8_lossy(&output.stderr));
    }
}
