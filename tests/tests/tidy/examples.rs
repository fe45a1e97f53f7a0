//! Every public item of the library is shown in an example that is compiled and run.
//!
//! An item has an example of its own, or the one of its `impl` block, its type or its trait uses it by its name: a
//! group of small methods is understood better from one example than from ten. Fields and variants are excepted, as
//! the type's example shows what they are for, and so is what implements a trait that says it already.
//!
//! The sources are read line by line, which is enough because rustfmt has made them regular, and because the lint
//! `unreachable_pub` keeps `pub` away from what an application can't reach.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::{root, sources};

/// What is documented: the library, and what it hands on from the schema crate under a name of its own.
const SHOWN: &[&str] = &["lib/src", "lib/schema/src/yaml"];

#[test]
fn every_public_item_is_shown_in_an_example() {
    let mut missing = Vec::new();
    let mut items = 0;
    for folder in SHOWN {
        for path in sources(&root().join(folder)) {
            if path.file_stem().is_some_and(|stem| stem == "tests") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let inside = path.strip_prefix(root()).unwrap().display();
            for item in read(&text) {
                items += 1;
                let is_shown = item.shown || item.kind == "mod" && module_is_shown(&path, &item.name);
                if !is_shown {
                    missing.push(format!("{inside}:{}: {} {}", item.line, item.kind, item.name));
                }
            }
        }
    }
    missing.sort();
    assert!(items > 500, "the items are found: {items}");
    assert!(missing.is_empty(), "{} of {items} are in no example:\n{}", missing.len(), missing.join("\n"));
}

/// A module says at its own beginning what it is for.
fn module_is_shown(parent: &Path, name: &str) -> bool {
    let folder = match parent.file_stem().and_then(|stem| stem.to_str()) {
        Some("lib" | "mod") | None => parent.parent().unwrap().to_owned(),
        Some(stem) => parent.with_file_name(stem),
    };
    let file = [folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs")];
    let text = file.iter().find_map(|file| fs::read_to_string(file).ok()).unwrap();
    let docs: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("//!")).collect();
    !code(&docs).is_empty()
}

/// A public item, and whether an example shows it.
#[derive(Debug, PartialEq)]
struct Item {
    line: usize,
    kind: &'static str,
    name: String,
    shown: bool,
}

