//! What happens in the demonstration, in its order.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testbed::services::{caches, configure, journal, keeper};
use testbed::{Hop, Suite, Testbed, Vm};

use super::Args;
use super::report::{Memfd, Report};
use crate::deb;
use crate::demo::frames::{self, Frames};
use crate::demo::items::Items;
use crate::demo::journey::{Journey, Phase, SERVICE};
use crate::guest::LIMIT;

/// How many keys Redis gets.
const KEYS: u64 = 5_000;

/// What each service is asked until the answer is right; the time is then that of the kernel's clock.
const QUESTIONS: [(&str, &str); 3] = [
    (
        "memcached",
        "guest mc check --items 1 --socket /run/memcached/socket | grep -q '\"equal\":1'",
    ),
    ("Redis", "[ \"$(redis-cli get key1)\" = value1 ]"),
    ("the keeper", "grep -q ^took /run/keeper"),
];

pub(super) fn play(bed: &Testbed, args: &Args) -> Result<(String, Report)> {
    let (options, wanted) = (&args.options, args.items);
    let kernels = [&options.from, &options.to];
    ensure!(
        args.suite != Suite::Bookworm || kernels.iter().all(|version| *version != "7.3"),
        "bookworm's apt refuses Debian's package of kernel 7.3: take --suite trixie"
    );
    let packages = deb::make(&testbed::folder()?.join("deb"))?;
    // The first is the program; the others are for C.
    let machine =
        |kernel: &_| Ok(bed.debian("demo-service", args.suite, kernel)?.carry(&packages[..1]));
    let mut journey = Journey::begin(bed, options, machine)?;
    journey.vm.await_running()?;
    journey.time("apt-get install pkram", install)?;
    let next = journey.to;
    let config = format!("{}{}", caches::CONFIG, keeper::CONFIG);
    configure(&mut journey.vm, next, &config)?;
    journey.time("start the services", |vm| {
        caches::start(vm)?;
        keeper::start(vm)
    })?;
    let items = caches::items(wanted, 1);
    let set = journey.time("fill memcached", |vm| items.fill(vm))?;
    journey.time("fill Redis", |vm| caches::fill_redis(vm, KEYS))?;
    let made = keeper::said(&mut journey.vm)?;
    let before = journey.vm.frames(caches::MEMORY)?;

    let hop = journey.jump(SERVICE, ["systemctl", "kexec"])?;
    let answered = journey.time("ask the services", |vm| answers(vm, &hop))?;
    journey.time("wait for the rest of the boot", Vm::await_running)?;
    let checked = journey.time("ask for every item", |vm| items.check(vm))?;
    let keys_equal = journey.time("ask for every key", |vm| caches::check_redis(vm, KEYS))?;
    let took = keeper::said(&mut journey.vm)?;
    let after = journey.vm.frames(caches::MEMORY)?;
    let text = journey.vm.run(["pkram", "report"])?;
    let report = journey.vm.exec(["pkram", "report", "--json"])?.json()?;
    let jump = journey.tell(&hop, &report)?;

    let items = Items { set, checked };
    let frames = Frames::compare(&before, &after, None);
    let memfd = Memfd { came: took.how == "took", before: made.memory, after: took.memory };
    let ok = hop.to.release == next.release
        && items.are_all(wanted)
        && keys_equal == KEYS
        && memfd.came
        && memfd.before == memfd.after
        && frames.pages_after >= frames.pages_before
        && (frames.pages_before - frames.same_place) * frames::PAGE <= jump.bytes_moved;
    if !ok {
        eprintln!("{}", journal(&mut journey.vm, "0"));
    }
    let (suite, phases) = (args.suite.name(), journey.phases);
    let report = Report {
        version: 1,
        ok,
        suite,
        jump,
        phases,
        answered,
        items,
        frames,
        keys_set: KEYS,
        keys_equal,
        memfd,
        report,
    };
    Ok((text, report))
}

/// As a user would. bookworm's machines have a kernel that needs newer tools than bookworm has, which
/// apt puts right on the way.
fn install(vm: &mut Vm) -> Result<()> {
    let install = "exec apt-get install --yes --fix-broken /opt/packages/*.deb";
    vm.program(["sh", "-c", install]).limit(LIMIT).run().map(drop)
}

/// Waits for each service's first right answer.
fn answers(vm: &mut Vm, hop: &Hop) -> Result<Vec<Phase>> {
    let ask = |(name, question): (&str, &str)| {
        let asking = format!("until {{ {question}; }} 2>/dev/null; do sleep 0.5; done");
        format!("({asking}; echo $(cut -d' ' -f1 /proc/uptime) {name}) &\n")
    };
    let script = QUESTIONS.map(ask).concat() + "wait";
    let said = vm.program(["sh", "-euc", &script]).limit(LIMIT).run();
    let said = said.with_context(|| journal(vm, "0"))?;
    // Up to the agent's hello it is seen from outside, after that the machine's clock tells.
    let booted = hop.total.saturating_sub(Duration::from_millis(hop.to.uptime_ms)).as_secs_f64();
    let answered = |(name, _)| {
        let mut lines = said.lines();
        let uptime = lines.find_map(|line| line.strip_suffix(name)?.trim().parse::<f64>().ok());
        let uptime = uptime.with_context(|| format!("no {name} in {said}"))?;
        Ok(Phase { name, seconds: booted + uptime })
    };
    QUESTIONS.into_iter().map(answered).collect()
}
