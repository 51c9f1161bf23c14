//! Names of classes.

use crate::text::{foreign, unseen};

/// Most bytes of a class's name.
const MOST_NAME_BYTES: usize = 256;

/// `name` without the spaces around it.
///
/// # Errors
/// No name for a class.
pub(super) fn checked_name(name: &str) -> Result<&str, String> {
    if MOST_NAME_BYTES < name.len() {
        return Err(format!(
            "a class's name has {} bytes, and at most {MOST_NAME_BYTES} are taken",
            name.len()
        ));
    }
    if let Some(c) = unseen(name) {
        return Err(format!(
            "the class name {:?} has the character U+{:04X}, which cannot be seen: leave it out",
            foreign(name),
            u32::from(c)
        ));
    }
    match name.trim() {
        "" => Err("a class needs a name".to_owned()),
        name => Ok(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_can_be_seen() {
        assert_eq!(checked_name(" the door\u{3000}"), Ok("the door"));
        assert_eq!(checked_name("Tür 扉"), Ok("Tür 扉"));
        let check = |name: &str, expect: &str| {
            let answer = checked_name(name).unwrap_err();
            assert!(answer.contains(expect) && answer.len() < 400, "{answer}");
        };
        check("", "a class needs a name");
        check(" \u{a0}\u{3000} ", "a class needs a name");
        check(&"x".repeat(1 << 20), "1048576 bytes, and at most 256");
        check(
            "do\u{200b}or",
            "the class name \"do\\u{200b}or\" has the character U+200B, which cannot be seen",
        );
        for (name, character) in [
            ("a\u{1b}[31m", "U+001B"),
            ("door\n", "U+000A"),
            ("\t", "U+0009"),
            ("\u{feff}door", "U+FEFF"),
            ("do\u{ad}or", "U+00AD"),
            ("\u{202e}rood", "U+202E"),
        ] {
            check(name, &format!("has the character {character}, which cannot be seen: leave it out"));
        }
    }
}
