//! Regions in the next kernel: found by their heads, mounted in place, verified, given back.

pub mod contents;
mod device;
mod discover;
mod dm;
mod mount;
mod release;

pub use device::{Device, DeviceError, devices};
pub use discover::{DamagedReason, DamagedSpan, Discovered, Region, RegionError, Span, discover};
pub use mount::{MountError, Mounted, find_mounted, mount, mount_read_only};
pub use release::{ReleaseError, Released, release};
