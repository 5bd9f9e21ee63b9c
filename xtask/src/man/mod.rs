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
        let (title, number) = (name.to_uppercase(), section.to_string());
        let source = format!("pkram {}", env!("CARGO_PKG_VERSION"));
        head.control("TH", [title.as_str(), &number, "", &source]);
        head.control("SH", ["NAME"]).text([roman(format!("{name} - {about}"))]);
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
    let [mut pkram, mut pkramd] = [pkram_cli::args::Cli::command(), pkramd::args::Cli::command()];
    pkram.build();
    pkramd.build();
    let mut pages = vec![
        command::program(&pkram, &own_text(&root, "pkram.8")?),
        command::whole(&pkramd, &own_text(&root, "pkramd.8")?),
    ];
    for verb in command::verbs(&pkram) {
        let text = own_text(&root, &format!("pkram-{}.8", verb.get_name()))?;
        pages.push(command::whole(verb, &text));
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::process::Command;

    #[test]
    fn each_text_belongs_to_a_page() {
        let pages: BTreeSet<_> = pages().unwrap().iter().map(Page::file).collect();
        for entry in fs::read_dir(testbed::workspace().unwrap().join("docs/man")).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let page = name.strip_suffix(".md").unwrap_or(&name);
            assert!(pages.contains(page), "{name} belongs to none of {pages:?}");
        }
    }

    #[test]
    fn pages_refer_to_pages_that_are_there() {
        let pages = pages().unwrap();
        let files: BTreeSet<_> = pages.iter().map(Page::file).collect();
        for page in &pages {
            for word in page.text().replace("\\fB", " ").replace("\\fR(", "(").split_whitespace() {
                let word = word.replace('\\', "");
                if let Some((name, rest)) = word.split_once('(')
                    && name.starts_with("pkram")
                    && let Some((section, _)) = rest.split_once(')')
                {
                    assert!(
                        files.contains(&format!("{name}.{section}")),
                        "{}: {word}",
                        page.file()
                    );
                }
            }
        }
    }

    #[test]
    fn man_formats_all_pages_and_whatis_finds_them() {
        let folder = tempfile::tempdir().unwrap();
        for page in pages().unwrap() {
            let path = folder.path().join(page.file());
            fs::write(&path, page.text()).unwrap();
            // As lintian calls it.
            let man = Command::new("man")
                .args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"])
                .arg(&path)
                .env("LC_ALL", "C.UTF-8")
                .env("MANROFFSEQ", "")
                .env("MANWIDTH", "80")
                .output();
            let Ok(man) = man else {
                assert!(std::env::var_os("PKRAM_TEST_REQUIRE").is_none(), "man-db is missing");
                return eprintln!("skipped: man-db is missing");
            };
            let warned = String::from_utf8_lossy(&man.stderr);
            assert!(man.status.success() && warned.is_empty(), "{}: {warned}", page.file());
            assert!(page.text().contains(".SH EXAMPLES\n") || page.section == 7, "{}", page.file());
            let found = Command::new("lexgrog").arg(&path).output().unwrap();
            let found = String::from_utf8(found.stdout).unwrap();
            assert!(found.contains(&format!("\"{} - ", page.name)), "{}: {found}", page.file());
        }
    }
}
