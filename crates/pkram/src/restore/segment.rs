//! A SysV segment that is known again, whenever the run that made it was killed.
//!
//! ```text
//! note our pid ─► shmget, mode 0100 ─► note the id ─► copy ─► owner and mode
//! ```
//!
//! | killed | the next run |
//! |---|---|
//! | before shmget | finds none, and makes one |
//! | before the id is noted | finds it in `/proc/sysvipc/shm` |
//! | later | has its id |
//!
//! What it finds there is its own: born with this key and size, of this user, in the process that
//! was noted before, with [`UNFINISHED`] rights, which no other program asks for, and not noted for
//! another node. Nobody has ever attached it, so that it has nothing that could be lost.

use super::RestoreError;
use super::error::io_at;
use super::journal::{Journal, Noted};
use crate::manifest::SysvOrigin;
use crate::sys::{make_shm, set_shm, shm_stat};
use physmem::PAGE_SIZE;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::process;

/// Where the system lists its segments.
const LIST: &str = "/proc/sysvipc/shm";

/// The columns there (`shm_init`, `ipc/shm.c`); kernels add others behind them.
const COLUMNS: [&str; 16] = [
    "key", "shmid", "perms", "size", "cpid", "lpid", "nattch", "uid", "gid", "cuid", "cgid",
    "atime", "dtime", "ctime", "rss", "swap",
];

/// Rights of a segment until its data are there: root's alone, who needs none. They say nothing
/// else (`x` has no meaning for segments), so that nobody makes a segment with these by chance.
const UNFINISHED: u16 = 0o100;

/// What was asked of shmget, and who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Birth {
    key: i32,
    bytes: u64,
    mode: u16,
    /// User.
    creator: u32,
    /// Process.
    maker: u32,
}

/// A line of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Listed {
    id: i32,
    birth: Birth,
    /// Whether anybody has ever attached it.
    used: bool,
    /// Bytes of memory and swap that it has.
    there: u64,
}

/// The segment that an earlier run made for this node, if there is one.
pub(super) fn earlier(
    node: &str,
    origin: &SysvOrigin,
    journal: &Journal,
) -> Result<Option<i32>, RestoreError> {
    match journal.segment(node) {
        None => Ok(None),
        Some(Noted::Made { id }) => {
            let same = |s: crate::sys::ShmStat| (s.bytes, s.key) == (origin.size, origin.key);
            Ok(Some(id).filter(|&id| shm_stat(id).is_ok_and(same)))
        }
        Some(Noted::Making { maker }) => {
            let birth = birth(origin.key, origin.size, maker);
            Ok(find(&list()?, birth, |id| journal.is_segment(id)))
        }
    }
}

/// Makes the segment where it is not there yet, without rights for anybody but root.
pub(super) fn make(
    node: &str,
    origin: &SysvOrigin,
    earlier: Option<i32>,
    journal: &mut Journal,
) -> Result<i32, RestoreError> {
    let id = match earlier {
        Some(id) => id,
        None => {
            journal.note_segment(node, Noted::Making { maker: process::id() })?;
            make_shm(origin.key, origin.size, UNFINISHED, origin.page > PAGE_SIZE)
                .map_err(|source| RestoreError::Segment { key: origin.key, source })?
        }
    };
    journal.note_segment(node, Noted::Made { id })?;
    Ok(id)
}

/// Hands the segment, with its data, to its owner.
pub(super) fn dress(id: i32, origin: &SysvOrigin) -> Result<(), RestoreError> {
    let &SysvOrigin { key, uid, gid, mode, .. } = origin;
    set_shm(id, uid, gid, mode).map_err(|source| RestoreError::Segment { key, source })
}

/// How much memory these segments have, in bytes.
pub(super) fn bytes_there(ids: &[i32]) -> Result<u64, RestoreError> {
    let list = if ids.is_empty() { Vec::new() } else { list()? };
    let theirs = list.iter().filter(|s| ids.contains(&s.id));
    Ok(theirs.fold(0, |sum, s| sum.saturating_add(s.there)))
}

/// How a segment is born that process `maker` makes.
fn birth(key: i32, bytes: u64, maker: u32) -> Birth {
    let creator = rustix::process::geteuid().as_raw();
    Birth { key, bytes, mode: UNFINISHED, creator, maker }
}

/// The segment of this birth that nobody has used and that is not known as another node's.
fn find(list: &[Listed], birth: Birth, is_known: impl Fn(i32) -> bool) -> Option<i32> {
    list.iter().find(|s| s.birth == birth && !s.used && !is_known(s.id)).map(|s| s.id)
}

/// The segments that the system has.
fn list() -> Result<Vec<Listed>, RestoreError> {
    let list = File::open(LIST).and_then(|file| parse(BufReader::new(file)));
    list.map_err(io_at(LIST))
}

/// Reads the list.
fn parse(list: impl BufRead) -> io::Result<Vec<Listed>> {
    let mut lines = list.lines();
    let head = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    if !head.split_whitespace().take(COLUMNS.len()).eq(COLUMNS) {
        return Err(io::Error::other(format!("its first line is {head:?}, not the known columns")));
    }
    let line = |line: io::Result<String>| {
        let line = line?;
        listed(&line).ok_or_else(|| io::Error::other(format!("{line:?} is not of a segment")))
    };
    lines.map(line).collect()
}

