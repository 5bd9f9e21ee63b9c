//! Reserved regions: over the firmware, over a panic, over `kexec_file_load`; and what became of them
//! where memory was cleared or used in between.

use crate::common::{HOP, REGION, hop, memory_map, number, whole};
use anyhow::{Context, Result, ensure};
use physmem::E820Type;
use serde_json::Value;
use testbed::{APPEND, GUEST_INITRD, Kernel, Testbed, Vm};

/// The note on disk. The guests' disk is their initramfs, so the tests carry it over a reboot.
const NOTE: &str = "/var/lib/pkram/reserve.json";

const RESET: [&str; 3] = ["sh", "-c", "echo b > /proc/sysrq-trigger"];
const PANIC: [&str; 3] = ["sh", "-c", "echo c > /proc/sysrq-trigger"];

fn reserve(vm: &mut Vm, more: &[&str]) -> Result<Value> {
    let words = ["pkram", "reserve", "--json"].into_iter().chain(more.iter().copied());
    let said = vm.exec(words)?;
    ensure!(said.code == Some(0), "pkram reserve {more:?}: {}", said.stderr);
    said.json()
}

/// `pkram` with these words refuses, and says all of `why`.
fn refused(vm: &mut Vm, words: &[&str], why: &[&str]) -> Result<()> {
    let said = vm.exec(["pkram"].into_iter().chain(words.iter().copied()))?;
    ensure!(said.code == Some(1), "pkram {words:?} goes on: {said:?}");
    for word in why {
        ensure!(said.stderr.contains(word), "pkram {words:?} does not say {word}: {}", said.stderr);
    }
    Ok(())
}

/// A machine with a range set aside, made as a user would: choose, add the parameter, boot again.
fn reserved(bed: &Testbed, name: &str, secure: bool) -> Result<(Vm, String)> {
    let kernel = bed.kernel("6.12")?;
    let machine = |name: &str| {
        let machine = bed.vm(name, kernel).memory_mib(1024);
        if secure { machine.secure_boot() } else { machine }
    };
    let mut vm = machine(&format!("{name}-choose")).boot()?;
    vm.sh("mkdir -p /etc/default && touch /etc/default/grub")?;
    let said = reserve(&mut vm, &["--size", "192M"])?;
    let parameter = said["parameter"].as_str().context("no parameter")?.to_owned();
    ensure!(parameter.starts_with("memmap=194M!0x"), "{parameter}");
    let drop_in = vm.sh(
        "GRUB_CMDLINE_LINUX=quiet; . /etc/default/grub.d/pkram.cfg; echo $GRUB_CMDLINE_LINUX",
    )?;
    ensure!(drop_in.trim() == format!("quiet {parameter}"), "{drop_in}");
    refused(&mut vm, &["reserve", "--size", "64M"], &["already"])?;
    ensure!(reserve(&mut vm, &[])?["state"] == "next-boot", "not in force, yet said to be");
    reserve(&mut vm, &["--remove"])?;
    ensure!(vm.sh("ls /etc/default/grub.d")?.is_empty(), "--remove leaves the drop-in");
    refused(&mut vm, &["reserve"], &["nothing is reserved"])?;
    let said = reserve(&mut vm, &["--size", "192M", "--print"])?;
    ensure!(said["parameter"] == *parameter, "another place the second time: {said}");
    let note = vm.read_file(NOTE)?;
    drop(vm);

    let vm = machine(name).append(&format!("{parameter} panic=1")).resets(true).boot()?;
    let mut vm = vm;
    put_note(&mut vm, &note)?;
    let said = reserve(&mut vm, &[])?;
    ensure!(said["state"] == "made" && said["generation"] == 1, "{said}");
    ensure!(reserve(&mut vm, &[])?["state"] == "here", "made twice");
    Ok((vm, parameter))
}

fn put_note(vm: &mut Vm, note: &[u8]) -> Result<()> {
    vm.run(["mkdir", "-p", "/var/lib/pkram"])?;
    vm.write_file(NOTE, note)
}

/// A command after which another kernel runs; the note goes with it.
fn cross(vm: &mut Vm, argv: &[&str]) -> Result<()> {
    let note = vm.read_file(NOTE)?;
    vm.kexec_into(argv.iter().copied(), HOP)?;
    put_note(vm, &note)
}

/// By kexec-tools and `kexec_file_load`.
fn file_load(vm: &mut Vm, next: &Kernel, parameter: &str) -> Result<()> {
    let append = format!("--append={APPEND} {parameter}");
    vm.run(["kexec", "-s", "-l", &next.guest_image(), "--initrd", GUEST_INITRD, &append])?;
    cross(vm, &["kexec", "-e"])?;
    ensure!(vm.hello().release == next.release, "arrived in {}", vm.hello().release);
    Ok(())
}

