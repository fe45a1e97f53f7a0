//! What was probably meant where a text is not YAML: its lines are looked at, since a parser only says where it gave up.

use kprov_schema::yaml::{Place, Span};

/// A slip, with the line that it is on.
pub(crate) struct Slip {
    /// Where it is.
    pub(crate) span: Span,
    /// What to do.
    pub(crate) hint: String,
}

/// Lines that are looked at before the one where the parser gave up.
const BEFORE: usize = 12;

/// The slip that explains why the parser gave up at a place, if one is found.
pub(crate) fn slip(text: &str, at: Place) -> Option<Slip> {
    let lines: Vec<Line<'_>> = (1_u32..).zip(text.lines()).map(|(number, text)| Line { number, text }).collect();
    let given_up = (at.line as usize).min(lines.len());
    let begin = lines[..given_up].iter().rposition(|line| line.text.starts_with("---")).map_or(0, |line| line + 1);
    let (lines, given_up) = (&lines[begin..], given_up - begin);
    let first = given_up.saturating_sub(BEFORE);
    // The last one before the parser gave up is the likeliest; the line after it may show the slip as well.
    let near: Vec<usize> = (first..given_up).rev().collect();
    RULES.iter().find_map(|rule| near.iter().find_map(|index| rule(lines, *index)))
}

#[derive(Clone, Copy)]
struct Line<'a> {
    number: u32,
    text: &'a str,
}

impl<'a> Line<'a> {
    fn indent(&self) -> usize {
        self.text.chars().take_while(|c| *c == ' ').count()
    }

    /// Without its indentation and its comment.
    fn content(&self) -> &'a str {
        let text = self.text.trim();
        let text = if text.starts_with('#') { "" } else { text.split(" #").next().unwrap_or(text) };
        text.trim_end()
    }

    fn is_blank(&self) -> bool {
        self.content().is_empty() || self.content() == "---"
    }

    /// The indentation of a key, that of an item's first key included.
    fn key_indent(&self) -> usize {
        let dash = self.content().strip_prefix("- ").map_or(0, |rest| self.content().len() - rest.trim_start().len());
        self.indent() + dash
    }

    fn slip(&self, hint: String) -> Slip {
        let column = |at: usize| u32::try_from(at + 1).unwrap_or(u32::MAX);
        let place = |column| Place { line: self.number, column };
        let end = self.text.trim_end().chars().count();
        Slip { span: Span { start: place(column(self.indent())), end: place(column(end)) }, hint }
    }
}

/// Looks at one line of a document, with the others around it.
type Rule = fn(&[Line<'_>], usize) -> Option<Slip>;

const RULES: &[Rule] = &[tab, no_blank, template, under_a_value, no_colon, uneven];

/// A tab where blanks indent.
fn tab(lines: &[Line<'_>], index: usize) -> Option<Slip> {
    let line = lines[index];
    let lead: String = line.text.chars().take_while(|c| c.is_whitespace()).collect();
    (lead.contains('\t') && !line.content().is_empty())
        .then(|| line.slip("tabs do not indent in YAML: use blanks".to_owned()))
}

/// `nodePort:35010`
fn no_blank(lines: &[Line<'_>], index: usize) -> Option<Slip> {
    let line = lines[index];
    let content = line.content();
    let bare = content.trim_start_matches("- ");
    let (key, value) = bare.split_once(':')?;
    let named = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric());
    let meant = named && !value.is_empty() && !value.starts_with([' ', '/', ':']) && !bare.contains(": ");
    meant.then(|| line.slip(format!("expected `key: value`; a blank is missing behind the colon: `{key}: {value}`")))
}

/// `{{ name }}` outside of quotes
fn template(lines: &[Line<'_>], index: usize) -> Option<Slip> {
    let line = lines[index];
    let unquoted = line.content().contains("{{") && !line.content().contains(['"', '\'']);
    unquoted.then(|| line.slip("a template is rendered before it is read as YAML, or `{{ }}` is quoted".to_owned()))
}

/// A map or a list below a key that has a value already: `volumes: db-secret` and then `- name: a`
fn under_a_value(lines: &[Line<'_>], index: usize) -> Option<Slip> {
    let line = lines[index];
    let before = lines[..index].iter().rev().find(|line| !line.is_blank())?;
    let (key, value) = before.content().trim_start_matches("- ").split_once(": ")?;
    let has_value =
        !value.trim().is_empty() && !value.trim_start().starts_with(['|', '>', '&', '!', '{', '[', '"', '\'']);
    let item = line.content().starts_with("- ") && line.indent() >= before.key_indent();
    let deeper = line.content().contains(':') && line.key_indent() > before.key_indent();
    if line.is_blank() || !has_value || !(item || deeper) {
        return None;
    }
    let what = line.content().split(':').next().unwrap_or_default();
    Some(line.slip(format!(
        "line {} gives `{key}` the value `{}` already: `{what}` can't stand below it; check the indentation",
        before.number,
        value.trim()
    )))
}

/// A word alone with something below it: `volumes`
fn no_colon(lines: &[Line<'_>], index: usize) -> Option<Slip> {
    let line = lines[index];
    let content = line.content().trim_start_matches("- ");
    let word = !content.is_empty() && content.chars().all(|c| c.is_ascii_alphanumeric());
    let next = lines[index + 1..].iter().find(|line| !line.is_blank())?;
    let has_below = next.indent() > line.indent() || next.content().starts_with("- ");
    let before = lines[..index].iter().rev().find(|line| !line.is_blank());
    let continues = before.is_some_and(|before| before.content().ends_with(['|', '>', '-']));
    (word && has_below && !continues).then(|| line.slip(format!("`{content}` has no colon: `{content}:`")))
}

/// A key whose indentation is that of no map around it.
fn uneven(lines: &[Line<'_>], index: usize) -> Option<Slip> {
    let line = lines[index];
    if line.is_blank() || !line.content().contains(':') {
        return None;
    }
    let indent = line.indent();
    let mut open: Vec<usize> = Vec::new();
    for before in lines[..index].iter().filter(|line| !line.is_blank()) {
        open.retain(|known| *known <= before.indent());
        for known in [before.indent(), before.key_indent()] {
            if !open.contains(&known) {
                open.push(known);
            }
        }
    }
    let deepest = *open.iter().max()?;
    if indent >= deepest || open.contains(&indent) {
        return None;
    }
    let near: Vec<String> = open.iter().filter(|known| known.abs_diff(indent) <= 2).map(ToString::to_string).collect();
    let near = if near.is_empty() { deepest.to_string() } else { near.join(" or ") };
    let key = line.content().split(':').next().unwrap_or_default();
    Some(line.slip(format!("`{key}` is indented by {indent}, where {near} is expected")))
}