/// A segment's line, as `sysvipc_shm_proc_show` writes it (`ipc/shm.c`).
fn listed(line: &str) -> Option<Listed> {
    let fields: Vec<_> = line.split_whitespace().take(COLUMNS.len()).collect();
    let &[key, id, mode, bytes, maker, _, _, _, _, creator, _, attached_at, _, _, rss, swap] =
        &fields[..]
    else {
        return None;
    };
    let birth = Birth {
        key: key.parse().ok()?,
        bytes: bytes.parse().ok()?,
        mode: u16::from_str_radix(mode, 8).ok()?,
        creator: creator.parse().ok()?,
        maker: maker.parse().ok()?,
    };
    let used = attached_at.parse::<u64>().ok()? != 0;
    let there = rss.parse::<u64>().ok()?.checked_add(swap.parse().ok()?)?;
    Some(Listed { id: id.parse().ok()?, birth, used, there })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{Access, Attached, remove_shm};
    use proptest::prelude::*;

    /// In the kernel's form (`sysvipc_shm_proc_show`): one segment right after shmget, and one in use.
    const TEXT: &str = "\
       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap
-559038737          0   100                  5000 23739     0      0     0     0     0     0          0          0 1795361098                     0                     0
         0      32769  1640              16777216   911   933      2  1000  1000     0     0 1795361001 1795361002 1795361000              16773120                  4096
";
    const BIRTH: Birth =
        Birth { key: -559_038_737, bytes: 5000, mode: 0o100, creator: 0, maker: 23739 };

    fn parsed(text: &str) -> io::Result<Vec<Listed>> {
        parse(text.as_bytes())
    }

    #[test]
    fn reads_what_the_kernel_writes() {
        let used = Birth { key: 0, bytes: 16 << 20, mode: 0o1640, creator: 0, maker: 911 };
        let expected = [
            Listed { id: 0, birth: BIRTH, used: false, there: 0 },
            Listed { id: 32769, birth: used, used: true, there: 16 << 20 },
        ];
        assert_eq!(parsed(TEXT).unwrap(), expected);
    }

    #[test]
    fn nobody_elses_segment_is_taken() {
        assert_eq!(find(&parsed(TEXT).unwrap(), BIRTH, |_| false), Some(0));
        assert_eq!(find(&parsed(TEXT).unwrap(), BIRTH, |id| id == 0), None, "another node's");
        // One column of the line at a time: key, mode, size, maker, creator, time of use.
        let others = [
            ("-559038737", "-559038736"),
            ("  100 ", "  600 "),
            ("  100 ", " 2100 "),
            (" 5000 ", " 5001 "),
            ("23739", "23740"),
            (
                "0     0          0          0 1795361098",
                "1     0          0          0 1795361098",
            ),
            (
                "0     0          0          0 1795361098",
                "0     0          7          0 1795361098",
            ),
        ];
        for (ours, other) in others {
            assert!(TEXT.contains(ours));
            let list = parsed(&TEXT.replacen(ours, other, 1)).unwrap();
            assert_eq!(find(&list, BIRTH, |_| false), None, "{other}");
        }
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        let (head, first) = TEXT.split_once('\n').unwrap();
        let first = first.lines().next().unwrap();
        assert!(parsed("").is_err(), "no columns");
        assert!(parsed(&TEXT.replacen("cpid", "ctid", 1)).is_err(), "other columns");
        assert!(parsed(first).is_err(), "no columns before the first line");
        assert_eq!(parsed(head).unwrap(), [], "no segments");
        for bad in [
            "",
            "1 2 3",
            &first.replace(" 5000 ", " 99999999999999999999 "),
            &first.replace(" 5000 ", " -1 "),
            &first.replace("  100 ", "  189 "),
            &first.replace("  100 ", " 777777 "),
            &first.replace("23739", "0x5cbb"),
            &first.replace("-559038737", "3735928559"),
            &format!("{} {} {}", &first[..first.len() - 44], u64::MAX, 1),
        ] {
            assert!(parsed(&format!("{head}\n{bad}\n{first}\n")).is_err(), "{bad:?}");
        }
        assert!(parse(&[head.as_bytes(), b"\n\xff\xfe\n"].concat()[..]).is_err(), "no text");
    }

    proptest! {
        #[test]
        fn any_text_ends(
            lines in prop::collection::vec("[ 0-9a-z-]{0,90}", 0..20),
            any in any::<Vec<u8>>(),
        ) {
            let head = TEXT.lines().next().unwrap();
            let text = format!("{head}\n{}", lines.join("\n"));
            if let Ok(list) = parsed(&text) {
                prop_assert!(list.len() <= lines.len());
            }
            prop_assert!(parse(&any[..]).is_err());
        }
    }

    #[test]
    fn a_segment_is_known_until_somebody_uses_it() {
        let id = make_shm(0, 5001, UNFINISHED, false).unwrap();
        let known = || find(&list().unwrap(), birth(0, 5001, process::id()), |_| false);
        let new = known();
        let me = |mode| {
            let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
            set_shm(id, uid.as_raw(), gid.as_raw(), mode).unwrap();
        };
        me(0o600);
        let finished = known();
        drop(Attached::new(id, Access::Read).unwrap());
        me(UNFINISHED);
        let used = known();
        remove_shm(id).unwrap();
        assert_eq!((new, finished, used), (Some(id), None, None));
    }
}
