//! From a text to its documents.

use std::collections::HashMap;

use granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, StrInput, Tag};

use super::{Content, Entry, EqualKeys, Meaning, Node, Place, Span, YamlError, json, scalar};

/// Values in one text, those that aliases repeat included.
const MOST_VALUES: usize = 2_000_000;
/// Bytes that what has anchors may take once more, with everything that aliases repeat.
const MOST_REPEATED: usize = 32 << 20;
/// Maps and lists inside each other.
const DEEPEST: usize = 200;

/// Every document that holds something.
pub(super) fn all(text: &str, equal_keys: EqualKeys) -> Vec<Result<Node, YamlError>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if json::begins(text) {
        match json::all(text, equal_keys) {
            Ok(found) => return found.into_iter().map(Ok).collect(),
            // Not JSON: then it may be a flow map of YAML, whose errors say more.
            Err(json::Error::Syntax) => {}
            Err(json::Error::Told(error)) => return vec![Err(error)],
        }
    }
    let mut budget = Budget { values: MOST_VALUES, repeated: MOST_REPEATED };
    let mut found = Vec::new();
    for piece in pieces(text) {
        let mut loader = Loader { text, piece: &piece, equal_keys, anchors: HashMap::new(), budget: &mut budget };
        match loader.documents() {
            Ok(nodes) => found.extend(nodes.into_iter().filter(|node| !node.is_null()).map(Ok)),
            Err(error) => found.push(Err(error)),
        }
    }
    found
}

/// The only document, if there is one.
pub(super) fn one(text: &str, equal_keys: EqualKeys) -> Result<Option<Node>, YamlError> {
    let mut found = all(text, equal_keys).into_iter();
    let first = found.next().transpose()?;
    match found.next().transpose()? {
        Some(second) => Err(YamlError::at(text, second.span, "a second document begins here, where one is expected")),
        None => Ok(first),
    }
}

/// A part of the text that is parsed by itself.
struct Piece<'a> {
    text: &'a str,
    /// Lines before it.
    lines: u32,
}

/// Splits where a line is `---`, with nothing but a comment behind it.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let (mut begin, mut first, mut at, mut directives) = (0, 0, 0, false);
    for (number, line) in (0_u32..).zip(text.split_inclusive('\n')) {
        if is_separator(line) && !directives {
            pieces.push(Piece { text: &text[begin..at], lines: first });
            (begin, first) = (at + line.len(), number + 1);
        }
        // `%YAML 1.1` belongs to the document behind the next `---`.
        directives = line.starts_with('%') || (directives && line.starts_with('#'));
        at += line.len();
    }
    pieces.push(Piece { text: &text[begin..], lines: first });
    pieces
}

fn is_separator(line: &str) -> bool {
    line.strip_prefix("---").is_some_and(|rest| {
        let rest = rest.trim();
        rest.is_empty() || rest.starts_with('#')
    })
}

/// What a text may still ask for.
struct Budget {
    values: usize,
    repeated: usize,
}

struct Loader<'a> {
    text: &'a str,
    piece: &'a Piece<'a>,
    equal_keys: EqualKeys,
    anchors: HashMap<usize, Node>,
    budget: &'a mut Budget,
}

type Events<'a> = Parser<'a, StrInput<'a>>;

impl<'a> Loader<'a> {
    fn documents(&mut self) -> Result<Vec<Node>, YamlError> {
        let mut options = Options::default();
        options.set_emit_comments(false);
        let mut events = Parser::new_from_str_with_options(self.piece.text, options);
        let mut found = Vec::new();
        loop {
            let (event, span) = self.next(&mut events)?;
            match event {
                Event::StreamEnd => return Ok(found),
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                other => found.push(self.node(&mut events, other, span, 0)?),
            }
        }
    }

    fn next(&self, events: &mut Events<'a>) -> Result<(Event<'a>, Span), YamlError> {
        match events.next() {
            Some(Ok((event, span))) => Ok((event, self.span(&span))),
            Some(Err(error)) => Err(self.syntax(&error)),
            None => Err(YamlError::new("the text ends too early")),
        }
    }

    fn span(&self, span: &granit_parser::Span) -> Span {
        Span { start: self.place(&span.start), end: self.place(&span.end) }
    }

    fn place(&self, mark: &granit_parser::Marker) -> Place {
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        Place {
            line: number(mark.line()).saturating_add(self.piece.lines),
            column: number(mark.col()).saturating_add(1),
        }
    }

