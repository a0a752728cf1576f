//! Imports run with the grain: a layer names only the layers below it. Reads the sources as text; no compiler needed.
//!
//! Beside that: every source file says first what it owns, none is too long, and none leaves work for later.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Each layer with what it may name, beside itself.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("config", &["model"]),
    ("telemetry", &["model", "config"]),
    ("memory", &[]),
    ("wire", &["model", "config", "telemetry"]),
    ("auth", &["model", "config", "telemetry"]),
    ("backbone", &["model", "config", "telemetry"]),
    ("journal", &["model", "config", "telemetry", "wire", "auth", "backbone"]),
    ("actors", &["model", "config", "telemetry", "wire", "auth", "backbone", "journal"]),
    ("http", &["model", "config", "telemetry", "wire", "auth", "backbone", "journal", "actors"]),
    ("node", &["model", "config", "telemetry", "memory", "wire", "auth", "backbone", "journal", "actors", "http"]),
    ("client", &["model", "wire"]),
    ("replica", &["model", "wire", "client"]),
    ("mcp", &["model", "wire", "client", "replica"]),
    (
        "cli",
        &[
            "model",
            "config",
            "telemetry",
            "wire",
            "auth",
            "backbone",
            "journal",
            "actors",
            "http",
            "node",
            "client",
            "replica",
            "mcp",
        ],
    ),
    ("main", &["cli"]),
];

/// Actors know the trait; which log stands behind it is for the node to choose.
const HIDDEN_FROM_ACTORS: [&str; 2] = ["embedded", "nats"];

const LONGEST_FILE: usize = 400;

/// Files that may be longer, each with its reason.
const MAY_BE_LONGER: &[&str] = &[];

// --- Reading ---

