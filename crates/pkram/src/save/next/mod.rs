//! The next kernel as the user asks for it: image, initrd, command line.
//!
//! ```text
//! NextOptions ─open─► NextFiles ─read─► NextKernel: image in memory, initrd on disk, command line
//! ```

mod files;
mod options;

pub use files::load_file;
pub use kexec::installed::NoKernel;
pub use options::{CmdlineChoice, NextOptions};

use crate::machine::MachineError;
use files::NextFiles;
use kexec::BzImage;
use kexec::bzimage::BzImageError;
use kexec::cmdline::conflicts;
use kexec::initrd::{Contents, InitrdError};
use kexec::installed::Installed;
use kexec::nextkernel::{NextKernel as Abilities, Verdict};
use kexec::parts::Parts;
use kexec::sys::KexecError;
use kexec::uki::UkiError;
use physmem::{MemoryMap, PAGE_BYTES};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// Bytes of an initrd for each that it has where it is packed by xz, the best in use.
const UNPACKED: u64 = 5;

/// Why the next kernel cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NextError {
    /// A file cannot be read.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be meant.
    #[error(
        "{path} has {len} bytes; a kernel or initrd has at most half of this machine's memory \
         ({limit} bytes)", path = .path.display()
    )]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// Its length.
        len: u64,
        /// What would do.
        limit: u64,
    },
    /// How much memory there is cannot be told.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// The image is not one that can be started.
    #[error("{path}: {source}", path = .path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: BzImageError,
    },
    /// The image is a unified one that cannot be used.
    #[error("{path}: {source}", path = .path.display())]
    Uki {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: UkiError,
    },
    /// The command line has a byte that ends it.
    #[error("the next kernel's command line contains a NUL byte")]
    Nul,
    /// `kexec_file_load` failed.
    #[error(transparent)]
    Load(#[from] KexecError),
    /// It could not see a region.
    #[error("the next kernel could not use the region: {}", .0.join("; "))]
    Blind(Vec<String>),
}

/// The next kernel, read into memory.
#[derive(Debug)]
pub struct NextKernel {
    /// Where the image was.
    pub path: PathBuf,
    image: Vec<u8>,
    initrd: Option<Initrd>,
    /// The command line.
    pub cmdline: String,
    /// Where it was found, if nobody named it.
    pub found: Option<Installed>,
}

impl NextKernel {
    /// Reads what `options` name and checks the image.
    pub fn read(options: &NextOptions) -> Result<Self, NextError> {
        let files = NextFiles::open(options)?;
        let image = files.read_image(&options.kernel)?;
        let NextFiles { initrd, cmdline, .. } = files;
        let initrd = initrd.map(|(path, parts)| Initrd::new(path, parts));
        let (path, found) = (options.kernel.clone(), options.found.clone());
        let next = Self { path, image, initrd, cmdline, found };
        next.parse()?;
        Ok(next)
    }

    /// How long the initrd is in bytes, 0 for none.
    pub fn initrd_len(&self) -> u64 {
        self.initrd.as_ref().map_or(0, |i| i.len)
    }

    /// How much the initrd takes when it is unpacked, in bytes; where that cannot be told, what the
    /// best packers make of it.
    pub fn initrd_unpacked(&self) -> u64 {
        let guess = |len: u64| len.saturating_mul(UNPACKED);
        let each = |i: &Initrd| i.contents.as_ref().map_or_else(|_| guess(i.len), |c| c.bytes);
        self.initrd.as_ref().map_or(0, each)
    }

    /// Hands the initrd to `page`, page by page; the last one may be short.
    pub(super) fn read_initrd(&self, page: &mut dyn FnMut(usize, &[u8])) -> io::Result<()> {
        let Some(Initrd { parts, len, path, .. }) = &self.initrd else { return Ok(()) };
        let closed = || io::Error::other(format!("{} is closed already", path.display()));
        let mut reader = parts.as_ref().ok_or_else(closed)?.reader();
        let (mut buffer, len) = ([0; PAGE_BYTES], *len);
        for (index, at) in (0..len).step_by(PAGE_BYTES).enumerate() {
            let bytes = usize::try_from(len - at).unwrap_or(PAGE_BYTES).min(PAGE_BYTES);
            reader.read_exact(&mut buffer[..bytes])?;
            page(index, &buffer[..bytes]);
        }
        Ok(())
    }

