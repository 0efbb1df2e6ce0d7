//! How the sources hang together: no file, and no folder, imports another in a circle.
//!
//! What is read are `use` declarations and paths that begin with `crate::`, `super::` or `self::`, as text; tests are left out.
//! A file may name what the module defines that it is a part of: types whose `impl` blocks are spread over the files of a folder.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A module's path below the crate: `["store", "backlog"]`.
type Module = Vec<String>;

/// One source file and what it names.
struct Source {
    /// The paths that it names, from the crate's root, as far as they could be told.
    named: Vec<Module>,
    /// What it hands on under a name of its own: the name, and where it is from.
    handed_on: BTreeMap<String, Module>,
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let below = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    entries.flat_map(below).filter(|path| path.extension().is_some_and(|end| end == "rs")).collect()
}

fn is_test(path: &Path) -> bool {
    path.iter().any(|part| {
        ["tests", "tests.rs", "fuzzing", "fuzzing.rs", "simulation", "simulated", "simulated.rs"]
            .iter()
            .any(|name| part == *name)
    })
}

fn module(path: &Path) -> Module {
    let mut parts: Module = path.with_extension("").iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if parts.last().is_some_and(|last| last == "mod" || last == "lib" || last == "main") {
        parts.pop();
    }
    parts
}

/// Without comments, strings' contents and what is only there for tests.
fn code(text: &str) -> String {
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    let text = lines.collect::<Vec<_>>().join("\n");
    let end = ["#[cfg(test)]\nmod tests {", "#[cfg(any(test, fuzzing))]\npub(crate) mod fuzzing {"];
    let end = end.iter().filter_map(|mark| text.find(mark)).min().unwrap_or(text.len());
    text[..end].to_owned()
}

/// The paths of a tree such as `a::{b, c::d as e}`, each with the name that it gets.
fn leaves(tree: &str, before: &[String], found: &mut Vec<(Module, String)>) {
    let tree = tree.trim();
    if let Some((path, inner)) = tree.split_once('{') {
        let inner = inner.trim_end().strip_suffix('}').unwrap_or(inner);
        let path = [before, &segments(path)].concat();
        let (mut depth, mut start) = (0, 0);
        for (at, character) in inner.char_indices() {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    leaves(&inner[start..at], &path, found);
                    start = at + 1;
                }
                _ => {}
            }
        }
        leaves(&inner[start..], &path, found);
    } else if !tree.is_empty() {
        let (path, name) = tree.split_once(" as ").unwrap_or((tree, ""));
        let mut path = [before, &segments(path)].concat();
        if path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        let name = if name.is_empty() { path.last().cloned().unwrap_or_default() } else { name.trim().to_owned() };
        found.push((path, name));
    }
}

fn segments(path: &str) -> Module {
    path.split("::").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// `path` from the crate's root, as `at` means it; `None` if it leads out of the crate.
fn absolute(path: &[String], at: &Module, modules: &BTreeSet<Module>) -> Option<Module> {
    let (first, rest) = path.split_first()?;
    match first.as_str() {
        "crate" => Some(rest.to_vec()),
        "self" => absolute(rest, at, modules).or_else(|| Some([at.as_slice(), rest].concat())),
        "super" => {
            let parent = at[..at.len().checked_sub(1)?].to_vec();
            match rest.first().is_some_and(|next| next == "super") {
                true => absolute(rest, &parent, modules),
                false => Some([parent.as_slice(), rest].concat()),
            }
        }
        _ => {
            let child = [at.as_slice(), std::slice::from_ref(first)].concat();
            modules.contains(&child).then(|| [at.as_slice(), path].concat())
        }
    }
}

/// Paths within expressions and types: what begins with one of these words.
fn inline(code: &str) -> Vec<Module> {
    let mut found = Vec::new();
    for start in ["crate::", "super::"] {
        for (at, _) in code.match_indices(start) {
            if code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == ':') {
                continue;
            }
            let end =
                code[at..].find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(code.len() - at);
            found.push(segments(&code[at..at + end]));
        }
    }
    found
}