    fn syntax(&self, error: &ScanError) -> YamlError {
        let place = self.place(error.marker());
        YamlError::at(self.text, Span { start: place, end: place }, error.info())
    }

    fn error(&self, span: Span, message: impl Into<String>) -> YamlError {
        YamlError::at(self.text, span, message)
    }

    fn spend(&mut self, span: Span) -> Result<(), YamlError> {
        match self.budget.values.checked_sub(1) {
            Some(left) => {
                self.budget.values = left;
                Ok(())
            }
            None => Err(self.error(span, format!("more than {MOST_VALUES} values: split the file"))),
        }
    }

    /// Must be asked before a value is repeated: a few bytes of text may name a value of megabytes.
    fn repeat(&mut self, node: &Node, span: Span) -> Result<Node, YamlError> {
        match bytes(node, self.budget.repeated) {
            Some(left) => {
                self.budget.repeated = left;
                Ok(node.clone())
            }
            None => {
                let message = format!("anchors and aliases repeat more than {MOST_REPEATED} bytes: split the file");
                Err(self.error(span, message))
            }
        }
    }

    fn node(&mut self, events: &mut Events<'a>, event: Event<'a>, span: Span, depth: usize) -> Result<Node, YamlError> {
        self.spend(span)?;
        if depth > DEEPEST {
            return Err(self.error(span, format!("more than {DEEPEST} maps and lists inside each other")));
        }
        let (node, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => (self.scalar(&text, style, tag.as_deref(), span)?, anchor),
            Event::SequenceStart(_, anchor, _) => (self.list(events, span, depth)?, anchor),
            Event::MappingStart(_, anchor, _) => (self.map(events, span, depth)?, anchor),
            Event::Alias(anchor) => return self.alias(anchor, span),
            _ => return Err(self.error(span, "a value is expected here")),
        };
        if anchor > 0 {
            let kept = self.repeat(&node, span)?;
            self.anchors.insert(anchor, kept);
        }
        Ok(node)
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<Node, YamlError> {
        let Some(node) = self.anchors.remove(&anchor) else {
            return Err(self.error(span, "the alias stands inside of what it names"));
        };
        let repeated = self.repeat(&node, span)?;
        self.anchors.insert(anchor, node);
        Ok(Node { span, ..repeated })
    }

    fn scalar(&self, text: &str, style: ScalarStyle, tag: Option<&Tag>, span: Span) -> Result<Node, YamlError> {
        let plain = style == ScalarStyle::Plain;
        let told = |message: String| self.error(span, message);
        let meaning = match tag.and_then(Tag::core_suffix) {
            None if tag.is_some_and(is_binary) => {
                return Ok(text_node(span, binary(text).map_err(told)?));
            }
            None if plain && tag.is_none() => scalar::plain(text).map_err(told)?,
            None | Some("str") => Meaning::Text,
            Some(tag) => tagged(tag, text).map_err(told)?,
        };
        Ok(Node { span, content: Content::Scalar { text: text.to_owned(), meaning } })
    }

    fn list(&mut self, events: &mut Events<'a>, span: Span, depth: usize) -> Result<Node, YamlError> {
        let mut items = Vec::new();
        loop {
            let (event, at) = self.next(events)?;
            if event == Event::SequenceEnd {
                return Ok(Node { span, content: Content::List(items) });
            }
            items.push(self.node(events, event, at, depth + 1)?);
        }
    }

    fn map(&mut self, events: &mut Events<'a>, span: Span, depth: usize) -> Result<Node, YamlError> {
        let mut entries = Entries::default();
        loop {
            let (event, at) = self.next(events)?;
            if event == Event::MappingEnd {
                break;
            }
            let merge = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<");
            let key_node = self.node(events, event, at, depth + 1)?;
            let (event, value_at) = self.next(events)?;
            let value = self.node(events, event, value_at, depth + 1)?;
            if merge {
                self.merge(&mut entries, value, at)?;
                continue;
            }
            let key = key(&key_node).map_err(|message| self.error(at, message))?;
            if let Some(earlier) = entries.put(Entry { key, at, value }, self.equal_keys) {
                return Err(self.equal_key(earlier, at, &key_node));
            }
        }
        Ok(Node { span, content: Content::Map(entries.all) })
    }

    fn equal_key(&self, earlier: Span, at: Span, key: &Node) -> YamlError {
        let shown = key.text().unwrap_or_default();
        let message = format!("duplicate key {shown:?}: it stands on line {} already", earlier.start.line);
        self.error(at, message)
    }

    /// Takes over the entries of other maps. As in kubectl they count more than what stands before the merge key.
    fn merge(&self, entries: &mut Entries, value: Node, at: Span) -> Result<(), YamlError> {
        let wrong = |span| Err(self.error(span, "a merge key takes a map or a list of maps"));
        match value.content {
            Content::Map(others) => {
                others.into_iter().for_each(|other| entries.merge(other));
                Ok(())
            }
            // The first map of a list counts most.
            Content::List(maps) => maps.into_iter().rev().try_for_each(|map| match map.content {
                Content::Map(_) => self.merge(entries, map, at),
                _ => wrong(map.span),
            }),
            Content::Scalar { .. } => wrong(at),
        }
    }
}

/// The entries of a map, with their keys at hand.
#[derive(Default)]
pub(super) struct Entries {
    pub(super) all: Vec<Entry>,
    /// Where an entry stands in `all`, and whether it came with a merge key.
    known: HashMap<String, (usize, bool)>,
}

impl Entries {
    /// Adds an entry; the place of an earlier one with the same key, when that is not allowed.
    pub(super) fn put(&mut self, entry: Entry, equal_keys: EqualKeys) -> Option<Span> {
        match self.known.get(&entry.key) {
            Some((index, false)) if equal_keys == EqualKeys::Refuse => return Some(self.all[*index].at),
            _ => self.replace(entry, false),
        }
        None
    }

