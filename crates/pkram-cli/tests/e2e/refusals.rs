//! Everything that is refused, with its message, and with nothing changed.

use crate::common::{REGION, mount, pkram};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::time::Duration;
use testbed::{Kernel, Output, Vm};

/// Refused: exit status 1, all of `says` on standard error, nothing on standard output, no kernel
/// loaded, no holder left behind.
fn refused(vm: &mut Vm, argv: &[String], says: &[&str]) -> Result<()> {
    let output = vm.exec(argv.iter().cloned())?;
    check_refusal(vm, &output, &format!("{argv:?}"), says)
}

fn check_refusal(vm: &mut Vm, output: &Output, what: &str, says: &[&str]) -> Result<()> {
    ensure!(output.code == Some(1), "{what} was not refused: {output:?}");
    ensure!(output.stdout.is_empty(), "{what} said something on stdout: {output:?}");
    for word in says {
        ensure!(output.stderr.contains(word), "{what}: no {word:?} in: {}", output.stderr);
    }
    ensure!(vm.sh("cat /sys/kernel/kexec_loaded")?.trim() == "0", "{what} left a kernel loaded");
    ensure!(vm.exec(["pkram", "unload"])?.code == Some(1), "{what} left a holder");
    Ok(())
}

/// The answers of `pkram check`.
struct Findings(Value);

fn findings(vm: &mut Vm, argv: Vec<String>, code: i32) -> Result<Findings> {
    let output = vm.exec(argv)?;
    ensure!(output.code == Some(code), "not {code}: {output:?}");
    let said: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(said["ok"] == (code == 0), "{said}");
    Ok(Findings(said["findings"].clone()))
}

impl Findings {
    fn is(&self, about: &str, answer: &str, reason: &str, remedy: &str) -> Result<()> {
        let all = self.0.as_array().context("no findings")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let fits = |f: &&Value| {
            f["about"] == about
                && f["answer"] == answer
                && text(&f["reason"]).contains(reason)
                && text(&f["remedy"]).contains(remedy)
        };
        all.iter().find(fits).with_context(|| {
            format!("no finding: {about}: {answer}, {reason:?}, {remedy:?} in {}", self.0)
        })?;
        Ok(())
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&w| w.to_owned()).collect()
}

fn boot(name: &'static str) -> Result<Option<(&'static testbed::Testbed, Vm)>> {
    let Some(bed) = testbed::e2e(name) else { return Ok(None) };
    let mut vm = bed.vm(name, bed.kernel("6.12")?).memory_mib(768).boot()?;
    vm.sh("head -c 20M /dev/urandom > /dev/shm/file")?;
    Ok(Some((bed, vm)))
}

