//! What is wrong with a manifest, told so that a person can mend it.

use std::fmt;
use std::sync::Arc;

use kprov_schema::yaml::{Span, excerpt};

/// A text with its name: a file, standard input, or made by a program.
///
/// ```
/// let read = kprov::manifest::Manifests::parse("web.yaml", "kind: A\n");
/// assert_eq!(read.all[0].origin.source.name, "web.yaml");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Path of the file, or another name such as `<stdin>`.
    pub name: String,
    /// The whole text.
    pub text: String,
}

/// A place in a source.
///
/// ```
/// use kprov::Bundle;
///
/// let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: A_b}\nspec: {containers: [{name: a, image: a}]}\n";
/// let problems = Bundle::from_yaml("shop", text).unwrap().validate().unwrap_err();
/// assert_eq!(problems[0].at.as_ref().unwrap().to_string(), "<text>:3:12");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
    /// The text.
    pub source: Arc<Source>,
    /// The piece of it.
    pub span: Span,
}

impl fmt::Display for At {
    /// `web.yaml:7:3`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.source.name, self.span.start.line, self.span.start.column)
    }
}

/// How bad a problem is.
///
/// ```
/// use kprov::Severity;
///
/// assert!(Severity::Note < Severity::Warning && Severity::Warning < Severity::Error);
/// assert_eq!(Severity::Error.text(), "error");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know.
    Note,
    /// It will be taken, and probably not do what was meant.
    Warning,
    /// It will not be taken.
    Error,
}

impl Severity {
    /// In small letters, as it is printed.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Self::Note => "\x1b[1;36m",
            Self::Warning => "\x1b[1;33m",
            Self::Error => "\x1b[1;31m",
        }
    }
}

/// One thing that is wrong, with what was probably meant.
///
/// ```
/// use kprov::{Problem, Severity};
///
/// let problem = Problem::new(Severity::Warning, "nothing selects these pods").hint("add a label");
/// assert_eq!(problem.to_string(), "nothing selects these pods; add a label");
/// assert_eq!(Problem::error("it is a list").severity, Severity::Error);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The object as `Kind/name`; empty when it is about none.
    pub object: String,
    /// Path of the field, such as `spec.replicas`; empty when it is about none.
    pub path: String,
    /// What is wrong. What the server would refuse is told in its own words.
    pub message: String,
    /// What was probably meant, or what to do; may be empty.
    pub hints: Vec<String>,
    /// Where it stands, for what was read from a text.
    pub at: Option<At>,
}

impl Problem {
    /// An error without a place.
    pub fn error(message: impl Into<String>) -> Self {
        Self::new(Severity::Error, message)
    }

    /// A problem without a place.
    pub fn new(severity: Severity, message: impl Into<String>) -> Self {
        Self {
            severity,
            object: String::new(),
            path: String::new(),
            message: message.into(),
            hints: Vec::new(),
            at: None,
        }
    }

    /// The same with one more hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The same at a place.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use kprov::{Problem, Source, yaml};
    ///
    /// let text = "name: web\nsize: big\n";
    /// let size = yaml::nodes(text).remove(0)?.find("size").at;
    /// let source = Arc::new(Source { name: "shop.yaml".to_owned(), text: text.to_owned() });
    /// assert_eq!(Problem::error("no number").at(&source, size).to_string(), "shop.yaml:2:1: no number");
    /// # Ok::<(), yaml::YamlError>(())
    /// ```
    #[must_use]
    pub fn at(mut self, source: &Arc<Source>, span: Span) -> Self {
        self.at = Some(At { source: source.clone(), span });
        self
    }

    /// Drawn as compilers draw their errors: the place, its line, and hints below; the last line has no break.
    ///
    /// ```
    /// use kprov::Bundle;
    ///
    /// let text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: A_b\n";
    /// let problems = Bundle::from_yaml("b", text).unwrap().validate().unwrap_err();
    /// assert!(problems[0].render(false).contains("\n4 |   name: A_b\n  |   ^^^^\n"));
    /// ```
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let paint = |code: &'static str| if colour { code } else { "" };
        let (bold, blue, plain) = (paint("\x1b[1m"), paint("\x1b[1;34m"), paint("\x1b[0m"));
        let head = paint(self.severity.colour());
        let mut out = format!("{head}{}{plain}{bold}: {}{plain}", self.severity.text(), self.message);
        let mut margin = 1;
        if let Some(at) = &self.at {
            margin = at.span.start.line.to_string().len();
            out += &format!("\n{blue}{:margin$}-->{plain} {at}\n", "");
            out += &painted(&excerpt(&at.source.text, at.span), blue, head, plain);
        }
        let mut below = |sign: &str, words: &str| {
            let indented = words.replace('\n', &format!("\n{:1$}", "", margin + 3 + sign.len()));
            out += &format!("\n{blue}{:margin$} ={plain} {bold}{sign}{plain}{indented}", "");
        };
        if !self.object.is_empty() {
            below("in: ", &self.object);
        }
        self.hints.iter().for_each(|hint| below("help: ", hint));
        out
    }
}

/// An excerpt with its margin and its carets in colour.
fn painted(drawn: &str, margin: &str, carets: &str, plain: &str) -> String {
    let lines: Vec<String> = drawn
        .lines()
        .map(|line| match line.split_once('|') {
            Some((number, rest)) if number.trim().is_empty() => format!("{margin}{number}|{carets}{rest}{plain}"),
            Some((number, rest)) => format!("{margin}{number}|{plain}{rest}"),
            None => line.to_owned(),
        })
        .collect();
    lines.join("\n")
}

impl fmt::Display for Problem {
    /// In one line: place, object, message, hints.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = &self.at {
            write!(f, "{at}: ")?;
        }
        if !self.object.is_empty() {
            write!(f, "{}: ", self.object)?;
        }
        f.write_str(&self.message)?;
        self.hints.iter().try_for_each(|hint| write!(f, "; {}", hint.replace('\n', " ")))
    }
}
