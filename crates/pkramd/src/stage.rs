//! On the way down, when all services have stopped: what is there to keep is held, the next kernel
//! is loaded, and everything waits for the jump.

use crate::arrive;
use crate::attempt::Attempt;
use crate::journal::Event;
use crate::namespace::{let_disks_go, own_mounts};
use anyhow::bail;
use config::Config;
use pkram::arrivals::{Arrivals, Came};
use pkram::configured::{refuse_link, set_cmdline, specs};
use pkram::history::{self, Entry, Way};
use pkram::holder::Seat;
use pkram::nodes::Save;
use pkram::progress::Silent;
use pkram::region::{Region, discover, find_mounted};
use pkram::save::{CmdlineChoice, NextKernel, NextOptions, Options, Prepared, load_file, prepare};
use pkram::source::{Added, SourceSpec, What, add_each};
use pkramd::store::Store;
use rustix::time::{ClockId, clock_gettime};
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;
use std::time::{Duration, SystemTime};

/// A next kernel that is loaded, with everything that it is to find.
#[derive(Debug)]
pub(crate) struct Staged {
    /// None where there is nothing to hold: regions that are here go along by themselves.
    prepared: Option<Box<Prepared>>,
    _seat: Seat,
}

impl Staged {
    /// Holds, plans, loads. One source that cannot be kept does not cost the others.
    pub(crate) fn stage(seat: Seat, config: &Config, store: &Store) -> anyhow::Result<Self> {
        let next = next_kernel(config)?;
        own_mounts()?;
        let staged = Self::hold(seat, config, store, next);
        // The next kernel may have been on one of them, and what is noted for it be on another.
        let_disks_go()?;
        staged
    }

    fn hold(seat: Seat, config: &Config, store: &Store, next: NextOptions) -> anyhow::Result<Self> {
        let (specs, carried) = present(config)?;
        let mut save = Save::new();
        let Added { outcomes, found } = add_each(&mut save, &specs, &store.files())?;
        for (spec, outcome) in specs.iter().zip(&outcomes) {
            if let Err(error) = outcome {
                Event::SourceLeftOut.tell_of(&spec.name, &format!("is not kept: {error}"));
            }
        }
        for grown in store.oversize() {
            let (owner, size, limit) = (&grown.owner, grown.size, grown.limit);
            let text = format!("{owner} has {size} bytes and may have {limit}; they are kept");
            Event::Handover.tell(&text);
        }
        for error in store.save_into(&mut save, found) {
            Event::Handover.tell(&error.to_string());
        }
        if save.is_empty() {
            load_file(&next)?;
            Attempt::begin(None, carried);
            return Ok(Self { prepared: None, _seat: seat });
        }
        let options = Options {
            reserve_ram: config.shutdown.reserve_ram,
            move_huge: config.shutdown.move_huge,
            ..Options::new(next)
        };
        let mut prepared = prepare(save, &options, &Silent)?;
        prepared.notes.iter().for_each(|note| Event::Note.tell(note));
        let kept = prepared.manifest.sources.iter().map(|s| s.name.clone());
        let region = prepared.region().to_string();
        Attempt::begin(Some(region), kept.chain(carried).collect());
        if let Some(at) = stopped() {
            prepared.set_stopped(at);
        }
        if let Err(error) = history::begin(Entry::of(&prepared, Way::Service)) {
            Event::Note.tell(&format!("this kexec will be missing in the history: {error}"));
        }
        prepared.load()?;
        Ok(Self { prepared: Some(Box::new(prepared)), _seat: seat })
    }

    /// The last look, then the jump; an answer means that it did not happen, and that nothing is
    /// loaded any more.
    pub(crate) fn jump(self) -> anyhow::Error {
        let Some(mut prepared) = self.prepared else { return kexec::sys::jump().into() };
        match prepared.last_look(&Silent) {
            Ok(()) => prepared.jump().into(),
            Err(error) => error.into(),
        }
    }
}