#[test]
fn sources_that_cannot_be_kept() -> Result<()> {
    let Some((bed, mut vm)) = boot("sources_that_cannot_be_kept")? else { return Ok(()) };
    let next = bed.kernel("6.1")?;
    let kexec = |more: &[&str]| pkram("kexec", next, more);
    let disk = format!("x=/boot/config-{}", next.release);
    refused(&mut vm, &kexec(&[&disk]), &["lies on ext4", &disk[2..], "tmpfs"])?;
    refused(&mut vm, &kexec(&["x=/proc/version"]), &["lies on proc"])?;
    refused(&mut vm, &kexec(&["/dev/shm/absent"]), &["/dev/shm/absent", "No such file"])?;
    refused(&mut vm, &kexec(&["a=/dev/shm/file", "a=/tmp"]), &["\"a\"", "given twice", "/tmp"])?;
    vm.sh("mkdir -p /dev/shm/tree/in && echo x > /dev/shm/tree/in/x")?;
    let inside = kexec(&["a=/dev/shm/tree", "b=/dev/shm/tree/in"]);
    refused(&mut vm, &inside, &["/dev/shm/tree/in", "already part of source \"a\""])?;
    refused(&mut vm, &kexec(&["x=/dev/null"]), &["/dev/null", "character device"])?;
    refused(&mut vm, &kexec(&[".pkram=/dev/shm/file"]), &[".pkram", "is taken"])?;
    refused(&mut vm, &kexec(&["x=memfd:1"]), &["expected memfd:PID:FD"])?;
    refused(&mut vm, &kexec(&["x=memfd:99999:0"]), &["memfd:99999:0", "pidfd_getfd"])?;
    refused(&mut vm, &kexec(&["x=sysv:4711"]), &["sysv:4711", "ipcs -m"])?;
    let unknown = ["--in-place=b", "a=/dev/shm/file"];
    refused(&mut vm, &kexec(&unknown), &["--in-place=b", "no source"])?;

    // `check` answers every question, the good and the bad.
    let several = pkram("check", next, &[&disk, "a=/dev/shm/tree", "b=/dev/shm/absent"]);
    let answers = findings(&mut vm, several, 1)?;
    answers.is("source x", "no", "lies on ext4", "tmpfs")?;
    answers.is("source a", "yes", "/dev/shm/tree can be kept", "")?;
    answers.is("source b", "no", "/dev/shm/absent", "")?;
    answers.is("lockdown", "yes", "not locked down", "")?;
    answers.is("next kernel", "yes", &next.release, "")?;

    // What runs can be kept too, though not pinned.
    vm.sh("cp /bin/sleep /dev/shm/tree/program")?;
    let pid = vm.spawn(["/dev/shm/tree/program", "1000"], "/tmp/log")?;
    let checked = vm.exec(pkram("check", next, &["/dev/shm/tree"]))?.json::<Value>()?;
    let held = checked.pointer("/manifest/plan/held/referenced").and_then(|v| v.as_u64());
    ensure!(held > Some(0), "{checked}");
    vm.kill(pid, 9)?;

    // What is kept, but not whole, is said.
    vm.sh("mkdir /dev/shm/tree/mnt && mount -t tmpfs none /dev/shm/tree/mnt")?;
    let checked = vm.exec(pkram("check", next, &["/dev/shm/tree"]))?.json::<Value>()?;
    let notes = checked["notes"].to_string();
    ensure!(notes.contains("/dev/shm/tree/mnt: a mount of its own"), "{checked}");
    Ok(())
}