fn read(path: &Path, at: &Module, modules: &BTreeSet<Module>) -> Source {
    let code = code(&fs::read_to_string(path).unwrap());
    let (mut named, mut handed_on) = (Vec::new(), BTreeMap::new());
    let mut rest = String::new();
    for statement in code.split_inclusive(';') {
        let declaration = statement.rfind("use ").filter(|at| {
            let line = statement[..*at].rsplit('\n').next().unwrap_or_default().trim();
            line.is_empty() || line.starts_with("pub")
        });
        let Some(start) = declaration else {
            rest.push_str(statement);
            continue;
        };
        let is_handed_on = statement[..start].trim_end().ends_with([')', 'b']);
        let mut found = Vec::new();
        leaves(statement[start + 4..].trim_end_matches(';'), &[], &mut found);
        for (path, name) in found {
            let Some(path) = absolute(&path, at, modules) else { continue };
            if is_handed_on {
                handed_on.insert(name, path.clone());
            }
            named.push(path);
        }
    }
    named.extend(inline(&rest).iter().filter_map(|path| absolute(path, at, modules)));
    Source { named, handed_on }
}

/// The module whose file defines what `path` names, through what others hand on.
fn home(path: &Module, sources: &BTreeMap<Module, Source>) -> Module {
    let mut path = path.clone();
    for _ in 0..8 {
        let longest = (0..=path.len()).rev().find(|end| sources.contains_key(&path[..*end])).unwrap_or(0);
        let source = path[..longest].to_vec();
        let Some(name) = path.get(longest) else { return source };
        let Some(target) = sources.get(&source).and_then(|source| source.handed_on.get(name)) else { return source };
        path = target.iter().chain(&path[longest + 1..]).cloned().collect();
    }
    path
}

fn sources() -> BTreeMap<Module, Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let paths: Vec<PathBuf> =
        files(&root).into_iter().filter(|path| !is_test(path.strip_prefix(&root).unwrap())).collect();
    let modules = paths.iter().map(|path| (module(path.strip_prefix(&root).unwrap()), path));
    let modules: BTreeMap<Module, &PathBuf> = modules.filter(|(module, _)| !module.is_empty()).collect();
    let names: BTreeSet<Module> = modules.keys().cloned().collect();
    modules.iter().map(|(module, path)| (module.clone(), read(path, module, &names))).collect()
}

type Graph = BTreeMap<String, BTreeSet<String>>;

/// What each file imports, `unit` being what counts as one.
fn imports(sources: &BTreeMap<Module, Source>, unit: impl Fn(&Module) -> String) -> Graph {
    let mut graph = Graph::new();
    for (at, source) in sources {
        for path in &source.named {
            let to = home(path, sources);
            let is_own = at.starts_with(&to);
            if !to.is_empty() && !is_own && unit(at) != unit(&to) {
                graph.entry(unit(at)).or_default().insert(unit(&to));
            }
        }
    }
    graph
}

fn reaches(graph: &Graph, from: &str) -> BTreeSet<String> {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from.to_owned()]);
    while let Some(name) = next.pop() {
        for to in graph.get(&name).into_iter().flatten() {
            if seen.insert(to.clone()) {
                next.push(to.clone());
            }
        }
    }
    seen
}

/// Each circle: who is in it, and which imports tie it.
fn circles(graph: &Graph) -> Vec<String> {
    let reached: BTreeMap<&String, BTreeSet<String>> = graph.keys().map(|name| (name, reaches(graph, name))).collect();
    let mut circles = BTreeSet::new();
    for (name, all) in &reached {
        if !all.contains(*name) {
            continue;
        }
        let members = all.iter().filter(|other| reached.get(other).is_some_and(|back| back.contains(*name)));
        let members: BTreeSet<&String> = members.collect();
        let ties = members.iter().flat_map(|member| {
            graph[*member].iter().filter(|to| members.contains(to)).map(move |to| format!("  {member} -> {to}"))
        });
        circles.insert(ties.collect::<Vec<_>>().join("\n"));
    }
    circles.into_iter().collect()
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let sources = sources();
    let graph = imports(&sources, |module| module.join("/"));
    assert!(graph["daemon/served"].contains("store"), "the imports were not found");
    assert!(graph["link/connect"].contains("net/connector"), "what is handed on wasn't followed");
    let circles = circles(&graph);
    assert!(circles.is_empty(), "{} circles:\n{}", circles.len(), circles.join("\n\n"));
}

