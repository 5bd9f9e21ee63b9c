//! The command line of `pkram`: for the program, and for what is made from it, man pages and
//! completions.

#![forbid(unsafe_code)]

pub mod args;
