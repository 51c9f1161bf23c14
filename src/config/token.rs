//! What ROS allows between the slashes of a name.

/// Whether `token` can be one part of a name.
///
/// # Errors
/// What is wrong with it.
pub fn check_token(token: &str) -> Result<(), String> {
    match token.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '_') {
        _ if token.is_empty() => Err("there is nothing on one side of a `/`, or nothing at all".into()),
        Some(c) => Err(format!("`{c}` is not a letter, a digit or `_`")),
        None if token.starts_with(|c: char| c.is_ascii_digit()) => {
            Err(format!("`{token}` begins with a digit"))
        }
        // ROS reserves them, and DDS names are built with them.
        None if token.contains("__") => Err(format!("`{token}` has two underscores in a row")),
        None => Ok(()),
    }
}
