//! The eager engine: the tch model, run as it is.