#[test]
fn kernels_and_machines_that_will_not_do() -> Result<()> {
    let Some((bed, mut vm)) = boot("kernels_and_machines_that_will_not_do")? else {
        return Ok(());
    };
    let next = bed.kernel("6.1")?;
    let image = next.guest_image();
    let with = |kernel: &str| words(&["pkram", "kexec", "--kernel", kernel, "/dev/shm/file"]);
    let usual = |more: &[&str]| pkram("kexec", next, more);

    refused(
        &mut vm,
        &usual(&["--reserve-ram", "760M", "/dev/shm/file"]),
        &["too little memory", "bytes are missing"],
    )?;
    vm.sh("head -c 100000 /dev/urandom > /tmp/noise")?;
    refused(&mut vm, &with("/tmp/noise"), &["/tmp/noise", "bzImage"])?;
    refused(&mut vm, &with("/tmp/absent"), &["/tmp/absent", "No such file"])?;
    vm.sh(&format!("head -c 3000000 {image} > /tmp/truncated"))?;
    refused(&mut vm, &with("/tmp/truncated"), &["/tmp/truncated", "truncated"])?;
    // xloadflags at 0x236: bit 0 says that there is a 64-bit entry point.
    vm.sh(&format!(
        "cp {image} /tmp/small && printf '\\0' | dd of=/tmp/small bs=1 seek=$((0x236)) conv=notrunc"
    ))?;
    refused(&mut vm, &with("/tmp/small"), &["/tmp/small", "32-bit only"])?;
    let blind = format!(
        "mkdir -p /tmp/blind && cp {image} /tmp/blind/ && \
         sed 's/^CONFIG_X86_PMEM_LEGACY=.*/# CONFIG_X86_PMEM_LEGACY is not set/' \
         /boot/config-{0} > /tmp/blind/config-{0}",
        next.release
    );
    vm.sh(&blind)?;
    let blind = with(&image.replace("/boot", "/tmp/blind"));
    refused(&mut vm, &blind, &["X86_PMEM_LEGACY", "--force"])?;
    let strange =
        words(&["pkram", "kexec", "--kernel", &image, "--append", "mem=512M", "/dev/shm/file"]);
    refused(&mut vm, &strange, &["mem=512M", "cuts off memory", "another kernel or command line"])?;
    let over = words(&[
        "pkram",
        "kexec",
        "--kernel",
        &image,
        "--append",
        "memmap=767M$1M",
        "/dev/shm/file",
    ]);
    refused(&mut vm, &over, &["memmap=767M$1M", "where the region lies"])?;
    vm.sh("truncate -s 4G /tmp/huge")?;
    let huge =
        words(&["pkram", "kexec", "--kernel", &image, "--initrd", "/tmp/huge", "/dev/shm/file"]);
    refused(&mut vm, &huge, &["/tmp/huge", "4294967296 bytes", "half of this machine's memory"])?;

    // The same as answers of `check`.
    let answers = findings(&mut vm, pkram("check", next, &["/dev/shm/file"]), 0)?;
    for about in ["RAM left", "moves", "spans", "sees region", "initrd"] {
        answers.is(about, "yes", "", "")?;
    }
    // 20 MiB fill no memory block.
    answers.is("release", "unknown", "the rest at the kexec after it", "keep more")?;
    let little = pkram("check", next, &["--reserve-ram", "760M", "/dev/shm/file"]);
    findings(&mut vm, little, 1)?.is("RAM left", "no", "bytes are missing", "--reserve-ram")?;
    let check = |more: &[&str]| words(&[&["pkram", "check", "--json", "--kernel"], more].concat());
    let blind = image.replace("/boot", "/tmp/blind");
    let answers = findings(&mut vm, check(&[&blind, "--append", "mem=512M", "/dev/shm/file"]), 1)?;
    answers.is("sees region", "no", "X86_PMEM_LEGACY", "--force")?;
    answers.is("command line", "no", "mem=512M", "leave it out")?;
    let answers = findings(&mut vm, check(&["/tmp/noise"]), 1)?;
    answers.is("next kernel", "no", "bzImage", "")?;
    // An initrd of another kernel.
    let header = "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\\0";
    vm.sh(&format!(
        "printf '{header}' 1 33188 0 0 1 0 0 0 0 0 0 34 0 lib/modules/4.19.0/kernel/ext4.ko > /tmp/other; \
         printf '{header}\\0\\0\\0' 0 0 0 0 1 0 0 0 0 0 0 11 0 'TRAILER!!!' >> /tmp/other"
    ))?;
    let other = [&image, "--initrd", "/tmp/other", "/dev/shm/file"];
    findings(&mut vm, check(&other), 1)?.is("initrd", "no", "4.19.0", "--force")?;
    let refusal = words(&[&["pkram", "kexec", "--kernel"], &other[..]].concat());
    refused(&mut vm, &refusal, &["4.19.0", &next.release])?;
    // Without a kernel: the running one, where nothing says which the machine would boot.
    let answers = findings(&mut vm, words(&["pkram", "check", "--json"]), 0)?;
    answers.is("kexec", "yes", "", "")?;
    answers.is("chosen", "yes", "running now", "")?;

    let nobody: Vec<_> =
        words(&["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    let nobody: Vec<_> = nobody.into_iter().chain(usual(&["/dev/shm/file"])).collect();
    refused(&mut vm, &nobody, &["CAP_SYS_BOOT", "root"])?;
    // From here on there is no way back in this boot.
    vm.sh("mount -t securityfs none /sys/kernel/security 2>/dev/null || true; echo integrity > /sys/kernel/security/lockdown")?;
    refused(&mut vm, &usual(&["/dev/shm/file"]), &["locked down", "Secure Boot", "pkram reserve"])?;
    let answers = findings(&mut vm, pkram("check", next, &["/dev/shm/file"]), 1)?;
    answers.is("lockdown", "no", "integrity", "Secure Boot")?;
    answers.is("sees region", "yes", "", "")?;
    vm.sh("echo 1 > /proc/sys/kernel/kexec_load_disabled")?;
    refused(&mut vm, &usual(&["/dev/shm/file"]), &["kexec_load_disabled"])
}

/// What happens between `--load-only` and `exec`, and what the last look says of it.
fn last_look(vm: &mut Vm, next: &Kernel, change: &str, says: &[&str]) -> Result<()> {
    vm.sh("head -c 3M /dev/urandom > /dev/shm/file")?;
    let loaded = vm.exec(pkram("kexec", next, &["--load-only", "it=/dev/shm/file"]))?;
    ensure!(loaded.code == Some(0), "{loaded:?}");
    ensure!(vm.sh("cat /sys/kernel/kexec_loaded")?.trim() == "1", "nothing is loaded");
    vm.sh(change)?;
    let output = vm.program(["pkram", "exec"]).limit(Duration::from_secs(60)).exec()?;
    check_refusal(vm, &output, change, says)
}

#[test]
fn files_that_change_before_the_jump() -> Result<()> {
    let Some((bed, mut vm)) = boot("files_that_change_before_the_jump")? else { return Ok(()) };
    let next = bed.kernel("6.1")?;
    for (change, says) in [
        ("truncate -s 2M /dev/shm/file", "shrank from 3145728 to 2097152"),
        ("echo more >> /dev/shm/file", "grew from 3145728"),
        ("fallocate -p -o 1M -l 4K /dev/shm/file", "other page frames at offset 0x100000"),
        (
            "fallocate -p -o 1M -l 4K /dev/shm/file && dd if=/dev/urandom of=/dev/shm/file bs=4K seek=256 count=1 conv=notrunc",
            "other page frames at offset 0x100000",
        ),
        ("chmod 600 /dev/shm/file", "other permissions, owner or extended attributes"),
        (
            "setfattr -n user.a -v b /dev/shm/file",
            "other permissions, owner or extended attributes",
        ),
        ("rm /dev/shm/file", "disappeared"),
        ("cp /dev/shm/file /tmp/f && mv /tmp/f /dev/shm/file", "disappeared"),
    ] {
        last_look(&mut vm, next, change, &["/dev/shm/file", says])?;
    }

    // Names that come are not lost without a word, and a foreign load is not jumped into.
    vm.sh("mkdir -p /dev/shm/tree/in && echo x > /dev/shm/tree/in/x")?;
    vm.run(pkram("kexec", next, &["--load-only", "/dev/shm/tree"]))?;
    vm.sh("echo y > /dev/shm/tree/in/y")?;
    let output = vm.exec(["pkram", "exec"])?;
    check_refusal(&mut vm, &output, "a new name", &["/dev/shm/tree/in", "got or lost names"])?;

    // Loading can be taken back; a second load beside the first is refused.
    vm.sh("head -c 3M /dev/urandom > /dev/shm/file")?;
    let load = pkram("kexec", next, &["--load-only", "it=/dev/shm/file"]);
    vm.run(load.clone())?;
    let second = vm.exec(load.clone())?;
    ensure!(second.code == Some(1) && second.stderr.contains("another pkram"), "{second:?}");
    vm.run(["pkram", "unload"])?;
    ensure!(vm.sh("cat /sys/kernel/kexec_loaded")?.trim() == "0", "still loaded");

    // A holder that is killed takes its load along if it can; what is left can be taken back.
    vm.run(load.clone())?;
    let kill = |signal| {
        format!(
            "for p in /proc/[0-9]*; do ! grep -qa ^@pkram $p/cmdline || kill -{signal} ${{p#/proc/}}; done; sleep 0.3; "
        )
    };
    vm.sh(&(kill("TERM") + "n=0; until [ $(cat /sys/kernel/kexec_loaded) = 0 ]; do n=$((n+1)); [ $n -lt 100 ]; sleep 0.1; done"))?;
    vm.run(load.clone())?;
    vm.sh(&(kill("KILL") + "[ $(cat /sys/kernel/kexec_loaded) = 1 ]"))?;
    vm.run(["pkram", "unload"])?;
    ensure!(vm.sh("cat /sys/kernel/kexec_loaded")?.trim() == "0", "still loaded");

    // Plain writes into held pages are welcome, and kept; what another program loads meanwhile is
    // not jumped into.
    vm.run(load)?;
    let image = bed.kernel("7.3")?.guest_image();
    vm.run(["kexec", "-c", "-l", &image, "--initrd", testbed::GUEST_INITRD, "--append=x"])?;
    vm.sh("printf 'written later' | dd of=/dev/shm/file bs=1 seek=5000 conv=notrunc")?;
    let before = vm.sh("sha256sum < /dev/shm/file")?;
    let hop = vm.kexec_into(["pkram", "exec"], crate::common::HOP)?;
    ensure!(hop.to.release == next.release, "{hop:?}");
    mount(&mut vm)?;
    ensure!(vm.sh(&format!("sha256sum < {REGION}/it/file"))? == before, "the write was lost");
    Ok(())
}
