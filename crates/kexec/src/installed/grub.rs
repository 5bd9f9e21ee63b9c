//! The command line of GRUB's default entry, where its configuration says it plainly.
//!
//! `grub.cfg` is a program. What `grub-mkconfig` writes is understood as far as this goes:
//!
//! ```text
//! set default="0"                        the first entry, and nothing asked for the next boot alone
//! menuentry 'Debian GNU/Linux' … {       the first, in no submenu and under no condition
//!     linux /boot/vmlinuz-… WORD…        one such line, of the kernel in question, WORDs in plain text
//! }
//! ```
//!
//! Everything else is not certain. Source: GRUB manual, "Shell-like scripting"; `util/grub.d/00_header.in`,
//! `10_linux.in`.

use crate::files;
use std::path::Path;

/// The command line that GRUB gives the kernel in the file named `image`, if that is certain.
pub(super) fn cmdline(root: &Path, image: &str) -> Option<String> {
    let folder = root.join("boot/grub");
    let environment = files::read_text(&folder.join("grubenv")).unwrap_or_default();
    let asked = |line: &str| line.strip_prefix("next_entry=").is_some_and(|id| !id.is_empty());
    if environment.lines().any(asked) {
        return None;
    }
    default_cmdline(&files::read_text(&folder.join("grub.cfg")).ok()?, image)
}

fn default_cmdline(config: &str, image: &str) -> Option<String> {
    let lines = || config.lines().map(str::trim);
    let mut defaults = lines().filter_map(|line| line.strip_prefix("set default="));
    let is_first = |value| matches!(value, "\"0\"" | "0" | "\"${next_entry}\"");
    if !defaults.all(is_first) {
        return None;
    }
    let mut words = first_entry(lines())?.split_ascii_whitespace();
    let (path, words) = (words.next()?, words.collect::<Vec<_>>().join(" "));
    let is_plain = !words.contains(['$', '"', '\'', '\\', '{', '}', ';', '#', '`']);
    (path.rsplit('/').next() == Some(image) && is_plain).then_some(words)
}

/// What follows `linux` in the first entry, if that is plain to see.
fn first_entry<'a>(mut lines: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (mut conditions, mut braces) = (0_u32, 0_u32);
    loop {
        let line = lines.next()?;
        let is_entry = line.starts_with("menuentry ") || line.starts_with("submenu ");
        if is_entry && braces == 0 {
            let is_plain = conditions == 0 && line.starts_with("menuentry ") && line.ends_with('{');
            if is_plain { break } else { return None }
        }
        count(line, &mut conditions, &mut braces)?;
    }
    let (mut linux, mut conditions, mut braces) = (None, 0, 1);
    while braces > 0 {
        let line = lines.next()?;
        if let Some(rest) = line.strip_prefix("linux").filter(|rest| rest.starts_with([' ', '\t']))
        {
            let is_plain = linux.is_none() && conditions == 0 && braces == 1;
            linux = is_plain.then_some(rest);
            linux?;
        }
        count(line, &mut conditions, &mut braces)?;
    }
    linux
}