/// Every source file below `src`, by its path from there.
fn sources() -> Vec<(String, String)> {
    fn walk(dir: &Path, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).expect("src is readable") {
            let path = entry.expect("src is readable").path();
            if path.is_dir() {
                walk(&path, into);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                into.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    paths.sort();
    let named = paths.into_iter().map(|path| {
        let name = path.strip_prefix(&root).expect("found below src").to_string_lossy().replace('\\', "/");
        (name, fs::read_to_string(&path).expect("sources are UTF-8"))
    });
    named.collect()
}

/// `actors/room.rs` is the module `actors::room`; `lib.rs` and `main.rs` are roots.
fn module_of(file: &str) -> Vec<String> {
    let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
    if path == "lib" { Vec::new() } else { path.split('/').map(str::to_owned).collect() }
}

/// The source with comments and the contents of literals blanked: a path in a comment imports nothing.
fn code_of(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut code = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        let skipped = match rest {
            ['/', '/', ..] => rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
            ['/', '*', ..] => block_comment(rest),
            ['"', ..] => quoted(rest),
            ['r', '"' | '#', ..] if !code.ends_with(in_word) => raw_string(rest),
            ['b' | 'c', 'r', '"' | '#', ..] if !code.ends_with(in_word) => raw_string(&rest[1..]).saturating_add(1),
            // A character, not a lifetime.
            ['\'', '\\', ..] => 2 + rest[3..].iter().position(|c| *c == '\'').map_or(0, |end| end + 2),
            ['\'', _, '\'', ..] => 3,
            _ => 0,
        };
        code.push(if skipped == 0 { chars[at] } else { ' ' });
        at += skipped.max(1);
    }
    code
}

fn in_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match &rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != '"' {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// 0 if this is a raw identifier (`r#type`).
fn raw_string(rest: &[char]) -> usize {
    let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
    if rest.get(1 + hashes) != Some(&'"') {
        return 0;
    }
    let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let body = 2 + hashes;
    rest[body..].windows(end.len()).position(|window| window == end).map_or(rest.len(), |at| body + at + end.len())
}

/// Names, `::`, braces and everything else that ends a path, in order.
fn tokens(code: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut goes_on = false;
    for c in code.chars() {
        let word = in_word(c);
        match tokens.last_mut() {
            Some(last) if word && goes_on => last.push(c),
            Some(last) if c == ':' && last == ":" => last.push(c),
            _ if !c.is_whitespace() => tokens.push(c.to_string()),
            _ => {}
        }
        goes_on = word;
    }
    tokens
}

/// Every path from the crate's root that the source names, as segments: `use` trees, `pub use`, and paths in the code.
/// Inline modules (`mod tests { … }`) are followed, because `super` means another module inside them.
fn paths(module: &[String], source: &str) -> BTreeSet<Vec<String>> {
    let tokens = tokens(&code_of(source));
    let mut found = BTreeSet::new();
    let mut module = module.to_vec();
    let mut inline: Vec<usize> = Vec::new();
    let (mut depth, mut at) = (0_usize, 0);
    while at < tokens.len() {
        let next = |offset: usize| tokens.get(at + offset).map(String::as_str);
        match tokens[at].as_str() {
            "mod" if next(2) == Some("{") => {
                module.push(tokens[at + 1].clone());
                inline.push(depth);
                (depth, at) = (depth + 1, at + 3);
                continue;
            }
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                if inline.last() == Some(&depth) {
                    inline.pop();
                    module.pop();
                }
            }
            // The library, as the binary names it.
            "crate" | "super" | "self" | "continuum"
                if next(1) == Some("::") && (at == 0 || tokens[at - 1] != "::") =>
            {
                at = tree(&tokens, at, Vec::new(), &module, &mut found);
                continue;
            }
            "use" if next(1) == Some("{") => {
                at = tree(&tokens, at + 1, Vec::new(), &module, &mut found);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Reads one path or use tree from `at`, resolved against `module`; returns where it ends.
fn tree(
    tokens: &[String],
    mut at: usize,
    mut prefix: Vec<String>,
    module: &[String],
    found: &mut BTreeSet<Vec<String>>,
) -> usize {
    while let Some(token) = tokens.get(at) {
        if token == "{" {
            at += 1;
            while tokens.get(at).is_some_and(|token| token != "}") {
                let end = tree(tokens, at, prefix.clone(), module, found);
                at = if tokens.get(end).is_some_and(|token| token == ",") { end + 1 } else { end.max(at + 1) };
            }
            return at + 1;
        }
        if !token.starts_with(|c| in_word(c) || c == '*') {
            break;
        }
        prefix.push(token.clone());
        at += 1;
        if tokens.get(at).is_none_or(|token| token != "::") {
            break;
        }
        at += 1;
    }
    if tokens.get(at).is_some_and(|token| token == "as") {
        at += 2;
    }
    found.extend(resolve(&prefix, module));
    at
}

/// From the crate's root; `None` for another crate's path.
fn resolve(path: &[String], module: &[String]) -> Option<Vec<String>> {
    let mut rest = path;
    let mut base = match rest.first()?.as_str() {
        "crate" | "continuum" => Vec::new(),
        "self" | "super" => module.to_vec(),
        _ => return None,
    };
    if rest[0] != "super" {
        rest = &rest[1..];
    }
    while let Some(("super", after)) = rest.split_first().map(|(first, after)| (first.as_str(), after)) {
        base.pop();
        rest = after;
    }
    base.extend(rest.iter().filter(|segment| *segment != "self" && *segment != "*").cloned());
    Some(base)
}

// --- Judging ---

/// What is wrong with the imports of a file, one sentence each.
fn against_the_grain(file: &str, source: &str) -> Vec<String> {
    let module = module_of(file);
    let Some(layer) = module.first() else { return Vec::new() };
    let Some((_, may_name)) = MAY_NAME.iter().find(|(name, _)| name == layer) else {
        return vec![format!("{file}: no layer is called {layer}; give it a place in tests/layers.rs")];
    };
    let mut wrong = Vec::new();
    for path in paths(&module, source) {
        let Some(named) = path.first() else {
            wrong.push(format!("{file}: names everything in the crate's root; name the layers"));
            continue;
        };
        let is_layer = MAY_NAME.iter().any(|(name, _)| name == named);
        if is_layer && named != layer && !may_name.contains(&named.as_str()) {
            wrong.push(format!("{file}: {layer} names {}", path.join("::")));
        }
        let hidden = path.get(1).is_some_and(|part| HIDDEN_FROM_ACTORS.contains(&part.as_str()));
        if layer == "actors" && named == "backbone" && hidden {
            wrong.push(format!("{file}: actors name {}; they know the trait only", path.join("::")));
        }
    }
    wrong
}

/// What is wrong with a file as such.
fn out_of_style(file: &str, source: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if !source.starts_with("//!") {
        wrong.push(format!("{file}: does not begin with a //! comment"));
    }
    let words = source.split(|c: char| !c.is_alphanumeric());
    if words.into_iter().any(|word| word == concat!("TO", "DO") || word == concat!("FIX", "ME")) {
        wrong.push(format!("{file}: leaves work for later"));
    }
    let lines = source.lines().count();
    let is_test = file == "tests.rs" || file.ends_with("/tests.rs");
    if lines > LONGEST_FILE && !is_test && !MAY_BE_LONGER.contains(&file) {
        wrong.push(format!("{file}: {lines} lines, more than {LONGEST_FILE}"));
    }
    wrong
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn no_import_goes_against_the_grain() {
    assert_none(&sources().iter().flat_map(|(file, source)| against_the_grain(file, source)).collect::<Vec<_>>());
}

#[test]
fn every_file_is_in_style() {
    assert_none(&sources().iter().flat_map(|(file, source)| out_of_style(file, source)).collect::<Vec<_>>());
}

// --- The judge, judged ---

#[test]
fn a_forbidden_line_is_caught_however_it_is_written() {
    for (file, line) in [
        ("model/ids.rs", "use crate::wire::Frame;"),
        ("model/ids.rs", "pub use crate::{model::Position, actors::{self, room::Room}};"),
        ("model/ids.rs", "use super::super::wire;"),
        ("model.rs", "use super::http::routes;"),
        ("model.rs", "use super::{http};"),
        ("model.rs", "use {crate::http, std::fmt};"),
        ("wire/envelope.rs", "fn f() -> crate::actors::Room { x }"),
        ("wire/envelope.rs", "mod tests { use super::super::super::actors::Room; }"),
        ("backbone/embedded.rs", "use crate :: journal\n    ::Journal;"),
        ("client.rs", "use crate::backbone::Backbone;"),
        ("config.rs", "use crate::telemetry;"),
        ("telemetry.rs", "let x = crate::node::run;"),
        ("journal.rs", "use crate::actors as a;"),
        ("journal.rs", "let quote = '\"'; use crate::actors::a; let other = '\"';"),
        ("http/ws.rs", "use crate::cli::*;"),
        ("wire.rs", "use crate::*;"),
        ("main.rs", "use continuum::actors::room;"),
        ("actors/room.rs", "use crate::backbone::embedded::Embedded;"),
        ("actors/room.rs", "use crate::backbone::{Backbone, nats};"),
        ("mystery.rs", "use std::fmt;"),
    ] {
        assert!(!against_the_grain(file, line).is_empty(), "{file}: {line}");
    }
}

#[test]
fn a_line_with_the_grain_passes() {
    for (file, line) in [
        ("wire.rs", "use crate::{config::Limits, model::{ids::TenantId, Timestamp}};"),
        ("wire/envelope.rs", "use super::codes; mod tests { use super::*; use super::super::codes; }"),
        ("model.rs", "pub use ids::TenantId; use std::http::x; use http::StatusCode;"),
        ("model.rs", "// use crate::actors\n/* crate::http /* nested */ */ const A: &str = \"crate::node\";"),
        ("model.rs", "const A: &[u8] = br#\"say \"crate::node\" \"#; const B: &CStr = cr\"crate::node\";"),
        ("model.rs", "const A: &str = r#\"say \"crate::node\" \"#; fn f<'a>(x: &'a str) -> r#type { x }"),
        ("actors/room.rs", "use crate::backbone::{Backbone, Feed};"),
        ("node.rs", "use crate::backbone::embedded::Embedded;"),
        ("cli/join.rs", "use crate::client::Client;"),
        ("client.rs", "use crate::{model, wire};"),
        ("lib.rs", "pub use crate::node::run;"),
        ("main.rs", "use continuum::cli::{self, Cli};"),
    ] {
        assert_none(&against_the_grain(file, line));
    }
}

#[test]
fn a_file_out_of_style_is_caught() {
    let long = "//! Long.\n".repeat(LONGEST_FILE + 1);
    let later = format!("//! Later.\n// {}: all of it", concat!("TO", "DO"));
    assert_eq!(out_of_style("a.rs", "use std::fmt;").len(), 1);
    assert_eq!(out_of_style("a.rs", &later).len(), 1);
    assert_eq!(out_of_style("a.rs", &long).len(), 1);
    assert_none(&out_of_style("a/tests.rs", &long));
    assert_none(&out_of_style("a.rs", "//! Owns nothing."));
}

#[test]
fn unsafe_stands_in_one_place_only() {
    let with: Vec<_> = sources()
        .into_iter()
        .filter(|(_, text)| tokens(&code_of(text)).iter().any(|token| token == "unsafe"))
        .collect();
    assert_eq!(with.iter().map(|(file, _)| file.as_str()).collect::<Vec<_>>(), ["memory.rs"]);
}

#[test]
fn the_layers_have_no_cycle() {
    for (at, (layer, may_name)) in MAY_NAME.iter().enumerate() {
        for named in *may_name {
            assert!(MAY_NAME[..at].iter().any(|(name, _)| name == named), "{layer} names {named}");
        }
    }
}
