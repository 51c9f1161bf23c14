//! Open files that this process may have. The usual soft limit of 1024 is for programs that use `select`;
//! this one does not.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Sees to it that `needed` files can be open at once, by raising the soft limit as far as that.
///
/// # Errors
/// The hard limit is lower; the text says how to raise it.
pub fn make_room(needed: u64) -> Result<(), String> {
    let limits = getrlimit(Resource::Nofile);
    if limits.current.is_none_or(|current| needed <= current) {
        return Ok(());
    }
    let raised = Rlimit { current: Some(needed), maximum: limits.maximum };
    if limits.maximum.is_none_or(|most| needed <= most) && setrlimit(Resource::Nofile, raised).is_ok() {
        return Ok(());
    }
    let most = limits.maximum.map_or_else(|| "the limit".to_owned(), |most| most.to_string());
    Err(format!(
        "about {needed} files and sockets will be open, and this process may have {most}: raise the hard \
         limit (ulimit -Hn, LimitNOFILE= of systemd, --ulimit nofile= of docker), or \
         run fewer cameras in one node"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_raised_as_far_as_needed_and_no_further_than_allowed() {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let (Some(current), Some(most)) = (current, maximum) else { return };
        make_room(8).unwrap();
        assert_eq!(getrlimit(Resource::Nofile).current, Some(current));
        if current < most {
            make_room(current + 1).unwrap();
            assert_eq!(getrlimit(Resource::Nofile).current, Some(current + 1));
        }
        let answer = make_room(most + 1).unwrap_err();
        assert!(answer.contains(&format!("this process may have {most}: raise the hard limit")), "{answer}");
    }
}