/// Under Secure Boot the kernel has locked itself down, and takes only signed ones.
fn locked_down(vm: &mut Vm, next: &Kernel) -> Result<()> {
    vm.sh("mountpoint -q /sys/kernel/security || mount -t securityfs none /sys/kernel/security")?;
    let lockdown = vm.sh("cat /sys/kernel/security/lockdown")?;
    ensure!(lockdown.contains("[integrity]"), "no lockdown: {lockdown}");
    let said = vm.exec(["pkram", "check"])?;
    ensure!(said.code == Some(1), "{said:?}");
    let text = String::from_utf8_lossy(&said.stdout);
    for word in ["forbids kexec_load", "reserved     possible"] {
        ensure!(text.contains(word), "no {word}: {text}");
    }
    vm.sh("echo kept > /dev/shm/note")?;
    let (image, why) = (next.guest_image(), ["locked down (integrity)", "pkram reserve"]);
    refused(vm, &["kexec", "--kernel", &image, "note=/dev/shm/note"], &why)?;
    // Only what is changed in it makes the difference.
    vm.sh(&format!("cp {image} /dev/shm/forged"))?;
    vm.run(["kexec", "-s", "-l", "/dev/shm/forged"])?;
    vm.run(["kexec", "-s", "-u"])?;
    vm.sh("echo | dd of=/dev/shm/forged bs=1 seek=1M conv=notrunc")?;
    let forged = vm.exec(["kexec", "-s", "-l", "/dev/shm/forged"])?;
    ensure!(forged.code != Some(0), "a kernel with a wrong signature is taken");
    vm.sh("rm /dev/shm/forged /dev/shm/note")?;
    Ok(())
}

fn mount(vm: &mut Vm) -> Result<()> {
    vm.run(["mkdir", "-p", REGION])?;
    vm.run(["pkram", "mount", REGION]).map(drop)
}

/// Makes a tree in the mounted region and answers with its digest.
fn fill(vm: &mut Vm, name: &str, seed: &str) -> Result<String> {
    let dir = format!("{REGION}/{name}");
    vm.run(["mkdir", &dir])?;
    vm.run(["guest", "mktree", "--seed", seed, "--files", "60", "--total", "12", &dir])?;
    vm.run(["sync"])?;
    vm.run(["guest", "digest", &dir])
}

/// The region arrived as its `generation`, and each tree in it is what it was. It stays mounted.
fn intact(vm: &mut Vm, generation: u64, trees: &[(&str, &str)]) -> Result<Value> {
    let said = reserve(vm, &[])?;
    ensure!(said["state"] == "here" && number(&said, "/generation")? == generation, "{said}");
    mount(vm)?;
    for (name, digest) in trees {
        let now = vm.run(["guest", "digest", &format!("{REGION}/{name}")])?;
        ensure!(now == **digest, "{name} changed before generation {generation}");
    }
    Ok(said)
}

fn unmount_and_check(vm: &mut Vm, device: &str) -> Result<()> {
    vm.run(["umount", REGION])?;
    whole(vm, None)?;
    vm.run(["e2fsck", "-fn", device]).map(drop)
}

/// A region that came through a reboot, a panic and `kexec -s`: the machine, the parameter, and the
/// digests of the trees `one` and `two`.
fn survives(bed: &Testbed, name: &str, secure: bool) -> Result<(Vm, String, [String; 2])> {
    let (mut vm, parameter) = reserved(bed, name, secure)?;
    mount(&mut vm)?;
    let one = fill(&mut vm, "one", "1")?;
    vm.run(["umount", REGION])?;

    cross(&mut vm, &RESET)?;
    let said = intact(&mut vm, 2, &[("one", &one)])?;
    if secure {
        ensure!(said["wipe"] == "unknown", "efivarfs is not mounted: {said}");
        // OVMF without a TPM has no such request, and lets nobody make one.
        vm.sh("mount -t efivarfs none /sys/firmware/efi/efivars")?;
        ensure!(reserve(&mut vm, &["--no-wipe"])?["wipe"] == "not-asked", "who asked?");
    }
    ensure!(said["needs_replay"] == false, "{said}");
    let device = said["device"].as_str().context("no device")?.to_owned();
    ensure!(reserve(&mut vm, &[])?["in_use"] == true, "mounted, and not said to be in use");

    // Written, synced and never unmounted; then some that nobody synced.
    let two = fill(&mut vm, "two", "2")?;
    vm.sh(&format!("cp -r {REGION}/two {REGION}/three; rm -r {REGION}/three/*"))?;
    cross(&mut vm, &PANIC)?;
    let trees = [("one", one.as_str()), ("two", &two)];
    let said = intact(&mut vm, 3, &trees)?;
    ensure!(said["needs_replay"] == true, "a panic unmounts nothing: {said}");
    unmount_and_check(&mut vm, &device)?;

    let next = bed.kernel("6.1")?;
    if secure {
        locked_down(&mut vm, next)?;
    }
    file_load(&mut vm, next, &parameter)?;
    if secure {
        locked_down(&mut vm, next)?;
    }
    intact(&mut vm, 4, &trees)?;
    vm.run(["umount", REGION])?;
    Ok((vm, parameter, [one, two]))
}

