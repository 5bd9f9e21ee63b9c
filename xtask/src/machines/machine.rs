//! The machines: what each is made of, what it carries, and what stands in its way.

/// Kernels from and to which the machines go.
const KERNELS: [&str; 3] = ["6.1", "6.12", "7.3"];

/// What a machine keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// Large files of random bytes.
    Files,
    /// A tree with everything in it.
    Tree,
    /// A hugetlbfs file.
    Huge,
    /// Small files in scattered memory.
    Scattered,
}

/// Something that stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// A word on the next kernel's command line.
    CommandLine(&'static str),
    /// A command in the machine that forbids it.
    Forbidden(&'static str),
}

/// One machine and what it is to do.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) number: usize,
    pub(super) memory_mib: u32,
    pub(super) uefi: bool,
    /// More words on the first kernel's command line.
    pub(super) append: &'static str,
    pub(super) from: &'static str,
    pub(super) to: &'static str,
    pub(super) load: Load,
    /// How much of what is available is filled, in percent.
    pub(super) percent: u64,
    pub(super) obstacle: Option<Obstacle>,
}

impl Machine {
    /// In a few words.
    pub(super) fn name(&self) -> String {
        let firmware = if self.uefi { "UEFI" } else { "BIOS" };
        let append = if self.append.is_empty() { "" } else { ", " };
        format!("{} MiB, {firmware}{append}{}", self.memory_mib, self.append)
    }
}

/// All of them, always the same. The first ones have nothing in their way but their size.
pub(super) fn machines() -> Vec<Machine> {
    const SIZES: [u32; 7] = [768, 1024, 1536, 640, 2048, 3072, 4608];
    const LOADS: [Load; 4] = [Load::Files, Load::Tree, Load::Huge, Load::Scattered];
    const PERCENT: [u64; 8] = [20, 85, 50, 92, 70, 5, 80, 40];
    const APPENDS: [&str; 5] =
        ["", "", "memmap=64M!256M", "crashkernel=96M", "numa=fake=2 transparent_hugepage=always"];
    let free = (0..32).map(|n| {
        // Steps that have no divisor in common, so that all meet all.
        let (from, to) = (KERNELS[n % 3], KERNELS[n / 3 % 3]);
        let uefi = n % 4 == 3;
        let memory_mib = SIZES[n % SIZES.len()];
        // OVMF itself takes as much as is missing.
        let memory_mib = if uefi { memory_mib.max(1024) } else { memory_mib };
        let (load, percent) = (LOADS[(n + n / 8) % 4], PERCENT[(n + n / 4) % 8]);
        let append = APPENDS[n % 5];
        (memory_mib, uefi, append, from, to, load, percent, None)
    });
    let with = |n: usize, obstacle| {
        let (from, to) = (KERNELS[n % 3], KERNELS[(n + 1 + n / 3) % 3]);
        (1024, n % 4 == 1, "", from, to, Load::Files, 20, Some(obstacle))
    };
    let obstacles = [
        Obstacle::CommandLine("mem=600M"),
        Obstacle::CommandLine("memmap=600M"),
        Obstacle::CommandLine("memmap=exactmap memmap=640K@0 memmap=700M@1M"),
        Obstacle::CommandLine("initcall_blacklist=register_e820_pmem"),
        Obstacle::CommandLine("module_blacklist=nd_e820"),
        Obstacle::CommandLine("module_blacklist=libnvdimm"),
        Obstacle::Forbidden("echo 1 > /proc/sys/kernel/kexec_load_disabled"),
        // From Linux 6.3 on; the eighth machine has 6.12.
        Obstacle::Forbidden("echo 0 > /proc/sys/kernel/kexec_load_limit_reboot"),
        Obstacle::Forbidden(
            "mount -t securityfs none /sys/kernel/security; \
             echo confidentiality > /sys/kernel/security/lockdown",
        ),
        Obstacle::Forbidden(
            "mount -t securityfs none /sys/kernel/security; \
             echo integrity > /sys/kernel/security/lockdown",
        ),
    ];
    let hindered = obstacles.into_iter().enumerate().map(|(n, obstacle)| with(n, obstacle));
    let all = free.chain(hindered).zip(1..);
    all.map(|((memory_mib, uefi, append, from, to, load, percent, obstacle), number)| Machine {
        number,
        memory_mib,
        uefi,
        append,
        from,
        to,
        load,
        percent,
        obstacle,
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn there_are_enough_and_they_vary() {
        let all = machines();
        assert!(all.len() >= 40, "{}", all.len());
        let pairs: HashSet<_> = all.iter().map(|m| (m.from, m.to)).collect();
        assert_eq!(pairs.len(), 9);
        for load in [Load::Files, Load::Tree, Load::Huge, Load::Scattered] {
            let filled: HashSet<_> =
                all.iter().filter(|m| m.load == load).map(|m| m.percent).collect();
            assert!(filled.len() >= 3, "{load:?}: {filled:?}");
        }
        assert!(all.iter().filter(|m| m.uefi).count() >= 8);
    }
}
