//! What each command does, from checked configuration to exit code.
