//! Lets the binary find the libtorch that it was linked with, without LD_LIBRARY_PATH.

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    // Without LIBTORCH torch-sys has failed already, with a text that says what to set.
    if let Some(root) = std::env::var_os("LIBTORCH") {
        let root = std::path::PathBuf::from(root);
        let root = root.canonicalize().unwrap_or(root);
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}/lib", root.display());
    }
}
