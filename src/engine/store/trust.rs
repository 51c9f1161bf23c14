//! Whom an engine may come from. Engines are machine code, so whoever can put something in the place of one
//! can do what this process can.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

/// Links that a path may lead through, as for the kernel.
const MOST_LINKS: usize = 40;
/// The bit of folders such as /tmp, in which only the owner of a file can replace it.
const STICKY: u32 = 0o1000;
const WRITABLE_BY_GROUP: u32 = 0o020;
const WRITABLE_BY_ALL: u32 = 0o002;

/// Whether nobody but this user and root can change what `path` leads to, or put something else there: it,
/// every folder above it and every link on the way are looked at.
///
/// # Errors
/// What is wrong, with the way out, or that the path leads nowhere.
pub(super) fn check(path: &Path) -> Result<(), String> {
    let failed = |err: std::io::Error| format!("{}: {err}", path.display());
    let absolute = std::path::absolute(path).map_err(failed)?;
    let mut ahead: VecDeque<OsString> = components(&absolute).collect();
    let (mut here, mut n_links) = (PathBuf::from("/"), 0);
    check_above(&here, &fs::symlink_metadata(&here).map_err(failed)?)?;
    while let Some(name) = ahead.pop_front() {
        if name == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&name);
        let about = fs::symlink_metadata(&next).map_err(failed)?;
        if about.is_symlink() {
            check_owner(&next, &about)?;
            n_links += 1;
            if MOST_LINKS < n_links {
                return Err(format!("{}: more than {MOST_LINKS} links on the way", path.display()));
            }
            let target = fs::read_link(&next).map_err(failed)?;
            if target.is_absolute() {
                here = PathBuf::from("/");
            }
            for component in components(&target).rev() {
                ahead.push_front(component);
            }
        } else {
            match ahead.is_empty() {
                true => check_itself(&next, &about)?,
                false => check_above(&next, &about)?,
            }
            here = next;
        }
    }
    Ok(())
}

/// The names of a path, without its root.
fn components(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

fn check_itself(path: &Path, about: &Metadata) -> Result<(), String> {
    check_owner(path, about)?;
    match about.permissions().mode() & (WRITABLE_BY_GROUP | WRITABLE_BY_ALL) {
        0 => Ok(()),
        _ => Err(writable(path)),
    }
}

/// A folder in which others may write lets them put something else in the place of what is there.
fn check_above(path: &Path, about: &Metadata) -> Result<(), String> {
    check_owner(path, about)?;
    let mode = about.permissions().mode();
    let is_open_to_group = mode & WRITABLE_BY_GROUP != 0 && !is_private_group(about.gid());
    match mode & STICKY == 0 && (is_open_to_group || mode & WRITABLE_BY_ALL != 0) {
        true => Err(writable(path)),
        false => Ok(()),
    }
}

fn check_owner(path: &Path, about: &Metadata) -> Result<(), String> {
    let owner = about.uid();
    if owner == 0 || owner == rustix::process::geteuid().as_raw() || is_unmapped(owner) {
        return Ok(());
    }
    Err(format!(
        "{} belongs to user {owner}, and engines hold machine code: only your own and root's are loaded",
        path.display()
    ))
}

fn writable(path: &Path) -> String {
    let path = path.display();
    format!(
        "{path} can be written by others, and engines hold machine code: `chmod go-w {path}` if you trust it"
    )
}

/// Whether a group has nobody but this user: where users have groups of their own, new folders are open to
/// them.
fn is_private_group(group: u32) -> bool {
    let user = rustix::process::geteuid().as_raw();
    group == 0 || (group == user && group == rustix::process::getegid().as_raw())
}

/// In a user namespace without all users, root's files look as if they were of this user.
fn is_unmapped(owner: u32) -> bool {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let overflow = read("/proc/sys/kernel/overflowuid").trim().parse();
    overflow == Ok(owner) && !read("/proc/self/uid_map").split_whitespace().eq(["0", "0", "4294967295"])
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::symlink;

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// `home/engines/engine/manifest.json` after `change`, looked at as `path`.
    fn look(change: impl Fn(&Path), path: &str, expect: &str) {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        fs::create_dir_all(root.join("home/engines/engine")).unwrap();
        fs::write(root.join("home/engines/engine/manifest.json"), "{}").unwrap();
        for folder in ["home", "home/engines", "home/engines/engine"] {
            set_mode(&root.join(folder), 0o755);
        }
        set_mode(&root.join("home/engines/engine/manifest.json"), 0o644);
        change(root);
        let answer = check(&root.join(path)).map_or_else(|why| why, |()| "trusted".into());
        assert!(answer.contains(expect), "{answer} is not {expect}");
    }

    const MANIFEST: &str = "home/engines/engine/manifest.json";

    #[test]
    fn every_folder_above_counts() {
        look(|_| (), MANIFEST, "trusted");
        for folder in ["home", "home/engines", "home/engines/engine"] {
            look(
                |root| set_mode(&root.join(folder), 0o777),
                MANIFEST,
                &format!("{folder} can be written by others"),
            );
            look(|root| set_mode(&root.join(folder), 0o1777), MANIFEST, "trusted");
        }
        look(
            |root| set_mode(&root.join(MANIFEST), 0o666),
            MANIFEST,
            "manifest.json can be written by others",
        );
        look(|root| set_mode(&root.join("home/engines/engine"), 0o775), "home/engines/engine", "`chmod go-w");
        look(|_| (), "home/engines/none", "No such file");
    }

    #[test]
    fn a_link_is_as_good_as_what_it_leads_through() {
        let by_link = |root: &Path| symlink(root.join("home/engines"), root.join("link")).unwrap();
        look(by_link, "link/engine/manifest.json", "trusted");
        look(
            |root| symlink("home/engines/engine", root.join("link")).unwrap(),
            "link/manifest.json",
            "trusted",
        );
        look(
            |root| {
                by_link(root);
                set_mode(&root.join("home"), 0o777);
            },
            "link/engine/manifest.json",
            "home can be written by others",
        );
        look(
            |root| {
                fs::create_dir(root.join("open")).unwrap();
                symlink(root.join("home"), root.join("open/home")).unwrap();
                set_mode(&root.join("open"), 0o777);
            },
            "open/home/engines/engine/manifest.json",
            "open can be written by others",
        );
        look(|root| symlink("loop", root.join("loop")).unwrap(), "loop/manifest.json", "more than 40 links");
        look(|_| (), "home/../home/engines/engine/manifest.json", "trusted");
    }
}
