//! The command line.

use clap::{Args, Parser, Subcommand};
use config::size::parse_size;
use std::ffi::OsString;
use std::path::PathBuf;

/// Keeps chosen memory alive across kexec on stock Linux kernels.
///
/// The pages of the sources stay where they are while the kernel is replaced; the next kernel finds
/// them as files of an ext4 filesystem on persistent memory, in place.
#[derive(Debug, Parser)]
#[command(name = "pkram", version, arg_required_else_help = true)]
pub struct Cli {
    /// Answer in JSON, with integers in bytes and addresses as numbers or strings of /proc/iomem
    #[arg(long, global = true)]
    pub json: bool,
    /// No progress bars
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Say whether it would work, and if not why and what would help; what would be kept, moved and
    /// left free; load nothing. Without a source: what can be said without
    #[command(mut_arg("sources", |a| a.required(false)))]
    Check {
        #[command(flatten)]
        /// What would be saved.
        save: Save,
        /// Whether `systemctl kexec` would keep what /etc/pkram/pkram.toml names, as it is now, and
        /// what services have handed over to pkramd
        #[arg(long, conflicts_with = "Save")]
        config: bool,
    },
    /// Hold the sources, plan, load the next kernel, and jump into it
    Kexec {
        /// What to save.
        #[command(flatten)]
        save: Save,
        /// Stop before the jump; a process in the background holds the sources until `pkram exec`
        /// or `pkram unload`
        #[arg(long)]
        load_only: bool,
        /// Be the process in the background
        #[arg(long, hide = true)]
        holder: bool,
    },
    /// Jump into what `pkram kexec --load-only` loaded
    Exec,
    /// Take back what `pkram kexec --load-only` loaded, and let the sources go
    Unload,
    /// List regions and what they carry
    List,
    /// Mount a region in place (ext4 with DAX; nosuid, nodev)
    #[command(override_usage = "pkram mount [OPTIONS] [REGION] <DIR>")]
    Mount {
        /// UUID of the region (or its beginning), or a device of it; may be left out where there is
        /// only one
        #[arg(num_args = 1..=2, required = true, value_names = ["REGION", "DIR"])]
        what: Vec<PathBuf>,
    },
    /// Copy nodes back to where they came from, and give the region's memory back as it goes
    Restore {
        /// The nodes; all if none is named
        names: Vec<String>,
        /// Restore to directories in DIR, each called like its node
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
        /// UUID of the region (or its beginning), or a device of it; may be left out where there is
        /// only one
        #[arg(long)]
        region: Option<String>,
        /// Keep the region; it is kept as well where not all of its nodes are restored
        #[arg(long)]
        keep: bool,
    },
    /// Check all metadata of a region; exit status 1 where something is not whole
    Verify {
        /// UUID of the region (or its beginning), or a device of it
        region: Option<String>,
    },
    /// Give the memory of a region back to the system; its content is lost
    Release {
        /// UUID of the region (or its beginning), or a device of it; without it, what was released
        /// before is given back where a killed `pkram release` or another tool's kexec left it aside
        region: Option<String>,
        /// Also a damaged span, named by its device, or what is left of an incomplete region
        #[arg(long, requires = "region")]
        force: bool,
    },
    /// Keep memory out of RAM from the next boot on, for a region that outlives reboots; without
    /// options: make the region after that boot, once, and check it in every later one
    Reserve {
        /// How much memory, e.g. 4G
        #[arg(long, value_name = "SIZE", value_parser = parse_size, conflicts_with_all = ["remove", "init"])]
        size: Option<u64>,
        /// Leave the boot loader alone; the answer names the kernel parameter
        #[arg(long, requires = "size", conflicts_with = "update_grub")]
        print: bool,
        /// Run update-grub afterwards
        #[arg(long)]
        update_grub: bool,
        /// Take the reservation back: the memory is RAM again from the next boot on
        #[arg(long, conflicts_with = "init")]
        remove: bool,
        /// Make an empty region although one was made here before, if nothing is left of that
        #[arg(long)]
        init: bool,
        /// Take back the request that the firmware wipe memory at the next reset, which kernels make
        /// in each boot for the sake of secrets in RAM
        #[arg(long, conflicts_with_all = ["remove", "size"])]
        no_wipe: bool,
    },
    /// Show what a file or device carries: span head, filesystem, manifest, tree
    Inspect {
        /// An image of a region, or a device
        path: PathBuf,
        /// List every file
        #[arg(long)]
        tree: bool,
    },
    /// Have pkramd keep a descriptor of memory (a memfd, a file on tmpfs or hugetlbfs) over the next
    /// kexec: standard input, or another
    Put {
        /// What to call it; several may have one name
        name: String,
        /// The descriptor with this number, of those that this command was started with
        #[arg(long, value_name = "N", conflicts_with = "file",
              value_parser = clap::value_parser!(i32).range(0..))]
        fd: Option<i32>,
        /// This file
        file: Option<PathBuf>,
        #[command(flatten)]
        /// Whom to ask.
        store: StoreSocket,
    },
    /// List what pkramd keeps for this user or service; with NAME, write its content to standard
    /// output; with PROGRAM, start that with the descriptors as systemd passes sockets on
    /// (`LISTEN_FDS`)
    Take {
        /// Only those of this name
        name: Option<String>,
        /// Have pkramd drop what was taken
        #[arg(long, requires = "name")]
        remove: bool,
        /// What to start, with its arguments
        #[arg(last = true, value_name = "PROGRAM")]
        program: Vec<OsString>,
        #[command(flatten)]
        /// Whom to ask.
        store: StoreSocket,
    },
    /// Show where the blackout of the kexec that started this kernel went, how memory lay before and
    /// lies now, and what of it is missing; exit status 1 where something is
    Report {
        /// Write it as one self-contained page with pictures to FILE; `-` is standard output
        #[arg(long, value_name = "FILE", conflicts_with_all = ["history", "prometheus"])]
        html: Option<PathBuf>,
        /// Show the last kexecs instead, as they are noted in /var/lib/pkram/history.jsonl
        #[arg(long, conflicts_with = "prometheus")]
        history: bool,
        /// Write metrics for node_exporter's textfile collector
        #[arg(long)]
        prometheus: bool,
    },
    /// Show what this machine and this kernel can do, and what brought this kernel here
    Status,
    /// Look at the configuration, /etc/pkram/pkram.toml and its drop-ins
    #[command(subcommand)]
    Config(Config),
}