    /// Closes the initrd, which is staged: its disk is not to be busy when it is unmounted.
    pub(super) fn close_initrd(&mut self) {
        if let Some(initrd) = &mut self.initrd {
            initrd.parts = None;
        }
    }

    /// What the next kernel can do, each with what it is. Without any but the last it would be of no
    /// use.
    pub(crate) fn abilities(&self) -> Result<[(&'static str, Verdict); 5], NextError> {
        let kernel = self.parse()?;
        let (contents, initrd) = self.initrd_contents(kernel.release());
        let can = match kernel.release() {
            Some(release) => Abilities::look(Path::new("/"), &self.path, release, &contents),
            None => {
                let untold =
                    || Verdict::Unknown("the image does not say which kernel it is".to_owned());
                Abilities {
                    sees_spans: untold(),
                    maps_in_place: untold(),
                    mounts_ext4: untold(),
                    releases: untold(),
                }
            }
        };
        Ok([
            ("initrd", initrd),
            ("sees region", can.sees_spans),
            ("maps in place", can.maps_in_place),
            ("mounts region", can.mounts_ext4),
            ("gives back", can.releases),
        ])
    }

    /// The modules in the initrd, and whether they are this kernel's.
    fn initrd_contents(&self, release: Option<&str>) -> (Contents, Verdict) {
        let Some(Initrd { path, contents, .. }) = &self.initrd else {
            return (Contents::default(), Verdict::Yes);
        };
        let contents = match contents {
            Ok(contents) => contents.clone(),
            Err(error) => {
                let why = format!("{}: {error}", path.display());
                return (Contents::default(), Verdict::Unknown(why));
            }
        };
        let others: Vec<_> = contents.modules.keys().map(String::as_str).collect();
        let fits = others.is_empty() || release.is_none_or(|release| others.contains(&release));
        let verdict = if fits {
            Verdict::Yes
        } else {
            Verdict::No(format!(
                "{} has modules of {}, none of {}: the next kernel would find no drivers",
                path.display(),
                others.join(", "),
                release.unwrap_or_default()
            ))
        };
        (contents, verdict)
    }

    /// Why the next kernel may not be able to use a region, as far as can be told; an error where
    /// it is certain, unless `force` is set.
    pub(super) fn doubts(&self, force: bool) -> Result<Vec<String>, NextError> {
        let [needed @ .., _] = self.abilities()?;
        let mut certain = Vec::new();
        let mut doubts = Vec::new();
        for (_, verdict) in needed {
            match verdict {
                Verdict::Yes => {}
                Verdict::No(why) => certain.push(why),
                Verdict::Unknown(why) => doubts.push(why),
            }
        }
        if !force && !certain.is_empty() {
            return Err(NextError::Blind(certain));
        }
        doubts.dedup();
        doubts.extend(certain);
        Ok(doubts)
    }

    /// Refuses a command line that would hurt the regions in `map`, unless `force` is set.
    pub(super) fn refuse_conflicts(&self, map: &MemoryMap, force: bool) -> Result<(), NextError> {
        let found: Vec<_> = conflicts(&self.cmdline, map).iter().map(ToString::to_string).collect();
        if force || found.is_empty() { Ok(()) } else { Err(NextError::Blind(found)) }
    }

    /// The image, well-formed.
    pub fn parse(&self) -> Result<BzImage<'_>, NextError> {
        BzImage::parse(&self.image)
            .map_err(|source| NextError::Image { path: self.path.clone(), source })
    }
}

/// An initrd, which is read only when it is staged: there may be no room for it twice.
#[derive(Debug)]
struct Initrd {
    path: PathBuf,
    len: u64,
    /// Until it is staged.
    parts: Option<Parts>,
    contents: Result<Contents, InitrdError>,
}

impl Initrd {
    fn new(path: PathBuf, parts: Parts) -> Self {
        let contents = Contents::look(parts.reader());
        Self { path, len: parts.len(), parts: Some(parts), contents }
    }
}

fn io_at(path: &Path, source: io::Error) -> NextError {
    NextError::Io { path: path.to_owned(), source }
}
