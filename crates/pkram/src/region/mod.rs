//! Regions in the next kernel: found by their heads, mounted in place, verified, given back.

mod choose;
pub mod contents;
mod device;
mod discover;
mod dm;
mod handback;
mod mount;
pub mod mountinfo;
mod release;
mod users;

pub use choose::RegionError;
pub use device::{Device, DeviceError, devices};
pub use discover::{DamagedReason, DamagedSpan, Discovered, Region, Span, discover};
pub use handback::HandBackError;
pub(crate) use mount::part;
pub use mount::{MountError, Mounted, find_mounted, mount, mount_read_only};
pub use release::{ReleaseError, Released, finish, given_back, release, release_remains};
pub(crate) use release::{release_span, returns, wake_all};
pub use users::{Use, User, Users};
