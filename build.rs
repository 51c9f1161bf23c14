//! Compiles the C++ that libtorch's C interface lacks and the C around libjpeg (`src/ffi`), and lets
//! the binary find the libtorch that it was linked with, without LD_LIBRARY_PATH. Refuses patched crates that
//! are older than `patches/`.
//!
//! What needs CUDA becomes a shared object of its own beside the binary, opened at run time where there is a
//! GPU: one binary serves both kinds of machine, and neither a GPU nor a CUDA toolkit is needed to build it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

mod build_cuda;
#[path = "patches/crate_patches/is_applied.rs"]
mod crate_patches;

const SOURCES: &str = "src/ffi";
const PLUGIN: &str = "libpixio_cuda.so";

fn main() -> ExitCode {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build_cuda.rs");
    println!("cargo:rerun-if-changed={SOURCES}");
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    println!("cargo:rerun-if-env-changed=CUDA_HOME");
    for path in crate_patches::watched() {
        println!("cargo:rerun-if-changed={path}");
    }
    if let Err(err) = crate_patches::check() {
        eprintln!("{err}");
        return ExitCode::FAILURE;
    }
    // Set by torch-sys, which has failed already where there is no libtorch, with a text that says what to
    // do.
    let Some(lib) = env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from) else {
        eprintln!("torch-sys does not say where libtorch is");
        return ExitCode::FAILURE;
    };
    let lib = lib.canonicalize().unwrap_or(lib);
    // The path holds Python's version: where another Python's libtorch takes its place, this one is gone.
    println!("cargo:rerun-if-changed={}", lib.join("libtorch.so").display());
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    let include = lib.join("../include");
    let sources = ["package.cpp", "onednn.cpp", "int8.cpp"].map(|name| format!("{SOURCES}/{name}"));
    compiler(&include).files(sources).compile("pixio_shim");
    jpeg();
    plugin(&lib, &include)
}

/// Compiles the reader of JPEG files, with libjpeg inside where it is there as an archive: then a packed
/// binary needs no package for it.
#[expect(clippy::disallowed_methods, reason = "a build script blocks no signals")]
fn jpeg() {
    let mut build = cc::Build::new();
    build.file(format!("{SOURCES}/jpeg.c")).std("gnu11").extra_warnings(true).compile("pixio_jpeg");
    let mut find = build.get_compiler().to_command();
    let found = find.arg("-print-file-name=libjpeg.a").output();
    let archive = found.ok().and_then(|found| String::from_utf8(found.stdout).ok()).map(PathBuf::from);
    // A file that it has not found is printed as it was given.
    match archive.as_deref().and_then(Path::parent).filter(|folder| folder.is_absolute()) {
        Some(folder) => {
            println!("cargo:rustc-link-search=native={}", folder.display());
            println!("cargo:rustc-link-lib=static:-bundle=jpeg");
        }
        None => println!("cargo:rustc-link-lib=jpeg"),
    }
}

fn compiler(include: &Path) -> cc::Build {
    let mut build = cc::Build::new();
    // Its headers are not ours to mend.
    build
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .include(include)
        .include(include.join("torch/csrc/api/include"));
    build
}

/// Builds the CUDA part when this libtorch has one, and the CUDA that it needs is here.
fn plugin(lib: &Path, include: &Path) -> ExitCode {
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    // target/PROFILE/build/pixio_node-HASH/out
    let Some(profile) = out.ancestors().nth(3) else { return ExitCode::FAILURE };
    let file = profile.join(PLUGIN);
    let toolkit = env::var_os("CUDA_HOME").map_or_else(|| PathBuf::from("/usr/local/cuda"), PathBuf::from);
    let cuda = match build_cuda::runtime(lib, &toolkit) {
        Ok(cuda) => cuda,
        Err(why) => {
            println!("cargo:warning={why}: there is no {PLUGIN}, the node will run on the CPU alone");
            // One for another libtorch would be opened and not fit. That there is none is no failure.
            let _absent = std::fs::remove_file(file);
            return ExitCode::SUCCESS;
        }
    };
    let mut build = compiler(include);
    let mut command = build.include(cuda.include).pic(true).get_compiler().to_command();
    command.arg("-shared").arg("-o").arg(&file).arg(format!("{SOURCES}/cuda.cpp"));
    command.args(["-ltorch_cuda", "-lc10_cuda", "-ltorch_cpu", "-lc10"]).arg(format!("-l:{}", cuda.file));
    for runtime in [lib, &cuda.lib] {
        command.arg("-L").arg(runtime).arg(format!("-Wl,-rpath,{}", runtime.display()));
    }
    match command.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        failed => {
            eprintln!("{PLUGIN} cannot be built: {failed:?}");
            ExitCode::FAILURE
        }
    }
}
