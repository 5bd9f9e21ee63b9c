//! What the guest and the host must agree on: the agent protocol.
//!
//! The program of this crate is PID 1 in the test machines; this library is the part that the
//! host links as well, so that both ends of the line are made from the same types.

#![forbid(unsafe_code)]

pub mod protocol;
