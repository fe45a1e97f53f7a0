//! The lines of a text around a place, drawn as compilers draw them.

use super::Span;

/// Lines shown before the one that it is about.
const BEFORE: usize = 1;
/// Longer lines are cut, with the place in sight.
const WIDEST: usize = 160;

/// The line of a place with the one before it, line numbers in front and carets below.
///
/// Tabs count as one column, as they do in the place itself. Example, for the span of `b` in `"a:\n  b: 1\n"`:
///
/// ```text
///   |
/// 1 | a:
/// 2 |   b: 1
///   |   ^
/// ```
///
/// ```
/// use kprov_schema::yaml::{excerpt, nodes};
///
/// let text = "a:\n  b: 1\n";
/// let place = nodes(text)[0].as_ref().unwrap().find("a.b").at;
/// assert!(excerpt(text, place).contains("2 |   b: 1\n"));
/// ```
#[must_use]
pub fn excerpt(text: &str, span: Span) -> String {
    let (line, column) = (span.start.line as usize, span.start.column as usize);
    let lines: Vec<&str> = text.lines().skip(line.saturating_sub(1 + BEFORE)).take(1 + BEFORE).collect();
    let first = line.saturating_sub(BEFORE).max(1);
    let lines = &lines[..lines.len().min(line + 1 - first)];
    let margin = line.to_string().len();
    let mut drawn = format!("{:margin$} |\n", "");
    let skipped = column.saturating_sub(WIDEST);
    for (number, content) in (first..).zip(lines) {
        let shown: String = content.chars().skip(skipped).take(WIDEST).map(visible).collect();
        drawn += format!("{number:margin$} | {shown}").trim_end();
        drawn.push('\n');
    }
    let width = if span.end.line == span.start.line { span.end.column.saturating_sub(span.start.column) } else { 0 };
    let here = lines.last().map_or(0, |content| content.chars().count() + 1 - column.min(content.chars().count() + 1));
    let carets = "^".repeat((width as usize).clamp(1, here.max(1)));
    drawn += &format!("{:margin$} | {:indent$}{carets}", "", "", indent = column - 1 - skipped);
    drawn
}

/// A tab is one column wide here, so that the carets stand below what they mean.
fn visible(c: char) -> char {
    if c.is_control() { ' ' } else { c }
}

#[cfg(test)]
mod tests {
    use super::super::Place;
    use super::*;

    fn drawn(text: &str, start: (u32, u32), end: (u32, u32)) -> String {
        let place = |(line, column)| Place { line, column };
        excerpt(text, Span { start: place(start), end: place(end) })
    }

    #[test]
    fn draws_the_line_and_the_one_before() {
        assert_eq!(drawn("a: 1\nb:\n\tc: 2\n", (3, 2), (3, 3)), "  |\n2 | b:\n3 |  c: 2\n  |  ^");
        assert_eq!(drawn("abc: 1", (1, 1), (1, 4)), "  |\n1 | abc: 1\n  | ^^^");
        assert_eq!(drawn("a: |\n  x\n", (1, 4), (3, 1)), "  |\n1 | a: |\n  |    ^");
        assert_eq!(drawn("a: 1\n", (2, 1), (2, 1)), "  |\n1 | a: 1\n  | ^", "the end of the text");
    }
}
