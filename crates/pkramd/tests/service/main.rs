//! The service on real Debian systems: our package, stock units, `systemctl kexec`.

mod caches;
mod common;
mod descriptors;
mod failures;
mod killed;
mod reboots;
mod required;
mod users;
