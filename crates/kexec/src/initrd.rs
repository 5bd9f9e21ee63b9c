//! What an initrd carries: modules, and of which kernels.
//!
//! ```text
//! [cpio] [zeros] [cpio] … [cpio, or gzip or zstd of cpios]
//! ```
//!
//! Source: `Documentation/driver-api/early-userspace/buffer-format.rst`,
//! `init/initramfs.c: unpack_to_rootfs()`.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, BufRead, BufReader, Read};

/// A header of the format `newc`: magic and 13 fields of 8 hexadecimal digits.
const HEADER: usize = 110;
/// Where the file's length stands in it, and the name's.
const FILE_SIZE: usize = 54;
const NAME_SIZE: usize = 94;
/// `PATH_MAX`: the kernel takes no longer names.
const NAME_LIMIT: u64 = 4096;
/// The name behind which an archive ends.
const TRAILER: &[u8] = b"TRAILER!!!";
/// More bytes than any initrd has unpacked: a bomb is not followed further.
const LIMIT: u64 = 16 << 30;

/// Why an initrd cannot be looked into.
#[derive(Debug, thiserror::Error)]
pub enum InitrdError {
    /// It cannot be read, or its compressed data is damaged.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Compressed in another way than gzip or zstd.
    #[error("it is compressed with {0}, which pkram does not unpack")]
    Packed(&'static str),
    /// Something else.
    #[error("byte {at:#x} of the unpacked data begins neither a cpio archive nor compressed data")]
    Strange {
        /// How many bytes were understood.
        at: u64,
    },
}

/// What is in an initrd.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// How many bytes it has when it is unpacked.
    pub bytes: u64,
    /// Names of modules, with `-` as `_`, by the release of the kernel that they are for.
    pub modules: BTreeMap<String, HashSet<String>>,
}

impl Contents {
    /// Looks into an initrd.
    ///
    /// # Errors
    /// See [`InitrdError`]; the kernel may understand what we do not.
    pub fn look(initrd: impl Read) -> Result<Self, InitrdError> {
        Self::read(BufReader::with_capacity(1 << 20, initrd))
    }

    fn read(file: impl BufRead) -> Result<Self, InitrdError> {
        let mut found = Self::default();
        let mut file = Counted { inner: file, at: 0 };
        found.archives(&mut file)?;
        match file.fill_buf()? {
            [] => return Ok(found),
            [0x1f, 0x8b, ..] => {
                let unpacked = flate2::bufread::MultiGzDecoder::new(file);
                found.archives(&mut counted(unpacked))?;
            }
            [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                let unpacked =
                    ruzstd::decoding::StreamingDecoder::new(file).map_err(io::Error::other)?;
                found.archives(&mut counted(unpacked))?;
            }
            [0xfd, b'7', b'z', b'X', ..] => return Err(InitrdError::Packed("xz")),
            [0x5d, 0, 0, ..] => return Err(InitrdError::Packed("lzma")),
            [b'B', b'Z', b'h', ..] => return Err(InitrdError::Packed("bzip2")),
            [0x02, 0x21, 0x4c, 0x18, ..] => return Err(InitrdError::Packed("lz4")),
            [0x89, b'L', b'Z', b'O', ..] => return Err(InitrdError::Packed("lzo")),
            _ => return Err(InitrdError::Strange { at: file.at }),
        }
        Ok(found)
    }

    /// Archives and zeros, up to what is neither.
    fn archives(&mut self, from: &mut Counted<impl BufRead>) -> Result<(), InitrdError> {
        loop {
            match from.fill_buf()? {
                [0, ..] => from.consume(1),
                [b'0', ..] => while self.entry(from)? {},
                _ => break,
            }
        }
        self.bytes = self.bytes.saturating_add(from.at);
        Ok(())
    }

    /// One entry of an archive; false at its end.
    fn entry(&mut self, from: &mut Counted<impl BufRead>) -> Result<bool, InitrdError> {
        let at = from.at;
        let strange = || InitrdError::Strange { at };
        let mut header = [0; HEADER];
        from.read_exact(&mut header)?;
        if !matches!(&header[..6], b"070701" | b"070702") {
            return Err(strange());
        }
        let field = |at: usize| {
            let digits = str::from_utf8(&header[at..at + 8]).ok()?;
            u64::from_str_radix(digits, 16).ok()
        };
        let (size, name_len) = (field(FILE_SIZE), field(NAME_SIZE));
        let (Some(size), Some(name_len @ 1..=NAME_LIMIT)) = (size, name_len) else {
            return Err(strange());
        };
        let mut name = Vec::new();
        from.take(name_len).read_to_end(&mut name)?;
        name.pop();
        if at > LIMIT {
            return Err(strange());
        }
        from.skip((HEADER as u64 + name_len).next_multiple_of(4) - HEADER as u64 - name_len)?;
        from.skip(size.next_multiple_of(4))?;
        self.note(&name);
        Ok(name != TRAILER)
    }

