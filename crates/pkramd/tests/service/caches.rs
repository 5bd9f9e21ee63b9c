//! memcached and Redis, with their stock units and a drop-in, come back warm.

use crate::common::{came_by_pkram, configure, journal, machine, systemctl_kexec};
use anyhow::{Result, ensure};
use serde_json::Value;
use testbed::services::caches;
use testbed::{Checked, Kernel, Suite, Vm, e2e};

const ITEMS: u64 = 20_000;
const KEYS: u64 = 500;

#[test]
fn on_trixie_into_a_newer_kernel_and_back() -> Result<()> {
    caches_stay_warm("caches_trixie", Suite::Trixie, ["6.12", "7.3"])
}

#[test]
fn on_bookworm_into_a_newer_kernel_and_back() -> Result<()> {
    caches_stay_warm("caches_bookworm", Suite::Bookworm, ["6.1", "6.12"])
}

fn caches_stay_warm(test: &str, suite: Suite, kernels: [&str; 2]) -> Result<()> {
    let Some(bed) = e2e(test) else { return Ok(()) };
    let [old, new] = [bed.kernel(kernels[0])?, bed.kernel(kernels[1])?];
    let mut vm = machine(bed, test, suite, [old, new], caches::CONFIG, false)?;
    caches::start(&mut vm)?;
    caches::items(ITEMS, 1).fill(&mut vm)?;
    caches::fill_redis(&mut vm, KEYS)?;

    let before = vm.frames(caches::MEMORY)?;
    systemctl_kexec(&mut vm, new)?;
    ensure!(came_by_pkram(&mut vm)?, "{}", journal(&mut vm, "0"));
    are_warm(&mut vm)?;
    let after = vm.frames(caches::MEMORY)?;
    let stayed = before.iter().filter(|(page, frame)| after.get(page) == Some(frame)).count();
    // Some lay where the next kernel needed to be.
    ensure!(stayed * 4 > before.len() * 3, "{stayed} of {} pages stayed", before.len());

    // And back: the region goes along as it is, Redis's data are kept anew.
    configure(&mut vm, old, caches::CONFIG)?;
    systemctl_kexec(&mut vm, old)?;
    are_warm(&mut vm)?;
    let back = vm.frames(caches::MEMORY)?;
    ensure!(after.iter().all(|(page, frame)| back.get(page) == Some(frame)), "the region moved");
    only_what_is_needed_stays(&mut vm, old)
}

fn are_warm(vm: &mut Vm) -> Result<()> {
    let found = caches::items(ITEMS, 1).check(vm)?;
    let all = Checked { found: ITEMS, equal: ITEMS };
    ensure!(found == all, "{found:?}\n{}", journal(vm, "0"));
    let keys = caches::check_redis(vm, KEYS)?;
    ensure!(keys == KEYS, "Redis has {keys}\n{}", journal(vm, "0"));
    Ok(())
}

/// Copied data leave no region behind.
fn only_what_is_needed_stays(vm: &mut Vm, kernel: &Kernel) -> Result<()> {
    let list: Value = vm.exec(["pkram", "list", "--json"])?.json()?;
    let regions = list["regions"].as_array().map_or(0, Vec::len);
    ensure!(regions == 1, "{regions} regions under {}: {list}", kernel.release);
    Ok(())
}
