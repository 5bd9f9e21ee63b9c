//! Copies back what is to be where it came from.

use super::nodes::Found;
use crate::journal::Event;
use config::{Arrival, Source};
use pkram::arrivals::{Arrivals, Came};
use pkram::progress::Silent;
use pkram::region::Region;
use pkram::restore::{RestoreOptions, restore};

/// Copies back all nodes of a region whose sources want that.
pub(super) fn copy<'a>(
    sources: &[&Source],
    region: &Region,
    early: bool,
    is_here: &dyn Fn(&Source) -> bool,
    nodes_of: &dyn Fn(&Source) -> Vec<&'a Found>,
    arrivals: &mut Arrivals,
) {
    let (restored, wanted): (Vec<_>, Vec<_>) = sources
        .iter()
        .filter(|s| s.arrival == Arrival::Copy && !s.in_doubt)
        .map(|s| (s, nodes_of(s)))
        .filter(|(_, nodes)| !nodes.is_empty())
        .partition(|(s, _)| is_here(s));
    let (wanted, strange): (Vec<_>, Vec<_>) = wanted
        .into_iter()
        .partition(|(source, nodes)| nodes.iter().all(|f| f.check_origin(source).is_ok()));
    for (source, nodes) in strange {
        let why = nodes.iter().find_map(|f| f.check_origin(source).err());
        let why =
            format!("it is not copied back: {}", why.map_or_else(String::new, |e| e.to_string()));
        arrivals.sources.insert(source.name.clone(), Came::Missing { why });
    }
    let names = |of: &[(_, Vec<&Found>)]| -> Vec<_> {
        of.iter().flat_map(|(_, nodes)| nodes.iter().map(|f| f.node.name.clone())).collect()
    };
    let restored = names(&restored);
    let names = [names(&wanted), restored.clone()].concat();
    if names.is_empty() {
        return;
    }
    // The region is given back when the system runs and everything else is in its place.
    let options = RestoreOptions { names, restored, to: None, keep: early };
    let restored = restore(region, &options, &Silent);
    if let Ok(done) = &restored {
        done.notes.iter().for_each(|note| Event::Note.tell(note));
    }
    for (source, nodes) in wanted {
        let came = match &restored {
            Ok(done) => {
                let of = |(name, place): &(String, String)| {
                    nodes.iter().any(|f| f.node.name == *name).then(|| place.clone())
                };
                Came::Copied { to: done.nodes.iter().filter_map(of).collect() }
            }
            Err(error) => Came::Missing { why: format!("it cannot be copied back: {error}") },
        };
        arrivals.sources.insert(source.name.clone(), came);
    }
}