#[test]
fn no_folders_import_each_other_in_a_circle() {
    let sources = sources();
    let circles = circles(&imports(&sources, |module| module[0].clone()));
    assert!(circles.is_empty(), "{} circles:\n{}", circles.len(), circles.join("\n\n"));
}

#[test]
fn the_protocol_and_the_way_to_a_host_know_nothing_of_the_daemon() {
    let graph = imports(&sources(), |module| module[0].clone());
    let of_mqtt: BTreeSet<&str> = graph["mqtt"].iter().map(String::as_str).collect();
    assert!(of_mqtt.is_subset(&["limits", "message", "printable", "secret"].into()), "src/mqtt imports {of_mqtt:?}");
    let of_net: BTreeSet<&str> = graph["net"].iter().map(String::as_str).collect();
    let daemon = [
        "link", "outbox", "inbox", "forward", "ingest", "store", "schedule", "daemon", "cli", "bridge", "client",
        "status",
    ];
    assert!(of_net.is_disjoint(&daemon.into()), "src/net imports {of_net:?}");
}

/// Each production file below `src/`, with its code.
fn production() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let paths = files(&root).into_iter().map(|path| path.strip_prefix(&root).unwrap().to_owned());
    let of_production = paths.filter(|path| !is_test(path));
    of_production.map(|path| (path.clone(), code(&fs::read_to_string(root.join(path)).unwrap()))).collect()
}

/// A simulation moves the clocks, and a part that asks the machine's own wouldn't go by them.
#[test]
fn only_one_folder_asks_the_machine_what_time_it_is() {
    let asks =
        ["Instant::now", "SystemTime::now", "Timestamp::now", "Zoned::now", "clock_gettime", ".elapsed()", "TimerFd"];
    // tokio's own are the clock that everything goes by.
    let tokios = [" tokio::time::Instant;", "tokio::time::{Instant,", "tokio::time::Instant::now"];
    let (mut found, mut looked_at) = (Vec::new(), 0);
    for (path, code) in production() {
        let is_the_folder = path.starts_with("time");
        let has_tokios = tokios.iter().any(|name| code.contains(name));
        looked_at += 1;
        let asked = asks.iter().filter(|name| code.contains(**name));
        let asked = asked.filter(|name| !(has_tokios && ["Instant::now", ".elapsed()"].contains(name)));
        found.extend(asked.filter(|_| !is_the_folder).map(|name| format!("{}: {name}", path.display())));
    }
    assert!(looked_at > 200, "the sources were not found");
    assert!(found.is_empty(), "take `crate::time` instead:\n{}", found.join("\n"));
}

/// Which of two events comes first is decided here and not by chance: a run can be repeated, and nothing is drawn for each message.
#[test]
fn every_select_has_an_order() {
    let (mut random, mut looked_at) = (Vec::new(), 0);
    for (path, code) in production() {
        for (at, _) in code.match_indices("select! {") {
            looked_at += 1;
            if !code[at + "select! {".len()..].trim_start().starts_with("biased;") {
                random.push(format!("{}:{}", path.display(), code[..at].matches('\n').count() + 1));
            }
        }
    }
    assert!(looked_at > 20, "no select! was found");
    assert!(random.is_empty(), "without `biased;`, and a thought about what may starve:\n{}", random.join("\n"));
}

/// tokio's `readable` and `writable` are ready without end while there is something: a loop around them keeps the thread from every
/// other task. `poll_read_ready` and `poll_write_ready` give it up from time to time.
#[test]
fn who_waits_for_a_descriptor_of_its_own_leaves_turns_to_others() {
    let all = production();
    let of_descriptors: Vec<_> = all.iter().filter(|(_, code)| code.contains("AsyncFd<")).collect();
    assert!(of_descriptors.len() >= 6, "the sources were not found");
    let greedy = of_descriptors.iter().filter(|(_, code)| {
        [".readable().await", ".writable().await", ".async_io("].iter().any(|wait| code.contains(wait))
    });
    let greedy: Vec<String> = greedy.map(|(path, _)| path.display().to_string()).collect();
    assert!(greedy.is_empty(), "take `poll_read_ready` instead:\n{}", greedy.join("\n"));
}