impl Verb {
    /// Whether it answers a question and changes nothing: then a failure is no answer.
    #[must_use]
    pub const fn looks(&self) -> bool {
        matches!(
            self,
            Self::Check { .. }
                | Self::Config(_)
                | Self::Inspect { .. }
                | Self::List
                | Self::Report { .. }
                | Self::Status
                | Self::Verify { .. }
        )
    }
}

/// What about the configuration.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Tell everything that is wrong with it, or odd, and what this machine does not have; exit
    /// status 1 where something is wrong
    Check(ConfigFiles),
    /// Show what is used, with all defaults, and where each value stands that a file gives
    Show(ConfigFiles),
}

/// Which configuration.
#[derive(Clone, Debug, Args)]
pub struct ConfigFiles {
    /// The root of the system that is configured
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
    /// This file alone, which need not be installed, and no drop-ins
    pub file: Option<PathBuf>,
}

/// Where pkramd is.
#[derive(Clone, Debug, Args)]
pub struct StoreSocket {
    /// pkramd's socket
    #[arg(long, value_name = "PATH", default_value = fdstore::STORE_SOCKET, hide = true)]
    pub socket: PathBuf,
}

/// What to save, and into which kernel.
#[derive(Clone, Debug, Args)]
pub struct Save {
    /// The next kernel's image: a bzImage or a unified kernel image (UKI; of several profiles the one
    /// that runs where none is chosen) [default: what this machine would boot, by its boot loader
    /// entries, the links /vmlinuz or /boot/vmlinuz, or else the running kernel's file]
    #[arg(long, short, value_name = "FILE")]
    pub kernel: Option<PathBuf>,
    /// The next kernel's initrd [default: a UKI's own; without --kernel, the one found with it]
    #[arg(long, short, value_name = "FILE")]
    pub initrd: Option<PathBuf>,
    /// The next kernel's command line; with --reuse-cmdline, what is added to it [default: a UKI's own;
    /// without --kernel, what the boot loader would give, or else this kernel's]
    #[arg(long, value_name = "STRING", allow_hyphen_values = true)]
    pub append: Option<String>,
    /// Take this kernel's command line
    #[arg(long)]
    pub reuse_cmdline: bool,
    /// RAM that the next kernel must have, e.g. 512M [default: what it takes before any program runs,
    /// and 192 MiB and 1/256 of RAM for programs; at most half of RAM]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub reserve_ram: Option<u64>,
    /// Go on although the next kernel could not be shown to see the region
    #[arg(long)]
    pub force: bool,
    /// Seed for the random choice of the next kernel's place
    #[arg(long, hide = true)]
    pub seed: Option<u64>,
    /// Hold pages by references instead of io_uring's pins; done without asking where io_uring is
    /// forbidden or a file cannot be mapped for writing
    #[arg(long)]
    pub no_pins: bool,
    /// Refuse a plan that would move a page of the source with this name, or without a name of any
    /// source
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true,
          default_missing_value = "")]
    pub in_place: Vec<String>,
    /// Cut the region so that a `restore`, which gives memory back span by span, takes no more memory
    /// besides it than one part in N of the data; 1 never cuts [default: as far as the memory that
    /// the next kernel has left makes it necessary, and as whole memory blocks allow it]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub pieces: Option<u64>,
    /// Let huge pages of hugetlbfs move, as a whole, where there is no plan otherwise
    #[arg(long)]
    pub move_huge: bool,
    /// What to keep: a file or directory on tmpfs or hugetlbfs; `memfd:PID:FD`, a memfd of a running
    /// process; or `sysv:ID`, a SysV segment. With NAME= before it, NAME is its directory in the
    /// region
    #[arg(value_name = "[NAME=]SOURCE", required = true)]
    pub sources: Vec<String>,
}
