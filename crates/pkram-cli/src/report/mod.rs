//! How a report is shown.
//!
//! ```text
//! pkram::report::Report ─┬─► text        for terminals
//!                        ├─► JSON        as it is (`answer`)
//!                        ├─► html        one page: blackout.rs and memory.rs draw its pictures
//!                        └─► prometheus  for node_exporter's textfile collector
//! ```

mod blackout;
pub(crate) mod html;
mod memory;
pub(crate) mod prometheus;
#[cfg(test)]
mod sample;
mod svg;
mod tables;
pub(crate) mod text;
mod words;
