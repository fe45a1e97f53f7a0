//! `kprov validate`: what a server would say of manifests, without one.

use std::io::IsTerminal;

use anyhow::bail;
use kprov::manifest::Manifests;
use kprov::{Bundle, Problem, Severity};
use serde_json::{Value, json};

use crate::args::{Output, Validate};

pub(crate) fn run(options: &Validate) -> anyhow::Result<()> {
    let mut read = Manifests::read(&options.files.files, options.files.recursive);
    // What could not be read does not keep the rest from being checked.
    let mut problems = std::mem::take(&mut read.problems);
    let objects = read.all.len();
    if let Ok(bundle) = Bundle::from_manifests("manifests", read) {
        problems.extend(bundle.check());
    }
    match options.output {
        Output::Text => print_text(&problems, objects),
        Output::Json => println!("{:#}", problems.iter().map(as_json).collect::<Value>()),
    }
    match count(&problems, Severity::Error) {
        0 => Ok(()),
        errors => bail!("{} in {}", number(errors, "error"), number(objects, "object")),
    }
}

fn count(problems: &[Problem], severity: Severity) -> usize {
    problems.iter().filter(|problem| problem.severity == severity).count()
}

fn number(count: usize, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}

/// Whether text in colours is welcome on standard output.
///
/// Source: <https://no-color.org>
pub(crate) fn is_colourful() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
}

fn print_text(problems: &[Problem], objects: usize) {
    let colour = is_colourful();
    problems.iter().for_each(|problem| println!("{}\n", problem.render(colour)));
    let told =
        [Severity::Error, Severity::Warning, Severity::Note].map(|severity| (count(problems, severity), severity));
    let told: Vec<String> =
        told.iter().filter(|(count, _)| *count > 0).map(|(count, severity)| number(*count, severity.text())).collect();
    let told = if told.is_empty() { "nothing is wrong".to_owned() } else { told.join(", ") };
    println!("{}: {told}", number(objects, "object"));
}

fn as_json(problem: &Problem) -> Value {
    let mut told = json!({
        "severity": problem.severity.text(),
        "object": problem.object,
        "path": problem.path,
        "message": problem.message,
        "hints": problem.hints,
    });
    if let Some(at) = &problem.at {
        told["file"] = json!(at.source.name);
        told["line"] = json!(at.span.start.line);
        told["column"] = json!(at.span.start.column);
    }
    told
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use expect_test::expect;

    use super::*;
    use crate::args::{Args, Command};

    fn validate(files: &std::path::Path) -> anyhow::Result<()> {
        let args = Args::try_parse_from(["kprov".as_ref(), "validate".as_ref(), "-f".as_ref(), files.as_os_str()])?;
        let Command::Validate(options) = args.command else { panic!("another command") };
        run(&options)
    }

    #[test]
    fn errors_fail_and_warnings_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        let good = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
        std::fs::write(&file, good).unwrap();
        validate(&file).unwrap();
        std::fs::write(&file, format!("{good}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{nam: b}}\n---\n[\n"))
            .unwrap();
        let error = validate(folder.path()).unwrap_err().to_string();
        expect!["2 errors in 2 objects"].assert_eq(&error);
    }
}