    fn merge(&mut self, entry: Entry) {
        self.replace(entry, true);
    }

    fn replace(&mut self, entry: Entry, merged: bool) {
        match self.known.insert(entry.key.clone(), (self.all.len(), merged)) {
            Some((index, _)) => {
                self.known.insert(entry.key.clone(), (index, merged));
                self.all[index] = entry;
            }
            None => self.all.push(entry),
        }
    }
}

/// What a budget of bytes has left when a value is taken from it.
fn bytes(node: &Node, budget: usize) -> Option<usize> {
    let left = budget.checked_sub(size_of::<Node>() + node.text().map_or(0, str::len))?;
    let left = node.items().iter().try_fold(left, |left, item| bytes(item, left))?;
    node.entries().iter().try_fold(left, |left, entry| {
        bytes(&entry.value, left.checked_sub(size_of::<Entry>() - size_of::<Node>() + entry.key.len())?)
    })
}

fn text_node(span: Span, text: String) -> Node {
    Node { span, content: Content::Scalar { text, meaning: Meaning::Text } }
}

/// The key as JSON has it: numbers and truths become texts.
fn key(node: &Node) -> Result<String, String> {
    match &node.content {
        Content::Scalar { text, meaning: Meaning::Text } => Ok(text.clone()),
        Content::Scalar { meaning: Meaning::Bool(truth), .. } => Ok(truth.to_string()),
        Content::Scalar { meaning: Meaning::Number(number), .. } => Ok(number.to_string()),
        Content::Scalar { meaning: Meaning::Null, .. } => Err("null is no key".to_owned()),
        Content::List(_) | Content::Map(_) => {
            Err("a map or a list is no key; a template's `{{ }}` must be quoted".to_owned())
        }
    }
}

fn tagged(tag: &str, text: &str) -> Result<Meaning, String> {
    let meaning = scalar::plain(text)?;
    let fits = match (tag, &meaning) {
        ("null", Meaning::Null) | ("bool", Meaning::Bool(_)) | ("float", Meaning::Number(_)) => true,
        ("int", Meaning::Number(number)) => number.is_i64() || number.is_u64(),
        _ => false,
    };
    if fits { Ok(meaning) } else { Err(format!("{text:?} is no !!{tag}")) }
}

fn is_binary(tag: &Tag) -> bool {
    tag.handle().contains("yaml.org,2002") && tag.suffix() == "binary"
}

fn binary(text: &str) -> Result<String, String> {
    use base64::Engine;
    let packed: String = text.split_whitespace().collect();
    let bytes =
        base64::engine::general_purpose::STANDARD.decode(packed).map_err(|error| format!("!!binary: {error}"))?;
    String::from_utf8(bytes).map_err(|_| "!!binary holds bytes that are no text".to_owned())
}
