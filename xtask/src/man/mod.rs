//! `cargo xtask man`: the manual, made from what `--help` says and from texts.
//!
//! ```text
//! clap's command lines ────────┐
//! docs/man/PAGE.md ────────────┼─► Page ─► a folder, or the package
//! crates/config/pkram.toml.md ─┘
//! ```

mod command;
mod markdown;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::CommandFactory as _;
use clap_mangen::roff::{Roff, roman};

/// Pages that are a text from end to end: name, section, what it is, where the text lies.
const TEXTS: [(&str, u8, &str, &str); 2] = [
    ("pkram", 7, "memory that outlives its kernel", "docs/man/pkram.7.md"),
    ("pkram.toml", 5, "what is kept over a kexec, and how", "crates/config/pkram.toml.md"),
];

/// What every page refers to, but for itself.
const FAMILY: [(&str, u8); 4] = [("pkram", 7), ("pkram", 8), ("pkramd", 8), ("pkram.toml", 5)];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where
    #[arg(long, value_name = "DIR", default_value = "target/man")]
    out: PathBuf,
}

/// A page of the manual.
pub(crate) struct Page {
    name: String,
    section: u8,
    roff: String,
}

impl Page {
    /// Its file, such as `pkram-kexec.8`.
    pub(crate) fn file(&self) -> String {
        format!("{}.{}", self.name, self.section)
    }

    pub(crate) fn text(&self) -> &str {
        &self.roff
    }

    /// A page with a head and an end like all others. `body` has the sections in between, and may
    /// end with a section SEE ALSO, which then goes on with pkram's own pages.
    fn new(name: &str, section: u8, about: &str, body: &str) -> Self {
        let mut head = Roff::new();
        let date = "";
        let (title, number) = (name.to_uppercase(), section.to_string());
        let source = format!("pkram {}", env!("CARGO_PKG_VERSION"));
        head.control("TH", [title.as_str(), &number, date, &source]);
        head.control("SH", ["NAME"]).text([roman(format!("{name} - {about}"))]);
        // What comes before the first heading belongs to the description, whose heading it has.
        let roff = [head.render(), plain(body), see_also(name, section, body)].concat();
        Self { name: name.to_owned(), section, roff }
    }
}

/// Without the definition that every rendered piece begins with; the head has it.
fn plain(piece: &str) -> String {
    piece.replace(".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n", "")
}

fn see_also(name: &str, section: u8, body: &str) -> String {
    let others = FAMILY.iter().filter(|(n, s)| (*n, *s) != (name, section));
    let others: Vec<_> = others.map(|(name, section)| format!(".BR {name} ({section})")).collect();
    let before = if body.contains("\n.SH \"SEE ALSO\"") { ".PP" } else { ".SH \"SEE ALSO\"" };
    format!("{before}\n{}\n", others.join(",\n"))
}

pub(crate) fn run(args: &Args) -> Result<()> {
    fs::create_dir_all(&args.out).with_context(|| format!("make {}", args.out.display()))?;
    for page in pages()? {
        let path = args.out.join(page.file());
        fs::write(&path, page.text()).with_context(|| format!("write {}", path.display()))?;
    }
    eprintln!("the manual is in {}", args.out.display());
    Ok(())
}

/// All pages.
pub(crate) fn pages() -> Result<Vec<Page>> {
    let root = testbed::workspace()?;
    let mut pkram = pkram_cli::args::Cli::command();
    pkram.build();
    let mut pages = vec![
        command::program(&pkram, &own_text(&root, "pkram.8")?),
        command::program(&pkramd::args::Cli::command(), &own_text(&root, "pkramd.8")?),
    ];
    for verb in command::verbs(&pkram) {
        let text = own_text(&root, &format!("pkram-{}.8", verb.get_name()))?;
        pages.push(command::verb(verb, &text));
    }
    for (name, section, about, file) in TEXTS {
        let path = root.join(file);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let body = format!(".SH DESCRIPTION\n{}", markdown::to_roff(&text));
        pages.push(Page::new(name, section, about, &body));
    }
    Ok(pages)
}

/// What clap does not know; a page may do without.
fn own_text(root: &Path, page: &str) -> Result<String> {
    let path = root.join("docs/man").join(format!("{page}.md"));
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}
