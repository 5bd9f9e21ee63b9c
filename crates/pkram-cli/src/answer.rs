//! What a verb answers: one JSON object, or text for people.

use serde::Serialize;
use std::fmt::Display;
use std::io::{self, Write as _};

/// Version of the JSON answers' shapes.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Versioned<'a, T> {
    version: u32,
    #[serde(flatten)]
    answer: &'a T,
}

/// Prints an answer on stdout.
pub(crate) fn print<T: Serialize + Display>(json: bool, answer: &T) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, &Versioned { version: VERSION, answer })?;
        writeln!(out)?;
    } else {
        write!(out, "{answer}")?;
    }
    out.flush()
}
