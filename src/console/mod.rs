//! What the process says on stdout and stderr, and how it ends in a hurry. Nothing else prints.

mod stderr;
pub mod stdout;

pub use stderr::{announce_losses, cut, flush, say};

/// Ends the process at once with `code`, after what waits for stderr. Destructors do not run: those of
/// libtorch would take away what other threads still compute with.
pub fn exit_now(code: u8) -> ! {
    flush();
    signal_hook::low_level::exit(code.into())
}