/// Loads the next kernel with nothing to keep but what is kept already.
pub(crate) fn load_next(config: &Config) -> anyhow::Result<()> {
    Ok(load_file(&next_kernel(config)?)?)
}

/// The next kernel: as configured, else the one that the machine would boot, else the one that
/// runs. Memory is not to be lost because a file is missing. Of one that was found the command line is
/// what the boot loader would give, where none is configured.
fn next_kernel(config: &Config) -> anyhow::Result<NextOptions> {
    let kernel = &config.kernel;
    let configured = kernel.image.as_ref().map(|image| NextOptions {
        cmdline: CmdlineChoice::Reuse { append: None },
        ..NextOptions::new(image, kernel.initrd.as_ref(), "")
    });
    let found = [NextOptions::installed, NextOptions::running];
    let found = found.into_iter().map(|find| find());
    let mut troubles = Vec::new();
    for choice in configured.map(Ok).into_iter().chain(found) {
        let mut next = match choice {
            Ok(next) => next,
            Err(none) => {
                troubles.push(none.to_string());
                continue;
            }
        };
        set_cmdline(&mut next, &kernel.cmdline);
        match NextKernel::read(&next) {
            Ok(_) => {
                troubles.iter().for_each(|trouble: &String| Event::OtherKernel.tell(trouble));
                return Ok(next);
            }
            Err(error) => troubles.push(format!("not into {}: {error}", next.kernel.display())),
        }
    }
    troubles.push("there is no other kernel to go into".to_owned());
    bail!(troubles.join("; "))
}

/// When the system began to go down: its first target to stop is that which started last.
fn stopped() -> Option<SystemTime> {
    let show = ["show", "--property=ActiveExitTimestampMonotonic", "--value", "multi-user.target"];
    let shown = Command::new("systemctl").args(show).output().ok()?;
    let micros = String::from_utf8_lossy(&shown.stdout).trim().parse().ok().filter(|&t| t > 0)?;
    let now = clock_gettime(ClockId::Monotonic);
    let now = Duration::try_from(now).ok()?;
    SystemTime::now().checked_sub(now.checked_sub(Duration::from_micros(micros))?)
}

/// The sources that are there to be held, and the names of those that a region carries over as
/// they are.
fn present(config: &Config) -> anyhow::Result<(Vec<SourceSpec>, Vec<String>)> {
    let regions = discover()?.regions;
    let mounted: Vec<_> = regions.iter().filter_map(device_of).collect();
    let nodes: Vec<_> = arrive::nodes(&regions).into_iter().map(|found| found.node.name).collect();
    let arrivals = Arrivals::read().unwrap_or_default();
    let (mut held, mut carried) = (Vec::new(), Vec::new());
    for source in &config.sources {
        let specs = match specs(source) {
            Ok(specs) => specs,
            Err(error) => {
                let why = format!("is not kept: {error}");
                Event::SourceLeftOut.tell_of(&source.name, &why);
                continue;
            }
        };
        // Once its mount is gone, another file may show in its place.
        let here = matches!(arrivals.sources.get(&source.name), Some(Came::InPlace { .. }));
        for spec in specs {
            if let Err(link) = refuse_link(source, &spec) {
                Event::SourceLeftOut.tell_of(&spec.name, &format!("is not kept: {link}"));
                continue;
            }
            let device = match &spec.what {
                What::Path(path) => path.metadata().map(|found| found.dev()).ok(),
                _ => None,
            };
            let in_region = device.is_some_and(|device| mounted.contains(&device));
            match &spec.what {
                _ if in_region || here && nodes.contains(&spec.name) => carried.push(spec.name),
                What::Path(path) if device.is_none() => {
                    let why = format!("is not kept: there is no {}", path.display());
                    Event::SourceLeftOut.tell_of(&spec.name, &why);
                }
                _ => held.push(spec),
            }
        }
    }
    Ok((held, carried))
}

/// The number of the device that a region is mounted from.
fn device_of(region: &Region) -> Option<u64> {
    let mounted = find_mounted(region).ok()??;
    Some(mounted.dir.metadata().ok()?.dev())
}
