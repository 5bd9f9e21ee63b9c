//! The man page: what clap knows of the command, then the sections that it knows nothing of.
//!
//! ```text
//! args ─► options and verbs ─┐
//! docs/man/sections.roff ────┴─► docs/man/pkram.8, committed; `cargo xtask man` writes it anew
//! ```

use crate::args::Cli;
use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::io;

/// Makes the test write the page instead of comparing it.
const WRITE: &str = "PKRAM_WRITE_MAN";

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/man/pkram.8");
const SECTIONS: &str = include_str!("../../../docs/man/sections.roff");

/// What every piece that clap_mangen renders begins with; once is enough.
const APOSTROPHES: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

fn page() -> io::Result<String> {
    let command = Cli::command();
    let man = Man::new(command.clone());
    let mut body = Vec::new();
    man.render_name_section(&mut body)?;
    man.render_synopsis_section(&mut body)?;
    man.render_description_section(&mut body)?;
    man.render_options_section(&mut body)?;
    Roff::new().control("SH", ["VERBS"]).to_writer(&mut body)?;
    for verb in command.get_subcommands() {
        write_verb(verb, &mut body)?;
    }
    let body = String::from_utf8(body).map_err(io::Error::other)?.replace(APOSTROPHES, "");
    let title = format!(".TH PKRAM 8 \"\" \"pkram {}\"\n", env!("CARGO_PKG_VERSION"));
    Ok([APOSTROPHES, &title, &body, SECTIONS].concat())
}

/// One verb: how it is called, what it does, its own options.
fn write_verb(verb: &Command, body: &mut Vec<u8>) -> io::Result<()> {
    let name = verb.get_name();
    let usage = verb.clone().bin_name(format!("pkram {name}")).render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim_end();
    let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
    Roff::new()
        .control("SS", [name])
        .text([bold(usage)])
        .control("PP", [])
        .text([roman(format!("{about}."))])
        .to_writer(body)?;
    if verb.get_arguments().any(|argument| !argument.is_hide_set()) {
        let mut options = Vec::new();
        Man::new(verb.clone()).render_options_section(&mut options)?;
        let options = String::from_utf8(options).map_err(io::Error::other)?;
        body.extend(options.replace(".SH OPTIONS\n", "").as_bytes());
    }
    Ok(())
}

#[test]
fn the_committed_page_is_current() -> io::Result<()> {
    let now = page()?;
    if std::env::var_os(WRITE).is_some() {
        return std::fs::write(PAGE, now);
    }
    let committed = std::fs::read_to_string(PAGE)?;
    assert!(committed == now, "docs/man/pkram.8 is out of date; run `cargo xtask man`");
    Ok(())
}
