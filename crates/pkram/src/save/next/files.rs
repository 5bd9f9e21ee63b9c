//! The files of the next kernel, opened: what of them is kernel, initrd and command line.
//!
//! | | bzImage | unified kernel image (UKI) |
//! |---|---|---|
//! | kernel | the file | `.linux` |
//! | initrd | those named | those named, else `.ucode` and `.initrd` |
//! | command line | as given | as given, else `.cmdline` |
//!
//! A command line takes the place of the UKI's as in `systemd-stub(7)` without Secure Boot. What that
//! stub adds of itself (credentials, extensions, addons) does not come along.

use super::options::{NextOptions, OWN_CMDLINE};
use super::{NextError, io_at};
use crate::machine::mem_total;
use kexec::cmdline::compose;
use kexec::parts::Parts;
use kexec::sys;
use kexec::uki::{HEAD, Uki};
use std::ffi::CString;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// More bytes than any kernel takes as a command line (`cmdline_size`, 2047 in stock kernels).
const CMDLINE_LIMIT: u64 = 1 << 20;

/// The next kernel's files.
#[derive(Debug)]
pub(super) struct NextFiles {
    pub(super) image: Parts,
    /// The last of them is what messages name.
    pub(super) initrd: Option<(PathBuf, Parts)>,
    pub(super) cmdline: String,
}

impl NextFiles {
    /// Opens what `options` name.
    pub(super) fn open(options: &NextOptions) -> Result<Self, NextError> {
        let path = &options.kernel;
        let limit = mem_total()? / 2;
        let at = |source| io_at(path, source);
        let (file, len) = open(path, limit)?;
        let mut head = vec![0; HEAD.min(usize::try_from(len).unwrap_or(HEAD))];
        file.read_exact_at(&mut head, 0).map_err(at)?;
        let uki = Uki::find(&head, len)
            .map_err(|source| NextError::Uki { path: path.clone(), source })?
            .unwrap_or_else(|| Uki { linux: 0..len, ..Uki::default() });

        let mut initrd = Parts::default();
        let mut initrd_path = path;
        for named in &options.initrd {
            let (file, len) = open(named, limit)?;
            initrd.push(file, 0..len);
            initrd_path = named;
        }
        if options.initrd.is_empty() {
            for range in [uki.ucode, uki.initrd].into_iter().flatten() {
                initrd.push(file.try_clone().map_err(at)?, range);
            }
        }
        check_len(initrd_path, initrd.len(), limit)?;

        let mut cmdline = options.cmdline.text().map_err(|e| io_at(Path::new(OWN_CMDLINE), e))?;
        if let Some(range) = uki.cmdline.filter(|_| cmdline.is_empty()) {
            let mut own =
                vec![0; usize::try_from((range.end - range.start).min(CMDLINE_LIMIT)).unwrap_or(0)];
            file.read_exact_at(&mut own, range.start).map_err(at)?;
            let own = String::from_utf8_lossy(&own);
            cmdline = compose(Some(own.trim_end_matches('\0')), None);
        }
        let mut image = Parts::default();
        image.push(file, uki.linux);
        let initrd = (!initrd.is_empty()).then(|| (initrd_path.clone(), initrd));
        Ok(Self { image, initrd, cmdline })
    }

    /// The kernel's bytes.
    pub(super) fn read_image(&self, path: &Path) -> Result<Vec<u8>, NextError> {
        let len = usize::try_from(self.image.len()).unwrap_or(0);
        let mut bytes = Vec::with_capacity(len);
        self.image.reader().read_to_end(&mut bytes).map_err(|e| io_at(path, e))?;
        Ok(bytes)
    }
}

/// Loads the next kernel as any other program would, by `kexec_file_load(2)`: with nothing to keep but
/// what is kept already.
///
/// # Errors
/// A file cannot be used, or the kernel refuses.
pub fn load_file(options: &NextOptions) -> Result<(), NextError> {
    let NextFiles { image, initrd, cmdline } = NextFiles::open(options)?;
    let image = image.to_file().map_err(|e| io_at(&options.kernel, e))?;
    let to_file = |(path, parts): &(PathBuf, Parts)| parts.to_file().map_err(|e| io_at(path, e));
    let initrd = initrd.as_ref().map(to_file).transpose()?;
    let cmdline = CString::new(cmdline).map_err(|_| NextError::Nul)?;
    Ok(sys::load_file(image.as_fd(), initrd.as_ref().map(|f| f.as_fd()), &cmdline)?)
}

/// The file and its length.
fn open(path: &Path, limit: u64) -> Result<(File, u64), NextError> {
    let at = |source| io_at(path, source);
    let file = File::open(path).map_err(at)?;
    let len = file.metadata().map_err(at)?.len();
    check_len(path, len, limit)?;
    Ok((file, len))
}

fn check_len(path: &Path, len: u64, limit: u64) -> Result<(), NextError> {
    if len > limit {
        return Err(NextError::TooLarge { path: path.to_owned(), len, limit });
    }
    Ok(())
}
