//! Text from elsewhere in messages: names and values of peers, files and web clients. It is escaped, so that
//! it stays on its line and does nothing to a terminal, and cut.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

/// Characters of a foreign name that a message shows.
const MOST_CHARS: usize = 160;
/// Names of a list that a message shows.
const MOST_NAMES: usize = 8;

/// A foreign name or value for a message: `{}` shows it bare, `{:?}` in quotes.
pub fn foreign<T: AsRef<str> + ?Sized>(text: &T) -> Foreign<'_> {
    Foreign(text.as_ref())
}

/// See [`foreign`].
#[derive(Clone, Copy)]
pub struct Foreign<'a>(&'a str);

impl fmt::Display for Foreign<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.char_indices().nth(MOST_CHARS).map_or(self.0, |(end, _)| &self.0[..end]);
        shown.chars().try_for_each(|c| escaped(c, f))?;
        if shown.len() < self.0.len() { write!(f, "… ({} bytes)", self.0.len()) } else { Ok(()) }
    }
}

impl fmt::Debug for Foreign<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Foreign names with commas between, and how many more there are.
pub fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut names = names.into_iter();
    let shown: Vec<String> = names.by_ref().take(MOST_NAMES).map(|name| foreign(name).to_string()).collect();
    let n_more = names.count();
    let shown = shown.join(", ");
    if n_more == 0 { shown } else { format!("{shown} and {n_more} more") }
}

/// A whole message on one line: what is left of foreign control characters is escaped.
pub fn one_line(message: &str) -> Cow<'_, str> {
    if !message.contains(acts) {
        return message.into();
    }
    let mut line = String::with_capacity(message.len() + 16);
    for c in message.chars() {
        // Writing to a string cannot fail.
        let _written = if acts(c) { escaped(c, &mut line) } else { line.write_char(c) };
    }
    line.into()
}

fn escaped(c: char, out: &mut impl fmt::Write) -> fmt::Result {
    if acts(c) { write!(out, "{}", c.escape_default()) } else { out.write_char(c) }
}

/// The first character of `text` that nobody sees: two names that differ by it look the same.
pub fn unseen(text: &str) -> Option<char> {
    text.chars().find(|&c| acts(c))
}

/// Whether a character moves the cursor, turns the direction of text, or is not seen: controls, the separators
/// of lines and paragraphs, and what Unicode calls default ignorable.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_stays_on_its_line_and_is_cut() {
        let check = |text: &str, expect: &str| assert_eq!(foreign(text).to_string(), expect);
        check("bgr8", "bgr8");
        check("a \"b\" \\ Käse 東京", "a \"b\" \\ Käse 東京");
        check("a\n[ERROR] forged\r\x1b[31m\0", "a\\n[ERROR] forged\\r\\u{1b}[31m\\u{0}");
        check("a\u{202e}b\u{200b}c\u{85}", "a\\u{202e}b\\u{200b}c\\u{85}");
        check(&"é".repeat(MOST_CHARS), &"é".repeat(MOST_CHARS));
        let long = foreign(&"é".repeat(1 << 20)).to_string();
        assert_eq!(long, format!("{}… (2097152 bytes)", "é".repeat(MOST_CHARS)));
        assert_eq!(format!("{:?}", foreign("a\nb")), "\"a\\nb\"");
    }

    #[test]
    fn what_nobody_sees_is_found() {
        for name in ["door", "Käse 東京", "a b", "a\u{a0}b", "e\u{301}", "\u{1f6aa}", ""] {
            assert_eq!(unseen(name), None, "{name:?}");
        }
        let unseen_ones = "\n\r\t\0\u{7f}\u{85}\u{ad}\u{200b}\u{200d}\u{200f}\u{2028}\u{202e}\u{2060}\u{2066}\
                           \u{3164}\u{fe0f}\u{feff}\u{e0041}";
        for c in unseen_ones.chars() {
            assert_eq!(unseen(&format!("do{c}or")), Some(c), "{c:?}");
        }
    }

    #[test]
    fn a_list_shows_the_first_names() {
        assert_eq!(list(["a", "b\n"]), "a, b\\n");
        assert_eq!(list(["x"; 10]), "x, x, x, x, x, x, x, x and 2 more");
        assert_eq!(list([]), "");
    }

    #[test]
    fn a_message_is_one_line() {
        assert!(matches!(one_line("as it is: é"), Cow::Borrowed(_)));
        assert_eq!(one_line("a\nb\tc\u{2028}"), "a\\nb\\tc\\u{2028}");
    }
}
