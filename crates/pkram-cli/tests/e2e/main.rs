//! The command from end to end: each test has a machine of its own that boots stock kernels.
//!
//! One program, so that as many machines run at once as the tests may have threads.

mod chain;
mod chosen;
mod common;
mod configured;
mod foreign;
mod generations;
mod killed;
mod machines;
mod memory;
mod programs;
mod refusals;
mod region;
mod release;
mod report;
mod reserve;
mod restore;
mod sources;
mod tree;
