//! From sources to a loaded kernel: hold, census, plan, compose, load, jump.
//!
//! ```text
//! Sources ─hold─► Census ─plan─► Layout, moves ─compose─► RegionImage ─stage─► Moves ─load─► jump
//! ```
//!
//! Everything up to the load can be thrown away without a trace; the load can be taken back.

mod compose;
mod costs;
mod draw;
mod next;
mod options;
mod place;
mod prepare;
mod prepared;
mod stage;
mod terms;

pub use costs::Costs;
pub use next::{CmdlineChoice, NextError, NextKernel, NextOptions, NoKernel, load_file};
pub use options::{Options, SaveError};
pub use prepare::{preflight, prepare};
pub use prepared::Prepared;
