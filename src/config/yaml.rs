//! YAML as ROS has it: scalars as they are written, lists, and mappings whose keys may come twice. Size,
//! depth and aliases are bounded, so that no file costs more than its bytes.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

/// Levels of lists and mappings in each other. Parameter files have five or so.
const MOST_LEVELS: usize = 32;
/// Scalars, lists and mappings, those that aliases repeat included.
const MOST_NODES: usize = 100_000;

/// A node of a YAML document. Tags are ignored, but for `!!str`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Yaml {
    /// A single value.
    Scalar(Scalar),
    /// A list.
    Sequence(Vec<Yaml>),
    /// Keys and values in the order of the text.
    Mapping(Vec<(String, Yaml)>),
}

/// A single value as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar {
    /// Without quotes.
    pub text: String,
    /// Whether it is a number, a boolean or nothing if it looks like one: it is not quoted.
    pub is_plain: bool,
}

impl Scalar {
    /// Whether it stands for no value.
    pub fn is_null(&self) -> bool {
        self.is_plain && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }
}

/// Text that is not YAML, or more than is read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct YamlError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

impl From<ScanError> for YamlError {
    fn from(err: ScanError) -> Self {
        Self { line: err.marker().line(), message: err.info().to_owned() }
    }
}

/// The one document that `text` holds; nothing at all is null.
///
/// # Errors
/// It is not YAML, or nested too deeply, or more than one document.
pub fn parse(text: &str) -> Result<Yaml, YamlError> {
    let mut composer = Composer { parser: Parser::new_from_str(text), anchors: HashMap::new(), n_nodes: 0 };
    let mut document = None;
    while let Some(event) = composer.parser.next_event() {
        let (event, span) = event?;
        match event {
            Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
            Event::StreamEnd => break,
            Event::DocumentStart(_) if document.is_some() => {
                return Err(at(span, "a second document begins here, and only one is read"));
            }
            Event::DocumentStart(_) => {
                let (event, span) = composer.next()?;
                document = Some(composer.node(event, span, 0)?);
            }
            _ => return Err(at(span, "a value stands outside of the document")),
        }
    }
    Ok(document.unwrap_or_else(|| Yaml::Scalar(Scalar { text: String::new(), is_plain: true })))
}

fn at(span: Span, message: impl Into<String>) -> YamlError {
    YamlError { line: span.start.line(), message: message.into() }
}

struct Composer<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Yaml>,
    n_nodes: usize,
}

impl<'a> Composer<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), YamlError> {
        let missing = || YamlError { line: 1, message: "the text ends inside a value".into() };
        Ok(self.parser.next_event().ok_or_else(missing)??)
    }

    /// The node that begins with `event`, `level` lists and mappings deep.
    fn node(&mut self, event: Event<'a>, span: Span, level: usize) -> Result<Yaml, YamlError> {
        if MOST_LEVELS < level {
            return Err(at(span, format!("it is nested more than {MOST_LEVELS} levels deep")));
        }
        self.count(1, span)?;
        let (anchor, node) = match event {
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned();
                let node = node.ok_or_else(|| at(span, "an alias stands inside of what it repeats"))?;
                self.count(size(&node), span)?;
                return Ok(node);
            }
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = tag.is_some_and(|tag| is_str(&tag));
                let is_plain = style == ScalarStyle::Plain && !is_text;
                (anchor, Yaml::Scalar(Scalar { text: text.into_owned(), is_plain }))
            }
            Event::SequenceStart(anchor, _) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        (event, span) => items.push(self.node(event, span, level + 1)?),
                    }
                }
                (anchor, Yaml::Sequence(items))
            }
            Event::MappingStart(anchor, _) => {
                let mut entries = Vec::new();
                loop {
                    let (event, span) = self.next()?;
                    if event == Event::MappingEnd {
                        break;
                    }
                    let Yaml::Scalar(Scalar { text: key, .. }) = self.node(event, span, level + 1)? else {
                        return Err(at(span, "a key is a list or a mapping, and must be a name"));
                    };
                    let (event, span) = self.next()?;
                    entries.push((key, self.node(event, span, level + 1)?));
                }
                (anchor, Yaml::Mapping(entries))
            }
            _ => return Err(at(span, "a value is missing")),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn count(&mut self, n: usize, span: Span) -> Result<(), YamlError> {
        self.n_nodes += n;
        if MOST_NODES < self.n_nodes {
            return Err(at(span, format!("it has more than {MOST_NODES} values")));
        }
        Ok(())
    }
}

fn is_str(tag: &Tag) -> bool {
    tag.is_yaml_core_schema() && tag.suffix == "str"
}

fn size(node: &Yaml) -> usize {
    1 + match node {
        Yaml::Scalar(_) => 0,
        Yaml::Sequence(items) => items.iter().map(size).sum(),
        Yaml::Mapping(entries) => entries.iter().map(|(_, value)| 1 + size(value)).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(yaml: &Yaml) -> String {
        match yaml {
            Yaml::Scalar(Scalar { text, is_plain: true }) => text.clone(),
            Yaml::Scalar(Scalar { text, .. }) => format!("{text:?}"),
            Yaml::Sequence(items) => {
                format!("[{}]", items.iter().map(told).collect::<Vec<_>>().join(", "))
            }
            Yaml::Mapping(entries) => {
                let entries = entries.iter().map(|(key, value)| format!("{key}: {}", told(value)));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
            }
        }
    }

    fn check(text: &str, expect: &str) {
        let answer =
            parse(text).map_or_else(|err| format!("{}: {}", err.line, err.message), |yaml| told(&yaml));
        assert!(answer.contains(expect), "{answer} is not {expect}");
    }

    #[test]
    fn scalars_stay_as_they_are_written_and_keys_may_come_twice() {
        check("{a: 2.10, b: '2', c: !!str 3, d: !metres 4}", "{a: 2.10, b: \"2\", c: \"3\", d: 4}");
        check("a: 1\na: 2\n", "{a: 1, a: 2}");
        check("1: on\n", "{1: on}");
        check("a: &x [1, 2]\nb: *x\n", "{a: [1, 2], b: [1, 2]}");
        check("", "");
        check("# nothing\n", "");
        check("--- 3\n...\n", "3");
    }

    #[test]
    fn what_is_no_yaml_is_refused_with_its_line() {
        check("a:\n  b: [\n", "3: ");
        check("a: 1\n--- \nb: 2\n", "a second document");
        check("? [a]\n: 1\n", "1: a key is a list");
        check("a: &x [*x]\n", "an alias stands inside");
        check("a: *x\n", "1: ");
    }

    #[test]
    fn depth_and_aliases_are_bounded() {
        for open in ["[", "{a: ", "- ", "? "] {
            check(&open.repeat(40), "it is nested more than 32 levels deep");
            assert!(parse(&open.repeat(40_000)).is_err(), "{open}");
        }
        let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for n in 1..12 {
            let before = format!("*a{}", n - 1);
            laughs += &format!("a{n}: &a{n} [{}]\n", [before.as_str(); 10].join(", "));
        }
        check(&laughs, "it has more than 100000 values");
    }
}
