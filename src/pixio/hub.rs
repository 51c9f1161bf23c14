//! The local cache of Hugging Face: the folder that `hf download` uses, by the variables and defaults of
//! huggingface_hub (`constants.py`).

use std::path::PathBuf;

/// Reads an environment variable.
pub(super) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The folder that holds `models--ORG--NAME`.
pub(super) fn cache(env: Env<'_>) -> PathBuf {
    let set = |name: &str| env(name).filter(|value| !value.is_empty());
    let expanded = |text: String| PathBuf::from(expand_variables(&expand_home(&text, env), env));
    if let Some(cache) = set("HF_HUB_CACHE").or_else(|| set("HUGGINGFACE_HUB_CACHE")) {
        return expanded(cache);
    }
    let default = || {
        let cache = set("XDG_CACHE_HOME").unwrap_or_else(|| "~/.cache".into());
        expanded(cache).join("huggingface")
    };
    let home = set("HF_HOME").map_or_else(default, expanded);
    home.join("hub")
}

/// `~` and `~/…` as the user's home, as Python's `os.path.expanduser`; other users' homes stay as they are.
fn expand_home(text: &str, env: Env<'_>) -> String {
    match (text.strip_prefix('~'), env("HOME")) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
            format!("{}{rest}", home.trim_end_matches('/'))
        }
        _ => text.to_owned(),
    }
}

/// `$NAME` and `${NAME}` as their values, as Python's `os.path.expandvars`; what is not set stays as it is.
fn expand_variables(text: &str, env: Env<'_>) -> String {
    let (mut expanded, mut rest) = (String::new(), text);
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        rest = &rest[at..];
        let (name, n_bytes) = variable(&rest[1..]);
        match env(name).filter(|_| !name.is_empty()) {
            Some(value) => expanded.push_str(&value),
            None => expanded.push_str(&rest[..=n_bytes]),
        }
        rest = &rest[1 + n_bytes..];
    }
    expanded + rest
}

/// The name that `text`, behind a `$`, begins with, and the bytes that it takes, braces included.
fn variable(text: &str) -> (&str, usize) {
    if let Some((name, _)) = text.strip_prefix('{').and_then(|text| text.split_once('}')) {
        return (name, name.len() + 2);
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    (&text[..end], end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(variables: &[(&str, &str)], expect: &str) {
        let env = |name: &str| {
            let given = [("HOME", "/home/u")].iter().chain(variables).rev().find(|(known, _)| *known == name);
            given.map(|(_, value)| (*value).to_owned())
        };
        assert_eq!(cache(&env), PathBuf::from(expect), "{variables:?}");
    }

    #[test]
    fn the_cache_is_where_huggingface_hub_has_it() {
        check(&[], "/home/u/.cache/huggingface/hub");
        check(&[("XDG_CACHE_HOME", "/c")], "/c/huggingface/hub");
        check(&[("XDG_CACHE_HOME", "~/c"), ("HF_HOME", "")], "/home/u/c/huggingface/hub");
        check(&[("HF_HOME", "/hf"), ("XDG_CACHE_HOME", "/c")], "/hf/hub");
        check(&[("HF_HOME", "~/hf")], "/home/u/hf/hub");
        check(&[("HF_HOME", "$HOME/hf")], "/home/u/hf/hub");
        check(&[("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HOME", "/hf")], "/old");
        check(
            &[("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HUB_CACHE", "${DATA}/hub"), ("DATA", "/d")],
            "/d/hub",
        );
    }

    #[test]
    fn what_is_not_set_stays_as_it_is() {
        check(&[("HF_HUB_CACHE", "/a/$NONE/${NONE}/b$")], "/a/$NONE/${NONE}/b$");
        check(&[("HF_HUB_CACHE", "/a/$/${}/${HOME")], "/a/$/${}/${HOME");
        check(&[("HF_HUB_CACHE", "~other/hub")], "~other/hub");
        check(&[("HF_HUB_CACHE", "/a~/$HOMER")], "/a~/$HOMER");
        check(&[("HF_HUB_CACHE", "/é/${HOME}é")], "/é//home/ué");
    }
}
