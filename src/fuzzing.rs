//! What the fuzzers run (`fuzz/`): a function for each kind of input from outside. Whatever the bytes are,
//! none may panic, and memory and time stay in proportion to them. The corpora run as an ordinary test.

use crate::config::files::params_yaml;
use crate::engine::store::fuzzing::engine_manifest;
use crate::exemplars::fuzzing::{clicks_file, exemplars_file};
use crate::heads::fuzzing::head_file;
use crate::live::fuzzing::page_message;
use crate::pixio::fuzzing::{config_json, safetensors_header};
use crate::ros::fuzzing::{camera_info, cdr, ros_arguments};
use crate::stages::fit::fuzzing::{image_file, raw_frame};

/// A target: its name, which its corpus has too, and what is done with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 13] = [
    ("image_file", image_file),
    ("raw_frame", raw_frame),
    ("camera_info", camera_info),
    ("cdr", cdr),
    ("ros_arguments", ros_arguments),
    ("params_yaml", params_yaml),
    ("config_json", config_json),
    ("safetensors_header", safetensors_header),
    ("head_file", head_file),
    ("exemplars_file", exemplars_file),
    ("clicks_file", clicks_file),
    ("engine_manifest", engine_manifest),
    ("page_message", page_message),
];

/// Runs the target of that name.
///
/// # Panics
/// There is none, or the input has found a fault.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    assert!(target.is_some(), "there is no target {name}");
    target.into_iter().for_each(|(_, run)| run(data));
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// A linear congruential generator, so that a failure comes again.
    struct Random(u64);

    impl Random {
        fn below(&mut self, n: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as usize % n.max(1)
        }
    }

    /// The files of a target's corpus, by name.
    fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
        let entries = fs::read_dir(&folder).unwrap_or_else(|err| panic!("{}: {err}", folder.display()));
        let mut files: Vec<_> = entries
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap()))
            .collect();
        files.sort();
        files
    }

    #[test]
    fn every_corpus_runs_whole_cut_and_damaged() {
        for (name, run) in TARGETS {
            let (files, mut random) = (corpus(name), Random(7));
            assert!(files.len() > 3, "{name} has a corpus of {} files", files.len());
            for (_, data) in &files {
                run(data);
                for _ in 0..40 {
                    let mut damaged = data[..random.below(data.len() + 1)].to_vec();
                    for _ in 0..random.below(4).min(damaged.len()) {
                        let at = random.below(damaged.len());
                        damaged[at] = random.below(256) as u8;
                    }
                    run(&damaged);
                }
            }
        }
    }

    #[test]
    fn every_target_has_a_program_and_a_corpus_and_no_other_has() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        let names = |folder: &str| {
            let entries = fs::read_dir(fuzz.join(folder)).unwrap().map(|entry| entry.unwrap().path());
            let mut names: Vec<String> =
                entries.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
            names.sort();
            names
        };
        let mut expect: Vec<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
        expect.sort();
        assert_eq!(names("corpus"), expect);
        assert_eq!(names("fuzz_targets"), expect);
    }
}