/// What holds items: an `impl` block, a trait, or the call of a macro that makes types.
struct Place {
    indent: usize,
    sort: Sort,
    examples: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Sort {
    Impl,
    Trait,
    Macro,
}

fn read(text: &str) -> Vec<Item> {
    let product = text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let mut types = BTreeMap::new();
    walk(product, &mut types);
    // A type may stand below its first `impl` block: only now all of them are known.
    walk(product, &mut types)
}

/// Reads a file's items; `types` holds the examples of the types that were met.
fn walk(text: &str, types: &mut BTreeMap<String, String>) -> Vec<Item> {
    let (mut items, mut places, mut docs): (_, Vec<Place>, Vec<&str>) = (Vec::new(), Vec::new(), Vec::new());
    let mut attribute = None;
    for (number, line) in text.lines().enumerate() {
        let (indent, line) = (line.len() - line.trim_start().len(), line.trim());
        if let Some(doc) = line.strip_prefix("///") {
            docs.push(doc);
            continue;
        }
        if attribute.is_some() || line.starts_with("#[") {
            let begun = attribute.unwrap_or(indent);
            attribute = (!(indent == begun && line.ends_with(']'))).then_some(begun);
            continue;
        }
        let own = code(&std::mem::take(&mut docs));
        while places.last().is_some_and(|place| place.indent == indent && line.starts_with('}')) {
            places.pop();
        }
        let place = places.last().filter(|place| indent == place.indent + 4);
        if let Some((kind, name)) = declared(line, place.map(|place| place.sort), !own.is_empty()) {
            let around = place.map(|place| place.examples.as_str()).unwrap_or_default();
            let shown = !own.is_empty() || uses(around, kind, &name);
            if matches!(kind, "struct" | "enum") {
                types.insert(name.clone(), own.clone());
            }
            items.push(Item { line: number + 1, kind, name, shown });
        }
        if let Some((sort, of)) = opened(line) {
            let examples = own + types.get(&of).map(String::as_str).unwrap_or_default();
            places.push(Place { indent, sort, examples });
        }
    }
    items
}

/// The code of examples that are compiled as they stand.
fn code(docs: &[&str]) -> String {
    let (mut code, mut inside) = (String::new(), None);
    for line in docs {
        match (line.trim().strip_prefix("```"), inside) {
            (Some(marks), None) => inside = Some(matches!(marks, "" | "no_run" | "should_panic")),
            (Some(_), Some(_)) => inside = None,
            (None, Some(true)) => code.extend([line, "\n"]),
            (None, _) => {}
        }
    }
    code
}

/// What a line declares for others to use.
fn declared(line: &str, place: Option<Sort>, has_example: bool) -> Option<(&'static str, String)> {
    let public = line.strip_prefix("pub ");
    if place == Some(Sort::Macro) && public.is_none() {
        let name = line.split(['(', ',', '=', ';']).next()?.split_whitespace().last()?;
        let is_type = name.starts_with(char::is_uppercase) && !line.contains("=>");
        return (is_type || has_example).then(|| ("struct", name.to_owned()));
    }
    let line = match public {
        Some(line) => line,
        None if place == Some(Sort::Trait) => line,
        None => return None,
    };
    let line = line.strip_prefix("const fn").map_or(line.to_owned(), |rest| format!("fn{rest}"));
    let line = line.trim_start_matches("async ").trim_start_matches("unsafe ");
    let kinds = ["fn", "struct", "enum", "trait", "type", "const", "static", "mod"];
    let kind = kinds.into_iter().find(|kind| line.split(' ').next() == Some(kind))?;
    let name: String = line[kind.len() + 1..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    Some((kind, name))
}

/// What a line opens, and the name of the type that it belongs to.
fn opened(line: &str) -> Option<(Sort, String)> {
    if line.ends_with('}') {
        return None;
    }
    if line.starts_with("pub trait ") {
        return Some((Sort::Trait, String::new()));
    }
    if let Some(rest) = line.strip_prefix("impl") {
        let rest = if rest.starts_with('<') { rest.split_once("> ")?.1 } else { rest.trim_start() };
        return Some((Sort::Impl, rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()));
    }
    let called = line.strip_suffix("! {")?;
    called.chars().all(|c| c.is_lowercase() || c == '_').then(|| (Sort::Macro, String::new()))
}

/// Whether an example has the name; that of a function is called or defined there.
fn uses(example: &str, kind: &str, name: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    example.match_indices(name).any(|(at, _)| {
        let (before, after) = (&example[..at], &example[at + name.len()..]);
        let whole = !before.ends_with(part) && !after.starts_with(part);
        whole && (kind != "fn" || after.starts_with(['(', '<']) || after.starts_with("::<"))
    })
}

#[test]
fn what_no_example_shows_is_found() {
    let text = "\
/// A door.
///
/// ```
/// Door::new().open();
/// ```
pub struct Door;

impl Door {
    /// A door.
    pub fn new() -> Self {
        Self
    }

    /// Opens it.
    #[must_use]
    pub const fn open(self) -> Self {
        self
    }

    /// Opens it for good.
    pub fn open_wide(self) {}

    /// Not for others.
    pub(crate) fn hinge(&self) {}
}

/// What closes.
///
/// ```text
/// closes()
/// ```
pub trait Closes {
    /// Closes it.
    ///
    /// ```
    /// door.close();
    /// ```
    fn close(self);
}

made! {
    /// A window.
    Window(Glass)
}
";
    let found: Vec<(usize, &str, bool)> = read(text).iter().map(|item| (item.line, item.kind, item.shown)).collect();
    let expected = [
        (6, "struct", true),
        (10, "fn", true),
        (16, "fn", true),
        (21, "fn", false),
        (32, "trait", false),
        (38, "fn", true),
        (43, "struct", false),
    ];
    assert_eq!(found, expected);
}
