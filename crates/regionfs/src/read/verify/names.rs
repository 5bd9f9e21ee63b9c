//! Who is named where and how often: link counts, types, and one tree of directories.

use super::Problems;
use crate::layout::{ROOT_INODE, dirent_type, index};
use crate::read::directory::Dots;
use crate::read::{DirEntry, Inode, Problem};

/// What is known of one inode.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// The file type byte of its mode; 0 if it is not in use.
    file_type: u8,
    /// The one that a name gave it.
    named_type: u8,
    links: u16,
    /// Names that lead here, of a directory also its "." and each "..".
    names: u32,
    /// Of a directory: the one that names it.
    parent: u32,
    /// Of a directory: where ".." leads.
    dotdot: u32,
}

#[derive(Debug)]
pub(super) struct Names {
    /// By inode number.
    inodes: Vec<Known>,
    /// Something could not be read, so that what is missing proves nothing.
    incomplete: bool,
}

impl Names {
    pub(super) fn new(inodes: u32) -> Self {
        let mut names =
            Self { inodes: vec![Known::default(); index(inodes.into()) + 1], incomplete: false };
        // The root has no name; its ".." is what stands for one.
        names.at(ROOT_INODE).parent = ROOT_INODE;
        names
    }

    fn at(&mut self, number: u32) -> &mut Known {
        &mut self.inodes[index(number.into())]
    }

    /// From here on, missing names are no problem.
    pub(super) const fn give_up(&mut self) {
        self.incomplete = true;
    }

    pub(super) fn set_inode(&mut self, inode: &Inode) {
        let known = self.at(inode.number);
        known.file_type = dirent_type(inode.mode);
        known.links = inode.links;
    }

    /// Notes a directory's names. The reader has checked that their inodes exist.
    pub(super) fn set_directory(
        &mut self,
        inode: &Inode,
        entries: &[DirEntry],
        dots: &Dots,
        problems: &mut Problems,
    ) {
        let place = || format!("directory {}, '.'", inode.number);
        problems.expect(place, inode.number, dots.own);
        let directory = self.at(inode.number);
        directory.names += 1;
        directory.dotdot = dots.parent;
        self.at(dots.parent).names += 1;
        for entry in entries {
            let place = || {
                let name = String::from_utf8_lossy(&entry.name);
                format!("directory {}, name {name:?}", inode.number)
            };
            let known = self.at(entry.inode);
            known.names += 1;
            if known.named_type != 0 && known.named_type != entry.file_type {
                problems.add(Problem::new(place(), known.named_type, entry.file_type));
            }
            known.named_type = entry.file_type;
            if entry.file_type == dirent_type(crate::layout::mode::DIRECTORY) {
                if known.parent != 0 {
                    problems.add(Problem::new(place(), "a directory's only name", "another"));
                }
                known.parent = inode.number;
            }
        }
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        if self.incomplete {
            return;
        }
        for (number, known) in (0_u32..).zip(&self.inodes) {
            if known.file_type == 0 && known.names > 0 {
                let found = format!("{} names", known.names);
                problems.add(Problem::new(format!("inode {number}"), "to be in use", found));
            }
            if known.file_type != 0 {
                self.check_one(number, known, problems);
            }
        }
        self.check_directories(problems);
    }

    fn check_one(&self, number: u32, known: &Known, problems: &mut Problems) {
        let is_directory = known.file_type == dirent_type(crate::layout::mode::DIRECTORY);
        // `dir_nlink`: 1 stands for too many to count.
        if !(is_directory && known.links == 1) {
            problems.expect(|| format!("inode {number}, links"), known.names, known.links.into());
        }
        if number != ROOT_INODE {
            let place = || format!("inode {number}, type in its name");
            problems.expect(place, known.file_type, known.named_type);
        }
        if is_directory {
            let place = || format!("directory {number}, '..'");
            problems.expect(place, known.parent, known.dotdot);
        }
    }

    /// Every directory leads up to the root.
    fn check_directories(&self, problems: &mut Problems) {
        let directory = dirent_type(crate::layout::mode::DIRECTORY);
        // The number of the walk that came by; the root's own is 0.
        let mut walk = vec![u32::MAX; self.inodes.len()];
        walk[index(ROOT_INODE.into())] = 0;
        for (number, known) in (0_u32..).zip(&self.inodes) {
            if known.file_type != directory || number == ROOT_INODE {
                continue;
            }
            let mut at = number;
            while walk[index(at.into())] == u32::MAX {
                walk[index(at.into())] = number;
                at = self.inodes[index(at.into())].parent;
            }
            if at != 0 && walk[index(at.into())] == number {
                let place = format!("directory {number}");
                problems.add(Problem::new(place, "a way up to the root", "a circle"));
            }
        }
    }
}