#[test]
fn reserved_memory_survives_under_secure_boot() -> Result<()> {
    let name = "reserved_memory_survives_under_secure_boot";
    let Some(bed) = testbed::e2e(name) else { return Ok(()) };
    survives(bed, name, true).map(drop)
}

#[test]
fn reserved_memory_survives_and_its_loss_is_seen() -> Result<()> {
    let name = "reserved_memory_survives_and_its_loss_is_seen";
    let Some(bed) = testbed::e2e(name) else { return Ok(()) };
    let (mut vm, parameter, [one, two]) = survives(bed, name, false)?;

    // Our own kexec keeps it whether the parameter is repeated or not.
    vm.sh("echo kept > /dev/shm/note")?;
    let note = vm.read_file(NOTE)?;
    hop(&mut vm, bed.kernel("6.12")?, &["note=/dev/shm/note"])?;
    put_note(&mut vm, &note)?;
    ensure!(memory_map(&mut vm)?.of_type(E820Type::Pram).count() == 2, "not two regions");
    let said = reserve(&mut vm, &[])?;
    ensure!(said["state"] == "here" && said["generation"] == 5, "{said}");
    let uuid = said["region"].as_str().context("no region")?.to_owned();
    vm.run(["mkdir", "-p", REGION])?;
    vm.run(["pkram", "mount", &uuid, REGION])?;
    for (tree, digest) in [("one", one), ("two", two)] {
        let now = vm.run(["guest", "digest", &format!("{REGION}/{tree}")])?;
        ensure!(now == digest, "{tree} changed over pkram kexec");
    }
    vm.run(["umount", REGION])?;

    // One kernel without the parameter, by a loader that builds its map from the firmware's: our
    // map says what is persistent, so nothing is lost there either. From the firmware on it would
    // be; the note has to know.
    cross(&mut vm, &RESET)?;
    let said = reserve(&mut vm, &[])?;
    ensure!(said["generation"] == 6, "{said}");
    let device = said["device"].as_str().context("no device")?.to_owned();
    file_load(&mut vm, bed.kernel("6.12")?, "")?;
    refused(&mut vm, &["reserve"], &["is RAM in this boot", &parameter, "is lost"])?;
    cross(&mut vm, &RESET)?;
    // Whether its marks were hit or not.
    refused(&mut vm, &["reserve"], &["left as it is"])?;
    refused(&mut vm, &["mount", REGION], &["no region here"])?;
    let note = String::from_utf8(vm.read_file(NOTE)?)?;
    ensure!(note.contains("\"generation\": 7"), "{note}");

    // Clear it, as told, and begin again.
    vm.sh(&format!("dd if=/dev/zero of={device} bs=2M 2>/dev/null || true"))?;
    refused(&mut vm, &["reserve"], &["nothing of it is left", "--init"])?;
    let said = reserve(&mut vm, &["--init"])?;
    ensure!(said["state"] == "made" && said["generation"] == 1, "{said}");
    mount(&mut vm)?;
    fill(&mut vm, "three", "3")?;
    vm.run(["umount", REGION])?;

    // A quarter in the middle is cleared before the reset, as firmware does that clears a bank.
    vm.sh(&format!("dd if=/dev/zero of={device} bs=2M seek=40 count=24 conv=notrunc 2>/dev/null"))?;
    cross(&mut vm, &RESET)?;
    let look = format!("(head -c 8M; tail -c 8M) < {device} | sha256sum");
    let before = vm.sh(&look)?;
    refused(&mut vm, &["reserve"], &["marks", "all bytes are zero", "dd if=/dev/zero"])?;
    refused(&mut vm, &["reserve", "--init"], &["marks"])?;
    refused(&mut vm, &["mount", REGION], &["no region here", "marks"])?;
    let list: Value = vm.exec(["pkram", "list", "--json"])?.json()?;
    ensure!(list["regions"].as_array().is_some_and(Vec::is_empty), "{list}");
    ensure!(list["damaged"][0]["error"].as_str().is_some_and(|e| e.contains("marks")), "{list}");

    // The beginning is cleared as well: what remains in the end still speaks.
    ensure!(vm.sh(&look)? == before, "something was written");
    vm.sh(&format!("dd if=/dev/zero of={device} bs=2M count=40 conv=notrunc 2>/dev/null"))?;
    refused(&mut vm, &["reserve", "--init"], &["nothing there is wanted"])?;

    // And what others made is theirs.
    vm.sh(&format!("dd if=/dev/zero of={device} bs=2M 2>/dev/null || mkswap {device}"))?;
    refused(&mut vm, &["reserve", "--init"], &["swap space"])?;
    Ok(())
}
