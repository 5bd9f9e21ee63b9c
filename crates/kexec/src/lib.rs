//! The loader: from a plan and a kernel file to a next kernel that is ready to be entered.
//!
//! ```text
//! vmlinuz ─► BzImage ─┐
//! old kernel's facts ─┼─► Boot ─► BootBlock ─┐   staged in pinned pages, moved into place last
//! next memory map ────┘                      ├─► Moves ─► Scene::check ─► list pages
//! plan (what moves where) ───────────────────┘                               │
//! identity tables, mover ─► the mover segment, the only kexec segment ◄──────┘─► load ─► jump
//! ```
//!
//! All but [`sys`] and the readers of `/proc` and `/sys` is pure computation on bytes and
//! addresses.

#![deny(unsafe_code)]

pub mod acpi;
pub mod boot_block;
pub mod boot_params;
mod bytes;
pub mod bzimage;
pub mod check;
pub mod cmdline;
pub mod e820;
pub mod efi;
pub mod files;
pub mod identity;
pub mod image;
pub mod initrd;
pub mod installed;
pub mod mover_segment;
pub mod moves;
pub mod nextkernel;
pub mod parts;
pub mod placeholder;
pub mod preflight;
pub mod setup_data;
#[allow(unsafe_code)]
pub mod sys;
pub mod uki;

pub use boot_block::{Boot, BootBlock};
pub use boot_params::OldBootParams;
pub use bzimage::BzImage;
pub use check::Scene;
pub use image::KexecImage;
pub use mover_segment::MoverSegment;
pub use moves::Moves;
