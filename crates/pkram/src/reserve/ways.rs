//! The two ways of keeping memory, and which of them this machine allows.
//!
//! | way | needs | over |
//! |---|---|---|
//! | saved by `pkram kexec` | `kexec_load`, which lockdown forbids | one kexec after the other |
//! | reserved by `pkram reserve` | a size fixed at boot; this kernel's pmem drivers | any kexec, and firmware that leaves memory alone |

use crate::machine;
use kexec::initrd::Contents;
use kexec::nextkernel::{NextKernel, Verdict};
use kexec::preflight::{Obstacle, obstacles};
use serde::Serialize;
use std::fmt;
use std::path::Path;

/// What stands in the way of each; empty is good.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ways {
    /// Of saving at a kexec.
    pub saved: Vec<String>,
    /// Of reserving at boot.
    pub reserved: Vec<String>,
}

impl Ways {
    /// Of the machine whose root folder is `root` (`/`) with the running kernel.
    pub fn look(root: &Path) -> Self {
        let release = machine::kernel_release();
        let image = root.join("boot").join(format!("vmlinuz-{release}"));
        let can = NextKernel::look(root, &image, &release, &Contents::default());
        let missing = [can.sees_spans, can.maps_in_place, can.mounts_ext4];
        Self::of(&obstacles(root), missing)
    }

    fn of(obstacles: &[Obstacle], abilities: impl IntoIterator<Item = Verdict>) -> Self {
        let words = |o: &Obstacle| format!("{o}: {}", o.remedy());
        let encrypted = obstacles.iter().filter(|o| matches!(o, Obstacle::EncryptedMemory { .. }));
        let missing = abilities.into_iter().filter_map(|verdict| match verdict {
            Verdict::No(why) => Some(why),
            Verdict::Yes | Verdict::Unknown(_) => None,
        });
        Self {
            saved: obstacles.iter().map(words).collect(),
            reserved: encrypted.map(words).chain(missing).collect(),
        }
    }
}

impl fmt::Display for Ways {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, verb, against) in
            [("saved", "pkram kexec", &self.saved), ("reserved", "pkram reserve", &self.reserved)]
        {
            match against.as_slice() {
                [] => writeln!(f, "{name:<11}  possible ({verb})")?,
                all => all.iter().try_for_each(|why| writeln!(f, "{name:<11}  no: {why}"))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lockdown_leaves_the_reserved_way() {
        let locked = [Obstacle::LockedDown { mode: "integrity".to_owned() }];
        let ways = Ways::of(&locked, [Verdict::Yes, Verdict::Unknown("no config".to_owned())]);
        assert_eq!((ways.saved.len(), ways.reserved.len()), (1, 0));
        assert!(ways.to_string().contains("reserved     possible"), "{ways}");
        let encrypted = [Obstacle::EncryptedMemory { how: "SEV" }];
        let ways = Ways::of(&encrypted, [Verdict::No("no nd_e820".to_owned())]);
        assert_eq!((ways.saved.len(), ways.reserved.len()), (1, 2));
    }
}
