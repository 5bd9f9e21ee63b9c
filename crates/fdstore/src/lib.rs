//! Hands open memory to pkramd, which keeps it across kexec, and gets it back in the next kernel.
//!
//! ```text
//! service ── FDSTORE=1, FDNAME=cache, descriptors ──► /run/pkram/notify       as sd_notify(3) speaks;
//!         ◄── LISTEN_FDS, LISTEN_FDNAMES ── pkram take                        no answer
//!
//! Client ─── FDSTORE, FDTAKE, FDLIST, … ────────────► /run/pkram/store.sock   each message with
//!        ◄── OK=1, descriptors, FDNAMES=cache ───────                         an answer
//! ```
//!
//! There is one format of messages, that of `sd_notify(3)`: lines `KEY=VALUE`, with descriptors
//! beside them as `SCM_RIGHTS`. A program that speaks it needs nothing of this crate.
//!
//! | message | descriptors | what it does |
//! |---|---|---|
//! | `FDSTORE=1`, `FDNAME=name` | to store, 1 to 253 | keeps them under the name; without one they are `stored` |
//! | `FDSTOREREMOVE=1`, `FDNAME=name` | | drops all of that name |
//! | `FDTAKE=1`, perhaps `FDNAME=name` | back, in the answer | all, or those of that name; they stay in the store |
//! | `FDLIST=1` | | names and sizes, without the descriptors |
//! | `BARRIER=1` | one | closed when everything before it is done, as `sd_notify_barrier(3)` has it |
//!
//! Of an answer the first line is `OK=1` or `ERROR=text`. Where it brings descriptors or sizes,
//! `FDNAMES=a:b:c` names them, as `LISTEN_FDNAMES` does; `FDSIZES=1:2:3` has the sizes in bytes;
//! and `MORE=1` says that another packet follows, because one carries at most 253 descriptors and
//! 4096 bytes.
//!
//! What can be kept is memory: memfds, and files on tmpfs and hugetlbfs. A service gets back only
//! its own; who may hand over how much stands in `/etc/pkram/pkram.toml`.
//!
//! ```no_run
//! use fdstore::Client;
//! # use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pkramd = Client::connect()?;
//! let cache = match pkramd.take("cache")? {
//!     Some(kept) => kept,
//!     None => {
//!         let new = memfd_create("cache", MemfdFlags::CLOEXEC)?;
//!         ftruncate(&new, 64 << 20)?;
//!         pkramd.put("cache", &new)?;
//!         new
//!     }
//! };
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

pub mod answer;
mod client;
mod name;
pub mod packet;
pub mod request;
pub mod server;

pub use client::{Client, ClientError, Kept, TIMEOUT};
pub use name::{Name, NameError};

/// Where services send what they would send to systemd: datagrams, without an answer.
pub const NOTIFY_SOCKET: &str = "/run/pkram/notify";

/// Where [`Client`] connects: sequenced packets, each with an answer.
pub const STORE_SOCKET: &str = "/run/pkram/store.sock";
