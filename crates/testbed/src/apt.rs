//! A private apt: any Debian suite, without touching this machine's own package state.
//!
//! Indexes are checked against Debian's archive signatures and packages against the indexes, by
//! apt itself. The mirror is the one that this machine uses already.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run::run;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// One suite, with indexes of its own.
#[derive(Debug)]
pub(crate) struct Apt {
    config: PathBuf,
}

impl Apt {
    /// Fetches the indexes of `suite` into `folder`.
    pub(crate) fn open(folder: &Path, suite: &str) -> Result<Self> {
        for part in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(part))?;
        }
        fs::write(folder.join("status"), "")?;
        fs::write(folder.join("sources.list"), source(suite)? + "\n")?;
        let config = folder.join("apt.conf");
        let at = folder.display();
        fs::write(
            &config,
            format!(
                "Dir::State \"{at}/state\";\n\
                 Dir::State::status \"{at}/status\";\n\
                 Dir::Cache \"{at}/cache\";\n\
                 Dir::Etc::sourcelist \"{at}/sources.list\";\n\
                 Dir::Etc::sourceparts \"-\";\n\
                 APT::Architecture \"amd64\";\n\
                 APT::Install-Recommends \"false\";\n\
                 APT::Sandbox::User \"\";\n\
                 Acquire::Languages \"none\";\n\
                 Acquire::Retries \"3\";\n"
            ),
        )?;
        let apt = Self { config };
        run(apt.tool("apt-get").arg("update"))
            .with_context(|| format!("fetch the package index of {suite}"))?;
        Ok(apt)
    }

    /// The names that a package depends on, without versions and alternatives.
    pub(crate) fn depends(&self, package: &str) -> Result<Vec<String>> {
        let text = run(self.tool("apt-cache").args(["show", "--no-all-versions", package]))?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("Depends: "))
            .with_context(|| format!("package {package} depends on nothing"))?;
        Ok(line
            .split(", ")
            .filter_map(|one| one.split([' ', '|']).next())
            .map(str::to_owned)
            .collect())
    }

    /// Downloads exactly these packages into `folder`.
    pub(crate) fn download(&self, packages: &[String], folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        run(self.tool("apt-get").arg("download").args(packages).current_dir(folder)).map(drop)
    }

    /// Downloads these packages and everything that they depend on into `folder`.
    pub(crate) fn download_closure(&self, packages: &[String], folder: &Path) -> Result<()> {
        fs::create_dir_all(folder.join("partial"))?;
        run(self
            .tool("apt-get")
            .args(["install", "--yes", "--download-only", "-o"])
            .arg(format!("Dir::Cache::archives={}", folder.display()))
            .args(packages))
        .map(drop)
    }

    fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command.env("APT_CONFIG", &self.config).env("LC_ALL", "C.UTF-8");
        command
    }
}

/// What apt calls a source: `suite` on the mirror that this machine uses.
pub(crate) fn source(suite: &str) -> Result<String> {
    let mirror = mirror(&machine_sources()?)?;
    Ok(format!("deb [signed-by={KEYRING}] {mirror} {suite} main"))
}

/// Everything that this machine's own apt reads as sources.
fn machine_sources() -> Result<String> {
    let mut paths = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        paths.extend(entries.filter_map(Result::ok).map(|entry| entry.path()));
    }
    paths.sort();
    let texts: Vec<_> = paths.iter().filter_map(|path| fs::read_to_string(path).ok()).collect();
    if texts.is_empty() {
        bail!("no apt sources in /etc/apt: the testbed needs a Debian machine");
    }
    Ok(texts.join("\n"))
}

/// The mirror of the Debian archive proper: not security, not debug, not someone else's.
///
/// Reads both forms: `deb [options] URI suite …` and deb822's `URIs: URI …`.
fn mirror(sources: &str) -> Result<String> {
    sources
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("deb ") || line.starts_with("URIs:"))
        .flat_map(str::split_whitespace)
        .map(|word| word.trim_end_matches('/'))
        .find(|word| word.contains("://") && word.ends_with("/debian"))
        .map(str::to_owned)
        .context("no Debian mirror (an address that ends in /debian) in this machine's apt sources")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_mirror_in_both_forms() {
        let list = "# deb http://no.example/debian x main\n\
                    deb https://other.example/apt stable main\n\
                    deb [signed-by=/k arch=amd64] http://one.example/debian/ bookworm main\n";
        assert_eq!(mirror(list).unwrap(), "http://one.example/debian");

        let deb822 = "Types: deb\nURIs: http://sec.example/debian-security\nSuites: a\n\n\
                      Types: deb\nURIs: http://two.example/debian\nSuites: bookworm\n";
        assert_eq!(mirror(deb822).unwrap(), "http://two.example/debian");
    }

    #[test]
    fn a_machine_without_debian_sources_is_told() {
        assert!(mirror("deb http://archive.example/ubuntu noble main").is_err());
    }
}
