//! The daemon that holds what is to be kept: its command line, and its store.

#![forbid(unsafe_code)]

pub mod args;
pub mod store;
