//! Keeps chosen memory alive across kexec on stock Linux kernels.
//!
//! ```text
//! source ─► hold ─► census ─► plan ─► compose ─► load ─► jump ─► mover ─► boot ─► discover ─► mount
//! ```
//!
//! | module | step |
//! |---|---|
//! | [`nodes`] | what to keep: named nodes of objects, by the program's own word |
//! | [`source`] | what to keep: trees, memfds, SysV segments, as the user names them |
//! | [`configured`] | what to keep, and into which kernel, as `pkram.toml` says it |
//! | [`preflight`] | would it work, and why not |
//! | [`census`] | hold: pins; census: which page lies where; the last look |
//! | [`save`] | plan, compose, stage, load, jump |
//! | [`reserve`] | memory that is kept out of RAM from boot on |
//! | [`region`] | in the next kernel: discover, mount, verify, release |
//! | [`arrivals`] | there: what became of the sources of `pkram.toml` |
//! | [`report`] | where the blackout went, how memory lies; [`history`]: of the last kexecs |
//! | [`loaded`] | there: nodes by name, their objects as files and mappings |
//!
//! Before the jump every error leaves the old system as it was. After it nothing that does not
//! check out is ever changed.

#![deny(unsafe_code)]

pub mod ages;
pub mod arrivals;
mod attributes;
pub mod census;
pub mod configured;
pub mod filesystem;
pub mod handover;
pub mod head;
pub mod history;
pub mod holder;
mod klog;
pub mod loaded;
pub mod machine;
pub mod manifest;
pub mod marks;
pub mod memory;
pub mod nodes;
mod pagemap;
pub mod picture;
mod platform;
pub mod preflight;
pub mod progress;
pub mod region;
pub mod report;
pub mod reserve;
pub mod restore;
pub mod save;
pub mod source;
mod staging;
#[expect(unsafe_code, reason = "the only place for it")]
mod sys;
mod workers;

pub use kexec::preflight::{Obstacle, is_loaded, obstacles};
pub use kexec::sys::unload;
pub use sys::tsc;
