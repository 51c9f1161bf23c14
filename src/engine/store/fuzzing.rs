//! Manifests of any bytes, for the fuzzers.
#![expect(clippy::missing_panics_doc, reason = "a panic is what the fuzzers look for")]

use super::manifest::Manifest;

/// `manifest.json` of an engine.
pub fn engine_manifest(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Manifest::parse(text) {
        Ok(manifest) => {
            assert!(manifest.sizes().len() <= manifest.packages.len());
            for package in &manifest.packages {
                // A name that leads out of the folder would be another's file.
                assert!(!package.file.contains('/') && package.file != "..");
            }
        }
        Err(why) => assert!(why.len() < 1 << 20),
    }
}
