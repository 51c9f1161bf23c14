//! Which CUDA the plug-in is built with: the one whose runtime libtorch's CUDA part loads. Part of the build
//! script, and of the tests.

use std::fs;
use std::path::{Path, PathBuf};

use object::Endianness;
use object::elf::{DT_NEEDED, FileHeader64};
use object::read::ReadCache;
use object::read::elf::{Dyn, FileHeader};

/// What the plug-in is compiled and linked with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Runtime {
    /// Name of the runtime's file, such as `libcudart.so.13`.
    pub(crate) file: String,
    /// The folder that holds this file.
    pub(crate) lib: PathBuf,
    /// The folder of its headers.
    pub(crate) include: PathBuf,
}

/// The CUDA for the libtorch in the folder `lib`, whose headers come with its wheels or are below `toolkit`.
///
/// # Errors
/// Why there can be no plug-in, as a sentence's first half.
pub(crate) fn runtime(lib: &Path, toolkit: &Path) -> Result<Runtime, String> {
    let part = lib.join("libtorch_cuda.so");
    if !part.is_file() {
        return Err("this libtorch has no CUDA part".into());
    }
    let needed = needed(&part).map_err(|err| format!("{} cannot be read: {err}", part.display()))?;
    let found = needed.into_iter().find_map(|file| Some((major(&file)?, file)));
    let Some((major, file)) = found else {
        return Err(format!("{} names no CUDA runtime", part.display()));
    };
    let wheels = lib.join("../../nvidia");
    // From CUDA 13 on one folder holds all of it.
    let roots = [wheels.join(format!("cu{major}")), wheels.join("cuda_runtime"), toolkit.to_owned()];
    let Some(include) = roots.iter().map(|root| root.join("include")).find(|include| is_of(include, major))
    else {
        return Err(format!("this libtorch loads {file}, and CUDA {major}'s headers are not here"));
    };
    let places = roots.iter().flat_map(|root| [root.join("lib"), root.join("lib64")]);
    match [lib.to_owned()].into_iter().chain(places).find(|place| place.join(&file).is_file()) {
        Some(lib) => Ok(Runtime { file, lib, include }),
        None => Err(format!("{file}, which this libtorch loads, is not here")),
    }
}

/// Names of the shared libraries that the one at `file` asks for. Only a few pages of it are read.
fn needed(file: &Path) -> Result<Vec<String>, String> {
    let cache = ReadCache::new(fs::File::open(file).map_err(|err| err.to_string())?);
    let names = || {
        let header = FileHeader64::<Endianness>::parse(&cache)?;
        let endian = header.endian()?;
        let sections = header.sections(endian, &cache)?;
        let Some((entries, strings)) = sections.dynamic(endian, &cache)? else { return Ok(Vec::new()) };
        let strings = sections.strings(endian, &cache, strings)?;
        let needed = entries.iter().filter(|entry| entry.d_tag(endian) == DT_NEEDED);
        needed.map(|entry| Ok(String::from_utf8_lossy(entry.string(endian, strings)?).into_owned())).collect()
    };
    names().map_err(|err: object::Error| err.to_string())
}

/// CUDA's major version in the name of its runtime, which a libtorch that brings it may have given a hash:
/// `libcudart.so.13`, `libcudart-9335f6a2.so.12`.
fn major(file: &str) -> Option<u32> {
    let rest = file.strip_prefix("libcudart")?;
    rest.split_once(".so.")?.1.split('.').next()?.parse().ok()
}

/// Whether the headers in `include` are there, and of CUDA `major`.
fn is_of(include: &Path, major: u32) -> bool {
    let text = fs::read_to_string(include.join("cuda_runtime_api.h")).unwrap_or_default();
    let version = text.lines().find_map(|line| line.strip_prefix("#define CUDART_VERSION"));
    let found = version.and_then(|version| version.trim().parse::<u32>().ok()).map(|version| version / 1000);
    found == Some(major) && include.join("crt/host_defines.h").is_file()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// A shared library without content that asks for `others`, which lie beside it.
    fn library(file: &Path, others: &[&str]) {
        let folder = file.parent().unwrap();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let mut compiler = Command::new("g++");
        compiler.args(["-shared", "-nostdlib", "-Wl,--no-as-needed", "-x", "c++", "/dev/null", "-x", "none"]);
        compiler.arg(format!("-Wl,-soname,{name}")).arg("-o").arg(file).arg("-L").arg(folder);
        compiler.args(others.iter().map(|other| format!("-l:{other}")));
        assert!(compiler.status().unwrap().success());
    }

    fn headers(root: &Path, version: u32) {
        fs::create_dir_all(root.join("include/crt")).unwrap();
        fs::write(root.join("include/crt/host_defines.h"), "").unwrap();
        let text = format!("#define CUDART_VERSION  {version}\n");
        fs::write(root.join("include/cuda_runtime_api.h"), text).unwrap();
    }

    #[test]
    fn the_plugin_takes_the_runtime_that_libtorch_loads_or_none() {
        let site = tempfile::tempdir().unwrap();
        let (lib, toolkit) = (site.path().join("torch/lib"), site.path().join("cuda"));
        fs::create_dir_all(&lib).unwrap();
        let check = |expect: &str| {
            let answer = runtime(&lib, &toolkit).map_or_else(
                |why| why,
                |found| format!("{} of {} with {}", found.file, found.lib.display(), found.include.display()),
            );
            let answer = answer.replace("/torch/lib/../..", "");
            assert_eq!(answer.replace(&site.path().display().to_string(), "SITE"), expect);
        };
        check("this libtorch has no CUDA part");
        library(&lib.join("libtorch_cuda.so"), &[]);
        check("SITE/torch/lib/libtorch_cuda.so names no CUDA runtime");
        library(&lib.join("libcudart.so.12"), &[]);
        library(&lib.join("libtorch_cuda.so"), &["libcudart.so.12"]);
        check("this libtorch loads libcudart.so.12, and CUDA 12's headers are not here");
        headers(&toolkit, 13000);
        check("this libtorch loads libcudart.so.12, and CUDA 12's headers are not here");
        headers(&toolkit, 12060);
        check("libcudart.so.12 of SITE/torch/lib with SITE/cuda/include");
        fs::remove_file(lib.join("libcudart.so.12")).unwrap();
        check("libcudart.so.12, which this libtorch loads, is not here");
        let wheel = site.path().join("nvidia/cu13");
        headers(&wheel, 13000);
        fs::create_dir(wheel.join("lib")).unwrap();
        library(&lib.join("libcudart.so.13"), &[]);
        library(&lib.join("libtorch_cuda.so"), &["libcudart.so.13"]);
        fs::rename(lib.join("libcudart.so.13"), wheel.join("lib/libcudart.so.13")).unwrap();
        check("libcudart.so.13 of SITE/nvidia/cu13/lib with SITE/nvidia/cu13/include");
    }

    #[test]
    fn a_runtime_is_known_by_its_name() {
        let check = |file, expect| assert_eq!(major(file), expect, "{file}");
        check("libcudart.so.13", Some(13));
        check("libcudart-9335f6a2.so.12", Some(12));
        check("libcudart.so.11.0", Some(11));
        check("libcublas.so.13", None);
        check("libcudart.so", None);
    }
}
