//! The built mover alone in QEMU, against a model.
//!
//! Each case fills the test machine's memory from outside, lets the mover run from the state in
//! which kexec leaves the processor, and looks at all of memory from outside afterwards.

mod damage;
mod machine;
mod memory;
mod moves;
mod random;
mod scenario;
