//! `pkram check --config`: whether `systemctl kexec` would keep what `pkram.toml` names.
//!
//! | found | required | not required |
//! |---|---|---|
//! | in a region, which goes along | yes | yes |
//! | in memory | held and planned for | held and planned for |
//! | not there, or cannot be kept | no | unknown: the others go without it |
//!
//! What services have handed over to pkramd is required.

use crate::bar::Bars;
use config::{Config, HANDOVER_NODES, Reboot, Source};
use pkram::configured::{next, refuse_link, specs};
use pkram::filesystem::{Kind, kind_of};
use pkram::is_loaded;
use pkram::preflight::{Answer, Finding, Preflight, Wanted};
use pkram::region::{discover, find_mounted};
use pkram::save::Options;
use pkram::source::{SourceSpec, What};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

pub(super) fn look(bars: &Bars) -> Preflight {
    let (config, mut findings) = configuration();
    let pid = daemon();
    findings.push(match pid {
        Some(pid) => Finding::yes("pkramd", format!("runs as process {pid}")),
        None => Finding::no("pkramd", "does not run, so nothing would be kept")
            .with_remedy(Some("systemctl start pkramd")),
    });
    findings.push(begins(&config));
    let mut wanted = Vec::new();
    let regions = regions();
    for source in &config.sources {
        findings.extend(standing(source, &regions, &mut wanted));
    }
    let handed_over = pid.map(handed_over).unwrap_or_default();
    wanted.extend(handed_over.into_iter().map(|spec| Wanted { spec, required: true }));
    let options = next(&config.kernel).map(|next| Options {
        reserve_ram: config.shutdown.reserve_ram,
        move_huge: config.shutdown.move_huge,
        ..Options::new(next)
    });
    let mut preflight = Preflight::look(&wanted, &options, bars);
    preflight.findings.splice(0..0, findings);
    preflight
}

/// What is right of the configuration, as pkramd takes it, and what is wrong or odd.
fn configuration() -> (Config, Vec<Finding>) {
    let about = "configuration";
    let (config, errors) = match Config::read(Path::new("/")) {
        Ok(config) => (config, Vec::new()),
        Err(rejected) => (*rejected.rest, rejected.errors),
    };
    let wrong = errors.iter().map(|error| {
        Finding::no(about, error.to_string()).with_remedy(Some("pkram config check tells all"))
    });
    let odd = config.warnings.iter().map(|warning| {
        Finding::new(about, Answer::Unknown, format!("{}: {}", warning.place, warning.text))
    });
    let mut findings: Vec<_> = wrong.chain(odd).collect();
    if findings.is_empty() {
        let (sources, handovers) = (config.sources.len(), config.handovers.len());
        findings.push(Finding::yes(about, format!("{sources} sources, {handovers} handovers")));
    }
    (config, findings)
}

/// pkramd's process.
fn daemon() -> Option<u32> {
    let show = ["show", "--property=MainPID", "--value", "pkramd.service"];
    let shown = Command::new("systemctl").args(show).output().ok()?;
    String::from_utf8_lossy(&shown.stdout).trim().parse().ok().filter(|&pid| pid > 0)
}

/// systemd begins a kexec only where something is loaded.
fn begins(config: &Config) -> Finding {
    let about = "placeholder";
    let by_itself = match config.shutdown.reboot {
        Reboot::Kexec => true,
        Reboot::Auto => !config.sources.is_empty() || !config.handovers.is_empty(),
        Reboot::Firmware => false,
    };
    match is_loaded(Path::new("/sys")) {
        Ok(true) => Finding::yes(about, "something is loaded: systemctl kexec begins"),
        Ok(false) if by_itself => {
            Finding::no(about, "nothing is loaded: systemctl kexec does not begin")
                .with_remedy(Some("systemctl restart pkramd; its journal says why"))
        }
        Ok(false) => Finding::yes(about, "nothing is to be loaded: pkramd kexec begins"),
        Err(error) => Finding::new(about, Answer::Unknown, error.to_string()),
    }
}

/// The numbers of the devices that regions are mounted from.
fn regions() -> BTreeSet<u64> {
    let regions = discover().map_or_else(|_| Vec::new(), |found| found.regions);
    let mounted = regions.iter().filter_map(|region| find_mounted(region).ok().flatten());
    mounted.filter_map(|mounted| Some(mounted.dir.metadata().ok()?.dev())).collect()
}

/// What can be said of a source before it is looked into; what is to be held goes to `wanted`.
fn standing(source: &Source, regions: &BTreeSet<u64>, wanted: &mut Vec<Wanted>) -> Vec<Finding> {
    let Source { name, required, .. } = source;
    let about = |name: &str| format!("source {name}");
    let left_out = |about: String, why: String| {
        let answer = if *required { Answer::No } else { Answer::Unknown };
        Finding::new(about, answer, format!("nothing of it is kept: {why}"))
            .with_remedy(Some("start what makes it, or do not require it"))
    };
    let specs = match specs(source) {
        Ok(specs) if specs.is_empty() => {
            return vec![left_out(about(name), format!("nothing matches {}", source.what))];
        }
        Ok(specs) => specs,
        Err(error) => return vec![left_out(about(name), error.to_string())],
    };
    let mut findings = Vec::new();
    for spec in specs {
        if let Err(link) = refuse_link(source, &spec) {
            findings.push(left_out(about(&spec.name), link.to_string()));
            continue;
        }
        let device = match &spec.what {
            What::Path(path) => match fs::metadata(path) {
                Ok(file) => Some(file.dev()),
                Err(error) => {
                    let why = format!("{}: {error}", path.display());
                    findings.push(left_out(about(&spec.name), why));
                    continue;
                }
            },
            _ => None,
        };
        if device.is_some_and(|device| regions.contains(&device)) {
            let why = format!("{} lies in a region, which goes along", spec.what);
            findings.push(Finding::yes(about(&spec.name), why));
        } else {
            wanted.push(Wanted { spec, required: *required });
        }
    }
    findings
}

/// What pkramd has open for services: each file in memory once.
fn handed_over(pid: u32) -> Vec<SourceSpec> {
    let table = format!("/proc/{pid}/fd");
    let mut files = BTreeSet::new();
    let open = fs::read_dir(&table).into_iter().flatten().flatten();
    let specs = open.filter_map(|entry| {
        let fd = entry.file_name().to_str()?.parse().ok()?;
        let metadata = fs::metadata(entry.path()).ok().filter(fs::Metadata::is_file)?;
        let file = File::open(entry.path()).ok()?;
        let in_memory = !matches!(kind_of(&file), Ok(Kind::Other) | Err(_));
        let is_new = in_memory && files.insert((metadata.dev(), metadata.ino()));
        let name = format!("{HANDOVER_NODES}{fd}");
        is_new.then_some(SourceSpec { name, what: What::Memfd { pid, fd }, in_place: false })
    });
    specs.collect()
}
