//! memcached and Redis, with their stock units and a drop-in, come back warm.

use crate::common::{came_by_pkram, journal, machine, systemctl_kexec};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use testbed::{Kernel, Suite, Vm, e2e};

/// memcached's memory is a file on a tmpfs of its own and comes back in place; Redis writes its
/// data to its runtime directory when it stops, and that is copied.
const CONFIG: &str = "
[source.memcached]
path = '/srv/memcached'
arrival = 'in-place'
required = true
verify = true

[source.redis]
unit = 'redis-server.service'
";

/// All that the services need to know.
const SET_UP: &str = r#"
set -eu
echo 'tmpfs /srv/memcached tmpfs mode=700,uid=memcache,gid=memcache 0 0' >> /etc/fstab
mkdir /srv/memcached
mount /srv/memcached
cat >> /etc/memcached.conf <<END
-e /srv/memcached/memory
-s /run/memcached/socket
END
mkdir -p /etc/systemd/system/memcached.service.d
cat > /etc/systemd/system/memcached.service.d/pkram.conf <<END
[Unit]
RequiresMountsFor=/srv/memcached
Requires=pkram-source@memcached.service
After=pkram-source@memcached.service

[Service]
# It writes down what its memory needs to be read again.
KillSignal=SIGUSR1
END
sed -i 's,^dir .*,dir /run/redis,' /etc/redis/redis.conf
systemctl daemon-reload
systemctl enable --quiet --now memcached redis-server
"#;

const ITEMS: &str = "20000";

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
    let mut vm = machine(bed, test, suite, [old, new], CONFIG, false)?;
    vm.sh(SET_UP)?;
    let items = ["--items", ITEMS, "--socket", "/run/memcached/socket"];
    vm.run(["guest", "mc", "fill"].into_iter().chain(items))?;
    vm.sh("i=0; while [ $i -lt 500 ]; do echo set key$i value$i; i=$((i+1)); done | redis-cli")?;

    let before = frames(&mut vm)?;
    systemctl_kexec(&mut vm, new)?;
    ensure!(came_by_pkram(&mut vm)?, "{}", journal(&mut vm, "0"));
    are_warm(&mut vm)?;
    let after = frames(&mut vm)?;
    let stayed = before.iter().filter(|(page, frame)| after.get(page) == Some(frame)).count();
    // Some lay where the next kernel needed to be.
    ensure!(stayed * 4 > before.len() * 3, "{stayed} of {} pages stayed", before.len());

    // And back: the region goes along as it is, Redis's data are kept anew.
    crate::common::configure(&mut vm, old, CONFIG)?;
    systemctl_kexec(&mut vm, old)?;
    are_warm(&mut vm)?;
    let back = frames(&mut vm)?;
    ensure!(after.iter().all(|(page, frame)| back.get(page) == Some(frame)), "the region moved");
    only_what_is_needed_stays(&mut vm, old)
}

/// Page and frame of memcached's memory.
fn frames(vm: &mut Vm) -> Result<BTreeMap<u64, u64>> {
    let file: Value = vm.exec(["guest", "frames", "/srv/memcached/memory"])?.json()?;
    let mut found = BTreeMap::new();
    for extent in file["extents"].as_array().context("no extents")? {
        let [page, frame, count] = ["page", "frame", "count"].map(|key| extent[key].as_u64());
        let (page, frame) = (page.context("no page")?, frame.context("no frame")?);
        found.extend((0..count.context("no count")?).map(|i| (page + i, frame + i)));
    }
    Ok(found)
}

fn are_warm(vm: &mut Vm) -> Result<()> {
    let items = ["--items", ITEMS, "--socket", "/run/memcached/socket"];
    let found: Value = vm.exec(["guest", "mc", "check"].into_iter().chain(items))?.json()?;
    assert_eq!(found["equal"], found["asked"], "{}", journal(vm, "0"));
    assert_eq!(vm.run(["redis-cli", "dbsize"])?.trim(), "500", "{}", journal(vm, "0"));
    assert_eq!(vm.run(["redis-cli", "get", "key499"])?.trim(), "value499");
    Ok(())
}

/// Copied data leave no region behind.
fn only_what_is_needed_stays(vm: &mut Vm, kernel: &Kernel) -> Result<()> {
    let list: Value = vm.exec(["pkram", "list", "--json"])?.json()?;
    let regions = list["regions"].as_array().map_or(0, Vec::len);
    ensure!(regions == 1, "{regions} regions under {}: {list}", kernel.release);
    Ok(())
}
