//! Every type and trait of the builders shows by an example what it is for.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let nested = entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    nested.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// Whether a line declares a type or trait, by itself or as the name that a macro of the builders is given.
fn declares(line: &str, in_macro: bool) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    let by_itself =
        matches!(words[..], ["pub", "struct" | "enum" | "trait" | "type", name, ..] if !name.starts_with('$'));
    let first = line.trim_start().chars().next();
    let named = in_macro && line.starts_with("    ") && first.is_some_and(char::is_alphabetic);
    by_itself || named
}

/// What a file declares without an example.
fn bare(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let (mut docs, mut in_macro, mut found) = (String::new(), false, Vec::new());
    for line in text.lines() {
        let trimmed = line.trim_start();
        if trimmed.starts_with("///") {
            docs.push_str(trimmed);
        } else if trimmed.starts_with("#[")
            || trimmed.starts_with(')')
            || line.starts_with("    message")
            || line.starts_with("    label")
            || line.starts_with("    note")
        {
            // Attributes stand between the docs and what they are about.
        } else if ["text! {", "part! {", "object! {", "kind! {"].contains(&line) {
            (in_macro, docs) = (true, String::new());
        } else {
            if declares(line, in_macro) && !docs.contains("```") {
                found.push(format!("{}: {}", path.display(), line.trim()));
            }
            in_macro = in_macro && docs.is_empty();
            docs.clear();
        }
    }
    found
}

#[test]
fn every_type_has_an_example() {
    let paths = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/build"));
    let bare: Vec<String> = paths.iter().flat_map(|path| bare(path)).collect();
    assert!(paths.len() > 20, "only {} files", paths.len());
    assert!(bare.is_empty(), "no example:\n{}", bare.join("\n"));
}
