//! The files of the page, which are part of the program.

/// A file of the page.
#[derive(Debug)]
pub(super) struct Asset {
    /// Where it is served.
    pub(super) path: &'static str,
    pub(super) media_type: &'static str,
    pub(super) text: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The page itself.
pub(super) const PAGE: Asset = Asset { path: "/", media_type: HTML, text: include_str!("page/index.html") };

macro_rules! scripts {
    ($($name:literal),* $(,)?) => {
        [
            Asset { path: "/live.css", media_type: CSS, text: include_str!("page/live.css") },
            $(Asset {
                path: concat!("/scripts/", $name),
                media_type: SCRIPT,
                text: include_str!(concat!("page/scripts/", $name)),
            }),*
        ]
    };
}

/// What the page loads.
pub(super) const ASSETS: &[Asset] = &scripts![
    "cloud.js",
    "confirm.js",
    "connection.js",
    "feeds.js",
    "figures.js",
    "frame.js",
    "geometry.js",
    "main.js",
    "maps.js",
    "notices.js",
    "palette.js",
    "panel.js",
    "points.js",
    "protocol.js",
    "similarity.js",
    "sources.js",
    "strokes.js",
    "teaching.js",
    "view.js"
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_page_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/live/page/scripts");
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = format!("/scripts/{}", entry.unwrap().file_name().into_string().unwrap());
            assert!(ASSETS.iter().any(|asset| asset.path == path), "{path} is missing in ASSETS");
        }
    }
}
