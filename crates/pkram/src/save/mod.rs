//! From sources to a loaded kernel: hold, census, plan, compose, load, jump.
//!
//! ```text
//! Sources ─hold─► Census ─plan─► Layout, moves ─compose─► RegionImage ─stage─► Moves ─load─► jump
//! ```
//!
//! Everything up to the load can be thrown away without a trace; the load can be taken back.

mod compose;
mod next;
mod place;
mod prepare;
mod stage;

pub use next::{CmdlineChoice, NextError, NextKernel, NextOptions};
pub use prepare::{Options, Prepared, SaveError, prepare};
