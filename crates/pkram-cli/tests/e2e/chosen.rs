//! The next kernel where it is not spelled out: a unified kernel image, and what the machine would boot.

use crate::common::{HOP, REGION, mount, whole};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::{APPEND, Vm};

/// Where the image is made.
const UKI: &str = "/run/uki/next.efi";

/// What everything in the image and its sections is a multiple of, in bytes.
const ALIGN: u32 = 4096;

/// The headers of an EFI program with sections of these names and lengths, one after the other behind
/// the headers, each at a multiple of [`ALIGN`]: what `ukify` writes, as far as a loader of UKIs looks.
/// Offsets are those of "PE Format" (learn.microsoft.com), sections "COFF File Header", "Optional Header"
/// and "Section Table".
fn headers(sections: &[(&str, u32)]) -> Vec<u8> {
    let mut file = vec![0; ALIGN as usize];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"MZ");
    put(0x3c, &0x80_u32.to_le_bytes());
    put(0x80, b"PE\0\0\x64\x86");
    put(0x86, &u16::try_from(sections.len()).unwrap_or(0).to_le_bytes());
    let optional = 240_u16;
    put(0x94, &optional.to_le_bytes());
    put(0x98, &0x20b_u16.to_le_bytes());
    put(0x98 + 108, &16_u32.to_le_bytes());
    let (mut at, mut header) = (ALIGN, 0x98 + usize::from(optional));
    for (name, len) in sections {
        put(header, name.as_bytes());
        for (field, value) in [(8, *len), (12, at), (16, *len), (20, at)] {
            put(header + field, &value.to_le_bytes());
        }
        at += len.next_multiple_of(ALIGN);
        header += 40;
    }
    file
}

/// An archive with one empty file, and two bytes that make its length an odd one.
fn archive(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (mode, name) in [(0o100_644, name), (0, "TRAILER!!!")] {
        let fields = [1, mode, 0, 0, 1, 0, 0, 0, 0, 0, 0, name.len() + 1, 0];
        bytes.extend(b"070701");
        fields.iter().for_each(|field| bytes.extend(format!("{field:08x}").bytes()));
        bytes.extend(name.bytes().chain([0]));
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes.extend([0, 0]);
    bytes
}

/// Makes the image in the guest, with the guest's own initrd.
fn make_uki(vm: &mut Vm, kernel: &str, cmdline: &str) -> Result<()> {
    let initrd = testbed::GUEST_INITRD;
    let (cmdline, marker) = (cmdline.as_bytes(), archive("from-ucode"));
    let sizes = vm.sh(&format!("mkdir -p /run/uki && stat -Lc %s {kernel} {initrd}"))?;
    let sizes: Vec<u32> = sizes.lines().map(str::parse).collect::<Result<_, _>>()?;
    let [kernel_len, initrd_len] = sizes[..] else { anyhow::bail!("{sizes:?}") };
    let len = |bytes: &[u8]| u32::try_from(bytes.len());
    let head = headers(&[
        (".cmdline", len(cmdline)?),
        (".initrd", initrd_len),
        (".linux", kernel_len),
        (".ucode", len(&marker)?),
    ]);
    for (name, bytes) in [("head", &head[..]), ("cmdline", cmdline), ("ucode", &marker)] {
        vm.write_file(&format!("/run/uki/{name}"), bytes)?;
    }
    vm.sh(&format!(
        "cd /run/uki && cp head {UKI} && for part in cmdline {initrd} {kernel} ucode; do \
         cat $part >> {UKI}; truncate -s %{ALIGN} {UKI}; done"
    ))?;
    Ok(())
}

/// The reason that `pkram check` gives for an answer that must be yes.
fn told(vm: &mut Vm, argv: &[&str], about: &str) -> Result<String> {
    let said: Value =
        vm.exec(["pkram", "check", "--json"].into_iter().chain(argv.iter().copied()))?.json()?;
    let findings = said["findings"].as_array().context("no findings")?;
    let found = findings.iter().find(|f| f["about"] == about && f["answer"] == "yes");
    let found = found.with_context(|| format!("no {about} in {said}"))?;
    Ok(found["reason"].as_str().context("no reason")?.to_owned())
}

fn cmdline(vm: &mut Vm) -> Result<String> {
    Ok(vm.sh("cat /proc/cmdline")?.trim().to_owned())
}

#[test]
fn a_kernel_that_nobody_spelled_out() -> Result<()> {
    let Some(bed) = testbed::e2e("a_kernel_that_nobody_spelled_out") else { return Ok(()) };
    let mut vm = bed.vm("chosen", bed.kernel("6.12")?).memory_mib(1536).boot()?;
    vm.sh("head -c 20M /dev/urandom > /dev/shm/file && sha256sum < /dev/shm/file > /dev/shm/sum")?;
    let running = told(&mut vm, &[], "chosen")?;
    ensure!(running.contains("running now") && running.contains("this kernel's"), "{running}");

    // A unified kernel image, with all that it has.
    let next = bed.kernel("6.1")?;
    make_uki(&mut vm, &next.guest_image(), &format!("{APPEND} by=uki initrd=none"))?;
    let release = told(&mut vm, &["--kernel", UKI], "next kernel")?;
    ensure!(release.contains(&next.release), "{release}");
    let hop = vm.kexec_into(["pkram", "kexec", "--kernel", UKI, "kept=/dev/shm"], HOP)?;
    ensure!(hop.to.release == next.release, "arrived in {}", hop.to.release);
    ensure!(cmdline(&mut vm)? == format!("{APPEND} by=uki"), "{}", cmdline(&mut vm)?);
    vm.sh("test -e /from-ucode")?;
    mount(&mut vm)?;
    vm.sh(&format!("sha256sum --check {REGION}/kept/sum < {REGION}/kept/file"))?;
    vm.run(["umount", REGION])?;
    whole(&mut vm, None)?;

    // As Debian links it, and as GRUB would boot it: nothing but a source is named.
    let next = bed.kernel("7.3")?;
    let image = next.guest_image();
    vm.sh(&format!(
        "dir=$(readlink -f /boot) && rm /boot && mkdir -p /boot/grub /boot/loader/entries && \
         ln -s $dir/* /boot/ && ln -s {image} /vmlinuz && ln -s boot/initrd.img /initrd.img && \
         printf 'linux /vmlinuz-{}\\ninitrd /initrd.img\\noptions by=entry\\n' > \
         /boot/loader/entries/test.conf",
        next.release
    ))?;
    let entry = told(&mut vm, &[], "chosen")?;
    ensure!(entry.contains("entry /boot/loader/entries/test.conf"), "{entry}");
    let config = format!(
        "set default=\"0\"\nmenuentry 'Debian GNU/Linux' {{\n\tlinux\t{image} {APPEND} by=grub\n}}\n"
    );
    vm.write_file("/boot/grub/grub.cfg", config.as_bytes())?;
    let link = told(&mut vm, &[], "chosen")?;
    ensure!(link.contains("the link /vmlinuz") && link.contains("GRUB"), "{link}");
    vm.sh("echo more > /dev/shm/more")?;
    let hop = vm.kexec_into(["pkram", "kexec", "/dev/shm"], HOP)?;
    ensure!(hop.to.release == next.release, "arrived in {}", hop.to.release);
    ensure!(cmdline(&mut vm)? == format!("{APPEND} by=grub"), "{}", cmdline(&mut vm)?);
    Ok(())
}
