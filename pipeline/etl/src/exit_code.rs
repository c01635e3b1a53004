//! Exit codes that programs have in common, beside 0 and 1.

/// Wrong usage, the same code as clap's for arguments that it does not understand.
pub const WRONG_USAGE: u8 = 2;

/// Rows were rejected beyond what the settings allow, or another gate was red.
pub const GATE_RED: u8 = 3;

/// Another run holds the corpus.
pub const CORPUS_HELD: u8 = 4;

/// A signal has ended the run: 128 + 2, as shells have it.
pub const INTERRUPTED: u8 = 130;
