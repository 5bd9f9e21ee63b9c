//! The nodes of all regions here, and whose they are.

use crate::journal::Event;
use anyhow::{Context as _, bail};
use config::{Source, What};
use pkram::configured::is_from;
use pkram::manifest::{self, Manifest, Origin};
use pkram::region::{Region, contents};
use std::path::Path;

/// A node of a region.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Which of the regions.
    pub(super) region: usize,
    created: u64,
    pub(crate) node: manifest::Source,
}

impl Found {
    /// Refuses a node that was saved from elsewhere than where its source is now: what a region says
    /// does not decide alone where anything is written or mounted.
    pub(super) fn check_origin(&self, source: &Source) -> anyhow::Result<()> {
        let from = match &self.node.origin {
            Origin::Tmpfs { path, .. } | Origin::Hugetlbfs { path, .. } => Path::new(path),
            Origin::Sysv(segment) if source.what == What::SysvKey(segment.key) => return Ok(()),
            other => bail!("it was {other}, and pkram.toml has {}", source.what),
        };
        if !is_from(source, &self.node.name, from) {
            bail!("it was saved from {}, and pkram.toml has {}", from.display(), source.what);
        }
        Ok(())
    }
}

/// Whether a node is one of a source: the source by itself, or a match of its glob.
pub(crate) fn is_of(source: &Source, node: &str) -> bool {
    match &source.what {
        What::Glob(_) | What::Unit(_) => {
            let rest = node.strip_prefix(&source.name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        }
        _ => node == source.name,
    }
}

/// All nodes here; of those with one name the one that was saved last.
pub(crate) fn nodes(regions: &[Region]) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    for (index, region) in regions.iter().enumerate() {
        let manifest = match manifest_of(region) {
            Ok(manifest) => manifest,
            Err(error) => {
                let uuid = region.uuid;
                Event::RegionLeft.tell(&format!("region {uuid} is left as it is: {error:#}"));
                continue;
            }
        };
        for node in manifest.sources {
            let new = Found { region: index, created: manifest.created, node };
            match found.iter_mut().find(|f| f.node.name == new.node.name) {
                Some(old) if old.created < new.created => *old = new,
                Some(_) => {}
                None => found.push(new),
            }
        }
    }
    found
}

fn manifest_of(region: &Region) -> anyhow::Result<Manifest> {
    if !region.missing.is_empty() {
        bail!("spans {:?} of it are missing", region.missing);
    }
    let fs = contents::open(region)?;
    contents::manifest(&fs)?.context("it has no manifest")
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::Config;

    #[test]
    fn what_a_region_says_does_not_decide_where_anything_goes() {
        let text = "[source.a]\npath = '/srv/a'\n\
                    [source.pg]\nglob = '/dev/shm/pg-*'\n\
                    [source.unit]\nunit = 'redis.service'\n";
        let config = Config::parse("pkram.toml".as_ref(), text).unwrap();
        let source = |name: &str| config.sources.iter().find(|s| s.name == name).unwrap();
        let found = |name: &str, path: &str| Found {
            region: 0,
            created: 0,
            node: manifest::Source {
                name: name.to_owned(),
                origin: Origin::Tmpfs { path: path.to_owned(), file: false },
            },
        };
        let agrees = |of: &str, name: &str, path: &str| {
            assert!(is_of(source(of), name), "{name}");
            found(name, path).check_origin(source(of)).map_err(|error| error.to_string())
        };
        assert_eq!(agrees("a", "a", "/srv/a"), Ok(()));
        let strange = agrees("a", "a", "/etc").unwrap_err();
        assert_eq!(strange, "it was saved from /etc, and pkram.toml has /srv/a");
        assert_eq!(agrees("pg", "pg-pg-7", "/dev/shm/pg-7"), Ok(()));
        assert!(agrees("pg", "pg-pg-7", "/dev/shm/pg-8").is_err());
        assert_eq!(agrees("unit", "unit", "/run/redis"), Ok(()));
        assert!(agrees("unit", "unit", "/run").is_err());
        assert!(agrees("unit", "unit", "/root/.ssh").is_err());
        assert!(!is_of(source("a"), "a-b"));
    }
}
