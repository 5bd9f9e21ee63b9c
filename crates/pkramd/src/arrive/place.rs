//! Puts in place what stays on its region.

use super::nodes::Found;
use crate::generate::{NODES, has_mount_unit};
use anyhow::{Context as _, bail};
use config::{Arrival, Source};
use pkram::arrivals::Came;
use pkram::loaded::load_from;
use pkram::manifest::Origin;
use pkram::region::{Region, contents};
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Mounts the nodes of a source where they are to be.
pub(super) fn in_place(source: &Source, nodes: &[&Found], regions: &[Region]) -> Came {
    let each = |found: &&Found| {
        let region = regions.get(found.region).context("no such region")?;
        if source.verify
            && let Some(problem) = contents::verify(region)?.first()
        {
            bail!("region {} is damaged: {problem}", region.uuid);
        }
        found.check_origin(source)?;
        put_in_place(source, region, found)
    };
    match nodes.iter().map(each).collect::<anyhow::Result<Vec<_>>>() {
        Ok(at) => Came::InPlace { at },
        Err(error) => Came::Missing { why: format!("it cannot be put in place: {error:#}") },
    }
}

/// Makes a node appear where it is to be, by default where it came from: the mount unit does it
/// where there is one.
fn put_in_place(source: &Source, region: &Region, found: &Found) -> anyhow::Result<String> {
    let node = &found.node;
    let loaded = load_from(region.clone(), &node.name)?;
    if loaded.is_read_only() {
        let path = loaded.path();
        bail!("region {} is damaged; it can only be read, at {}", region.uuid, path.display());
    }
    let (origin, is_file) = match &node.origin {
        Origin::Tmpfs { path, file } | Origin::Hugetlbfs { path, file, .. } => {
            (Some(PathBuf::from(path)), *file)
        }
        _ => (None, false),
    };
    let chosen = match &source.arrival {
        Arrival::InPlace { mount_point } => mount_point.clone(),
        Arrival::Copy => None,
    };
    let whole = chosen.is_some() || !is_file;
    let at = chosen.or(origin).with_context(|| format!("{} needs a mount-point", node.origin))?;
    let mut from = loaded.path();
    if whole {
        fs::create_dir_all(&at).with_context(|| at.display().to_string())?;
    } else {
        // The one file of the node goes over a file.
        from = from.join(at.file_name().context("the path has no last name")?);
        let parent = at.parent().context("the path has no folder")?;
        fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        File::options()
            .create(true)
            .append(true)
            .open(&at)
            .with_context(|| at.display().to_string())?;
    }
    if has_mount_unit(Path::new("/"), &at) {
        fs::create_dir_all(NODES)?;
        let link = Path::new(NODES).join(&source.name);
        symlink(&from, &link).with_context(|| link.display().to_string())?;
    } else {
        rustix::mount::mount_bind(&from, &at)
            .with_context(|| format!("mount {} on {}", from.display(), at.display()))?;
    }
    Ok(at.display().to_string())
}
