//! Binary messages: `[u32 length of the JSON][JSON][bytes]`, little-endian.

use axum::body::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A message of `about` and the `parts` behind it, one after the other.
///
/// # Errors
/// `about` is no JSON.
pub(super) fn join(about: &impl Serialize, parts: &[&[u8]]) -> serde_json::Result<Bytes> {
    let json = serde_json::to_vec(about)?;
    let n_bytes = 4 + json.len() + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut message = Vec::with_capacity(n_bytes);
    message.extend((json.len() as u32).to_le_bytes());
    message.extend(json);
    parts.iter().for_each(|part| message.extend_from_slice(part));
    Ok(message.into())
}

/// The JSON of `message` and the bytes behind it; `None` where it is not framed so.
pub(super) fn split<T: DeserializeOwned>(message: &[u8]) -> Option<(T, &[u8])> {
    let (length, rest) = message.split_first_chunk::<4>()?;
    let (json, bytes) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    Some((serde_json::from_slice(json).ok()?, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_joined_is_split_again() {
        let message = join(&[1, 2], &[b"ab", b"", b"c"]).unwrap();
        assert_eq!(split::<[u8; 2]>(&message), Some(([1, 2], &b"abc"[..])));
    }

    #[test]
    fn a_length_that_is_not_there_splits_nothing() {
        for message in [&b""[..], b"\x01", b"\xff\xff\xff\xff{}", b"\x03\0\0\0{}", b"\x02\0\0\0[]"] {
            assert_eq!(split::<[u8; 1]>(message), None, "{message:?}");
        }
    }
}