    /// `[usr/]lib/modules/RELEASE/…/NAME.ko[.xz]`
    fn note(&mut self, path: &[u8]) {
        let Ok(path) = str::from_utf8(path) else { return };
        let path = path.trim_start_matches(['.', '/']);
        let path = path.strip_prefix("usr/").unwrap_or(path);
        let Some((release, rest)) =
            path.strip_prefix("lib/modules/").and_then(|p| p.split_once('/'))
        else {
            return;
        };
        let file = rest.rsplit('/').next().unwrap_or(rest);
        if let Some((name, _)) = file.split_once(".ko") {
            let names = self.modules.entry(release.to_owned()).or_default();
            names.insert(name.replace('-', "_"));
        }
    }
}

/// A reader that knows how far it is.
struct Counted<R> {
    inner: R,
    at: u64,
}

fn counted<R: Read>(inner: R) -> Counted<BufReader<R>> {
    Counted { inner: BufReader::with_capacity(1 << 17, inner), at: 0 }
}

impl<R: BufRead> Counted<R> {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let skipped = io::copy(&mut self.take(bytes), &mut io::sink())?;
        if skipped < bytes { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.inner.consume(amount);
        self.at += amount as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    /// An archive as the crate `cpio` writes it.
    fn archive(names: &[&str]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, name) in (0_u32..).zip(names) {
            let mut entry = cpio::newc::Builder::new(name).ino(number).write(&mut bytes, 5);
            entry.write_all(b"bytes").unwrap();
            entry.finish().unwrap();
        }
        cpio::newc::trailer(&mut bytes).unwrap();
        bytes
    }

    fn early_and_late() -> (Vec<u8>, Vec<u8>) {
        let mut early = archive(&["kernel/x86/microcode/AuthenticAMD.bin"]);
        early.resize(early.len().next_multiple_of(512), 0);
        let late = archive(&[
            "init",
            "usr/lib/modules/6.1.0-1-amd64/kernel/drivers/nvdimm/nd_pmem.ko.xz",
            "./lib/modules/6.1.0-1-amd64/kernel/drivers/dax/dax-pmem.ko",
            "lib/modules/7.3/modules.dep",
            "lib/modules/7.3/kernel/fs/ext4.ko.zst",
        ]);
        (early, late)
    }

    fn expected() -> Contents {
        let names = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect();
        let of = [("6.1.0-1-amd64", names(&["nd_pmem", "dax_pmem"])), ("7.3", names(&["ext4"]))];
        let (early, late) = early_and_late();
        let bytes = (early.len() + late.len()) as u64;
        Contents { bytes, modules: of.into_iter().map(|(r, n)| (r.to_owned(), n)).collect() }
    }

    #[test]
    fn finds_modules_in_plain_and_in_packed_archives() {
        let (early, late) = early_and_late();
        assert_eq!(
            Contents::read(&[early.clone(), late.clone()].concat()[..]).unwrap(),
            expected()
        );
        for packer in ["gzip", "zstd"] {
            let spawned =
                Command::new(packer).arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
            let Ok(mut child) = spawned else {
                assert!(std::env::var_os("PKRAM_TEST_REQUIRE").is_none(), "no {packer}");
                eprintln!("skipped for want of {packer}");
                continue;
            };
            child.stdin.take().unwrap().write_all(&late).unwrap();
            let packed = child.wait_with_output().unwrap().stdout;
            let whole = [early.clone(), packed].concat();
            assert_eq!(Contents::read(&whole[..]).unwrap(), expected(), "{packer}");
        }
    }

    #[test]
    fn says_what_it_does_not_understand() {
        let (early, _) = early_and_late();
        let with = |tail: &[u8]| Contents::read(&[&early[..], tail].concat()[..]);
        assert!(matches!(with(b"\xfd7zXZ\0..."), Err(InitrdError::Packed("xz"))));
        let at = early.len() as u64;
        assert!(matches!(with(b"noise"), Err(InitrdError::Strange { at: a }) if a == at));
        assert!(matches!(with(b"070701"), Err(InitrdError::Io(_))));
        let nothing = Contents { bytes: at, ..Contents::default() };
        assert_eq!(with(b"").unwrap(), nothing);
    }

    proptest! {
        #[test]
        fn never_panics(cut in 0_usize..600, noise in proptest::collection::vec(any::<u8>(), 0..300)) {
            let (_, mut late) = early_and_late();
            late.truncate(cut);
            late.extend(noise);
            let _ = Contents::read(&late[..]);
        }
    }
}
