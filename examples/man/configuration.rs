//! gatewire.toml(5), from the configuration that is shipped: a comment there is the description of the keys below it.

use clap_mangen::roff::{Inline, Roff, bold, roman};

const SHIPPED: &str = include_str!("../../config/gatewire.toml");

/// What the page begins with; the rest of it is the shipped file's.
const DESCRIPTION: &str = "gatewire(1) reads /etc/gatewire/gatewire.toml, in TOML, and shows each key below as the file that \
is shipped does.";

/// A section: `[name]`, or `[[name]]` of which there may be several.
#[derive(Debug)]
pub(crate) struct Section {
    /// With its brackets.
    pub(crate) header: String,
    /// The comment above it.
    intro: Vec<Block>,
    pub(crate) entries: Vec<Entry>,
}

/// Keys that one comment is about.
#[derive(Debug)]
pub(crate) struct Entry {
    text: Vec<Block>,
    pub(crate) keys: Vec<Key>,
}

/// A key, as it stands there.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: String,
    /// What it is set to, in TOML.
    pub(crate) value: String,
    /// The line is commented out.
    is_comment: bool,
}

/// A piece of a comment.
#[derive(Debug)]
pub(crate) enum Block {
    /// Its words may flow.
    Paragraph(String),
    /// Indented in the comment: its lines stay as they are.
    Lines(Vec<String>),
}

/// The page and its file's name.
pub(crate) fn page() -> (String, Vec<u8>) {
    let (intro, sections) = shipped();
    let mut page = Roff::new();
    let version = concat!("gatewire ", env!("CARGO_PKG_VERSION"));
    page.control("TH", ["gatewire.toml", "5", "", version, "gatewire"]);
    page.control("SH", ["NAME"]).text([roman("gatewire.toml - the configuration of gatewire")]);
    page.control("SH", ["SYNOPSIS"]).text([bold("/etc/gatewire/gatewire.toml")]);
    page.control("br", []).text([bold("/etc/gatewire/conf.d/*.toml")]);
    page.control("SH", ["DESCRIPTION"]);
    page.text(inlines(DESCRIPTION));
    blocks(&mut page, &intro, "PP");
    for section in &sections {
        page.control("SH", [section.header.as_str()]);
        blocks(&mut page, &section.intro, "PP");
        section.entries.iter().for_each(|entry| describe(&mut page, entry));
    }
    page.control("SH", ["SEE ALSO"]).text([roman("gatewire(1), gatewire-check(1), gatewire-policy(1)")]);
    ("gatewire.toml.5".to_owned(), page.render().into_bytes())
}

fn describe(page: &mut Roff, entry: &Entry) {
    for (i, key) in entry.keys.iter().enumerate() {
        page.control(if i == 0 { "TP" } else { "TQ" }, []).text([bold(&key.name)]);
    }
    blocks(page, &entry.text, "IP");
    page.control(if entry.text.is_empty() { "EX" } else { "IP" }, []);
    if !entry.text.is_empty() {
        page.control("EX", []);
    }
    for Key { name, value, is_comment } in &entry.keys {
        let sign = if *is_comment { "# " } else { "" };
        page.text([roman(format!("{sign}{name} = {value}"))]);
    }
    page.control("EE", []);
}

/// Blocks, with this macro between them.
fn blocks(page: &mut Roff, blocks: &[Block], between: &str) {
    for (i, block) in blocks.iter().enumerate() {
        if i > 0 || between == "PP" {
            page.control(between, []);
        }
        match block {
            Block::Paragraph(text) => {
                page.text(inlines(text));
            }
            Block::Lines(lines) => {
                page.control("EX", []);
                for line in lines {
                    page.text([roman(line)]);
                }
                page.control("EE", []);
            }
        }
    }
}

/// Text in which what stands in backticks is bold.
fn inlines(text: &str) -> Vec<Inline> {
    let parts = text.split('`').enumerate();
    parts.map(|(i, part)| if i % 2 == 0 { roman(part) } else { bold(part) }).collect()
}

/// What the shipped file begins with, and its sections.
pub(crate) fn shipped() -> (Vec<Block>, Vec<Section>) {
    let (mut intro, mut sections): (Vec<Block>, Vec<Section>) = (Vec::new(), Vec::new());
    let mut comment: Vec<&str> = Vec::new();
    // Whether a key on this line has the comment of the one before.
    let mut goes_on = false;
    // The first line is the file's title.
    for line in SHIPPED.lines().skip(1) {
        // A section may be commented out as a whole.
        let commented = line.strip_prefix("# ").filter(|rest| rest.starts_with('[') && rest.ends_with(']'));
        if let Some(header) = commented.or(Some(line).filter(|line| line.starts_with('['))) {
            let header = header.to_owned();
            sections.push(Section { header, intro: parse(&std::mem::take(&mut comment)), entries: Vec::new() });
            goes_on = false;
        } else if let Some((key, section)) = key(line).zip(sections.last_mut()) {
            match section.entries.last_mut().filter(|_| goes_on && comment.is_empty()) {
                Some(entry) => entry.keys.push(key),
                None => section.entries.push(Entry { text: parse(&std::mem::take(&mut comment)), keys: vec![key] }),
            }
            goes_on = true;
        } else if let Some(text) = line.strip_prefix('#') {
            comment.push(text);
        } else {
            assert!(line.is_empty(), "neither a key nor a comment nor empty: {line}");
            let blocks = parse(&std::mem::take(&mut comment));
            sections.last_mut().map_or(&mut intro, |section| &mut section.intro).extend(blocks);
            goes_on = false;
        }
    }
    assert!(comment.is_empty(), "a comment without a key: {comment:?}");
    (intro, sections)
}

/// A line that sets a key, commented out or not.
fn key(line: &str) -> Option<Key> {
    let (line, is_comment) = line.strip_prefix("# ").map_or((line, false), |rest| (rest, true));
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    is_name.then(|| Key { name: name.to_owned(), value: value.trim().to_owned(), is_comment })
}

/// The lines of a comment, without their signs.
fn parse(comment: &[&str]) -> Vec<Block> {
    let mut blocks = Vec::new();
    for line in comment {
        let is_indented = line.starts_with("  ");
        match (blocks.last_mut(), line.trim()) {
            (_, "") => blocks.push(Block::Paragraph(String::new())),
            (Some(Block::Lines(lines)), _) if is_indented => lines.push(line.trim_end().to_owned()),
            (_, _) if is_indented => blocks.push(Block::Lines(vec![line.trim_end().to_owned()])),
            (Some(Block::Paragraph(text)), word) if !text.is_empty() => text.extend([" ", word]),
            (_, word) => blocks.push(Block::Paragraph(word.to_owned())),
        }
    }
    blocks.retain(|block| !matches!(block, Block::Paragraph(text) if text.is_empty()));
    blocks
}
