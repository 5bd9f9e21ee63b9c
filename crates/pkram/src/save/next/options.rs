//! What the user asks the next kernel to be.

use kexec::cmdline::compose;
use kexec::installed::{Installed, NoKernel, installed, running};
use std::fs;
use std::io;
use std::path::PathBuf;

/// What the user chose.
#[derive(Clone, Debug)]
pub struct NextOptions {
    /// The kernel image: a bzImage, or a unified kernel image.
    pub kernel: PathBuf,
    /// The initrds, one after the other; where there is none, that of a unified kernel image.
    pub initrd: Vec<PathBuf>,
    /// The command line; where it comes to nothing, that of a unified kernel image.
    pub cmdline: CmdlineChoice,
    /// Where it was found, if nobody named it.
    pub found: Option<Installed>,
}

impl NextOptions {
    /// This kernel with this initrd and command line.
    pub fn new(
        kernel: impl Into<PathBuf>,
        initrd: Option<impl Into<PathBuf>>,
        cmdline: impl Into<String>,
    ) -> Self {
        Self {
            kernel: kernel.into(),
            initrd: initrd.into_iter().map(Into::into).collect(),
            cmdline: CmdlineChoice::Append(cmdline.into()),
            found: None,
        }
    }

    /// What this machine would boot.
    ///
    /// # Errors
    /// That cannot be told.
    pub fn installed() -> Result<Self, NoKernel> {
        Ok(Self::of(installed()?))
    }

    /// The kernel that is running.
    ///
    /// # Errors
    /// Its file is not there any more.
    pub fn running() -> Result<Self, NoKernel> {
        Ok(Self::of(running()?))
    }

    fn of(found: Installed) -> Self {
        let cmdline = match found.cmdline.clone() {
            Some(given) => CmdlineChoice::Append(given),
            None => CmdlineChoice::Reuse { append: None },
        };
        let (kernel, initrd) = (found.image.clone(), found.initrd.clone());
        Self { kernel, initrd, cmdline, found: Some(found) }
    }
}

/// Where the next kernel's command line comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CmdlineChoice {
    /// As given.
    Append(String),
    /// This kernel's own, and something after it.
    Reuse {
        /// What is added.
        append: Option<String>,
    },
}

/// This kernel's command line.
pub(super) const OWN_CMDLINE: &str = "/proc/cmdline";

impl CmdlineChoice {
    /// The command line that it comes to.
    ///
    /// # Errors
    /// This kernel's own cannot be read.
    pub(super) fn text(&self) -> io::Result<String> {
        Ok(match self {
            Self::Append(text) => compose(None, Some(text)),
            Self::Reuse { append } => {
                let own = fs::read(OWN_CMDLINE)?;
                compose(Some(&String::from_utf8_lossy(&own)), append.as_deref())
            }
        })
    }
}
