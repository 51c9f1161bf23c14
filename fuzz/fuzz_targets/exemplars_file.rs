#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pixio_fuzz::run("exemplars_file", data));
