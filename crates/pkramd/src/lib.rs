//! The daemon that holds what is to be kept.

#![forbid(unsafe_code)]

pub mod store;
