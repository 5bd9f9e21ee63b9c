//! memcached and Redis, each as its package starts it, but for where its memory is.

use anyhow::{Context, Result};

use crate::memcached::Items;
use crate::vm::Vm;

/// For `pkram.toml`.
pub const CONFIG: &str = "
[source.memcached]
path = '/srv/memcached'
arrival = 'in-place'
required = true
verify = true

[source.redis]
unit = 'redis-server.service'
";

/// memcached's memory.
pub const MEMORY: &str = "/srv/memcached/memory";

/// Where memcached answers.
pub const SOCKET: &str = "/run/memcached/socket";

/// Configures and starts both.
///
/// # Errors
/// They do not start.
pub fn start(vm: &mut Vm) -> Result<()> {
    vm.sh(include_str!("caches.sh")).context("start memcached and Redis").map(drop)
}

/// So many items for memcached.
#[must_use]
pub fn items(count: u64, seed: u64) -> Items {
    Items { count, seed, socket: SOCKET.to_owned() }
}

/// Gives Redis so many keys.
///
/// # Errors
/// It does not answer.
pub fn fill_redis(vm: &mut Vm, keys: u64) -> Result<()> {
    vm.sh(&format!("seq {keys} | sed 's/.*/set key& value&/' | redis-cli >/dev/null")).map(drop)
}

/// How many of its keys Redis has with their values.
///
/// # Errors
/// It does not answer.
pub fn check_redis(vm: &mut Vm, keys: u64) -> Result<u64> {
    let equal = "awk '$0 == \"value\" NR { n++ } END { print n + 0 }'";
    let said = vm.sh(&format!("seq {keys} | sed 's/.*/get key&/' | redis-cli | {equal}"))?;
    said.trim().parse().with_context(|| said.clone())
}