/// Counts what is open behind a line: conditions, and functions or entries.
fn count(line: &str, conditions: &mut u32, braces: &mut u32) -> Option<()> {
    if line.starts_with('#') {
        return Some(());
    }
    let ends = line == "fi" || line.ends_with("; fi");
    *conditions =
        (*conditions + u32::from(line.starts_with("if "))).checked_sub(u32::from(ends))?;
    *braces = (*braces + u32::from(line.ends_with('{'))).checked_sub(u32::from(line == "}"))?;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    /// As `grub-mkconfig` of Debian writes it, shortened.
    const DEBIAN: &str = r#"
### BEGIN /etc/grub.d/00_header ###
if [ -s $prefix/grubenv ]; then
  set have_grubenv=true
  load_env
fi
if [ "${next_entry}" ] ; then
   set default="${next_entry}"
   set next_entry=
   save_env next_entry
   set boot_once=true
else
   set default="0"
fi
if [ x"${feature_menuentry_id}" = xy ]; then
  menuentry_id_option="--id"
else
  menuentry_id_option=""
fi
function savedefault {
  if [ -z "${boot_once}" ]; then
    saved_entry="${chosen}"
    save_env saved_entry
  fi
}
### BEGIN /etc/grub.d/10_linux ###
function gfxmode {
	set gfxpayload="${1}"
}
menuentry 'Debian GNU/Linux' --class debian $menuentry_id_option 'gnulinux-simple-7' {
	load_video
	insmod gzio
	if [ x$grub_platform = xxen ]; then insmod xzio; insmod lzopio; fi
	if [ x$feature_platform_search_hint = xy ]; then
	  search --no-floppy --fs-uuid --set=root --hint-bios=hd0,msdos1  7
	else
	  search --no-floppy --fs-uuid --set=root 7
	fi
	echo	'Loading Linux 6.12.95-amd64 ...'
	linux	/boot/vmlinuz-6.12.95-amd64 root=UUID=7 ro  quiet console=ttyS0,115200
	echo	'Loading initial ramdisk ...'
	initrd	/boot/initrd.img-6.12.95-amd64
}
submenu 'Advanced options for Debian GNU/Linux' $menuentry_id_option 'gnulinux-advanced-7' {
	menuentry 'Debian GNU/Linux, with Linux 6.1' {
		linux	/boot/vmlinuz-6.1 root=UUID=7 ro single
	}
}
"#;
    const IMAGE: &str = "vmlinuz-6.12.95-amd64";

    #[test]
    fn reads_what_debian_writes() {
        let given = default_cmdline(DEBIAN, IMAGE);
        assert_eq!(given.as_deref(), Some("root=UUID=7 ro quiet console=ttyS0,115200"));
        assert_eq!(default_cmdline(DEBIAN, "vmlinuz-6.1"), None, "not the default");
    }

    #[test]
    fn takes_nothing_that_is_not_certain() {
        for (from, to) in [
            ("set default=\"0\"", "set default=\"saved\""),
            ("set default=\"0\"", "set default=\"${saved_entry}\""),
            (" quiet ", " $extra "),
            (" quiet ", " x=\"a b\" "),
            ("menuentry 'Debian GNU/Linux' -", "submenu 'Debian GNU/Linux' -"),
            ("\tload_video\n", "\tlinux /boot/vmlinuz-6.12.95-amd64 other\n"),
            ("### BEGIN /etc/grub.d/10_linux ###", "if [ x = y ]; then"),
            ("### BEGIN /etc/grub.d/10_linux ###", "}"),
            (
                "\tinitrd\t/boot/initrd.img-6.12.95-amd64\n}",
                "\tif [ a ]; then\n\tlinux /x\n\tfi\n}",
            ),
        ] {
            let changed = DEBIAN.replacen(from, to, 1);
            assert_ne!(changed, DEBIAN, "{from}");
            assert_eq!(default_cmdline(&changed, IMAGE), None, "{from} -> {to}");
        }
    }

    #[test]
    fn asks_grubenv_for_the_next_boot() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("boot/grub");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("grub.cfg"), DEBIAN).unwrap();
        assert!(cmdline(root.path(), IMAGE).is_some());
        fs::write(folder.join("grubenv"), "# GRUB Environment Block\nnext_entry=\n####").unwrap();
        assert!(cmdline(root.path(), IMAGE).is_some());
        fs::write(folder.join("grubenv"), "# GRUB Environment Block\nnext_entry=rescue\n####")
            .unwrap();
        assert_eq!(cmdline(root.path(), IMAGE), None);
    }

    proptest! {
        #[test]
        fn never_panics(cut in 0..DEBIAN.len(), at in 0..DEBIAN.len(), line in "[a-z{}; ]{0,9}\n") {
            let config = format!("{}{line}{}", &DEBIAN[..at], &DEBIAN[at..]);
            let _ = default_cmdline(&config, IMAGE);
            prop_assert_eq!(default_cmdline(&DEBIAN[..cut], "vmlinuz-6.1"), None);
        }
    }
}
