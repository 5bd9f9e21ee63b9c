//! Boot loader entries as `bootctl list` knows them: all places, the loader's configuration and the
//! EFI variables are looked at, as systemd-boot does.
//!
//! Source of the fields: systemd, `src/shared/bootspec.c` (`boot_entry_to_json()`). Of those for the
//! command line, `cmdline` has that of addons as well (systemd 257). systemd 252 answers with one
//! object a line, and does not say which is the default: that is no answer here.

use super::entry::Entry;
use super::within;
use serde::Deserialize;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// More bytes than any answer has: an entry takes some hundreds.
const LIMIT: u64 = 1 << 20;

/// Asks bootctl; none where it is not installed or knows nothing.
pub(super) fn list() -> Option<Vec<u8>> {
    let mut bootctl = Command::new("bootctl")
        .args(["list", "--json=short", "--no-pager"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut answer = Vec::new();
    let read = bootctl.stdout.take()?.take(LIMIT).read_to_end(&mut answer);
    let status = bootctl.wait().ok()?;
    (read.is_ok() && status.success()).then_some(answer)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    #[serde(default)]
    id: String,
    path: Option<PathBuf>,
    root: Option<PathBuf>,
    linux: Option<String>,
    efi: Option<String>,
    uki: Option<String>,
    #[serde(default)]
    profile: u32,
    #[serde(default)]
    initrd: Vec<String>,
    options: Option<String>,
    cmdline: Option<String>,
    #[serde(default)]
    is_default: bool,
}

/// The default entry in bootctl's answer. One that the loader finds by itself, such as another system,
/// has no image.
pub(super) fn default_entry(json: &[u8]) -> Option<Entry> {
    let all: Vec<Told> = serde_json::from_slice(json).ok()?;
    let told = all.into_iter().find(|told| told.is_default)?;
    let root = told.root.filter(|root| root.is_absolute());
    let at = |path: &String| within(root.as_deref()?, path);
    let image = told.linux.or(told.uki).or(told.efi);
    Some(Entry {
        id: told.id,
        path: told.path.unwrap_or_default(),
        image: image.as_ref().and_then(at),
        initrd: told.initrd.iter().map(at).collect::<Option<_>>()?,
        options: told.cmdline.or(told.options).unwrap_or_default(),
        has_profile: told.profile != 0,
        ..Entry::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;

    /// As systemd 257 answers on a machine with an entry of each type.
    const ANSWER: &str = r#"[
        {"type":"type2","source":"esp","id":"debian-6.12.efi",
         "path":"/efi/EFI/Linux/debian-6.12.efi","root":"/efi","title":"debian","showTitle":"debian",
         "sortKey":"debian","version":"13","options":"root=UUID=8",
         "linux":"/EFI/Linux/debian-6.12.efi","isReported":false,"isDefault":true,"addons":null,
         "cmdline":"root=UUID=8"},
        {"type":"type1","source":"xbootldr","id":"0f-6.1.conf",
         "path":"/boot/loader/entries/0f-6.1.conf","root":"/boot","title":"x","showTitle":"x",
         "version":"6.1","options":"ro","linux":"/0f/6.1/linux","initrd":["/0f/6.1/initrd"],
         "isReported":false,"isDefault":false,"addons":null,"cmdline":"ro"},
        {"type":"auto","source":"esp","id":"auto-windows","title":"Windows Boot Manager",
         "path":"/sys/firmware/efi/efivars/LoaderEntries-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f",
         "isReported":true,"isDefault":false}]"#;

    #[test]
    fn takes_the_default() {
        let uki = default_entry(ANSWER.as_bytes()).unwrap().installed().unwrap();
        assert_eq!(uki.image, Path::new("/efi/EFI/Linux/debian-6.12.efi"));
        assert_eq!(uki.cmdline.as_deref(), Some("root=UUID=8"));
        let swapped = ANSWER.replace("\"isDefault\":true", "\"isDefault\":0");
        assert_eq!(default_entry(swapped.as_bytes()), None, "not a truth value");
        let first = ANSWER
            .replace("\"isDefault\":true", "\"isDefault\":null_")
            .replace("\"isDefault\":false", "\"isDefault\":true")
            .replace("null_", "false");
        let first = default_entry(first.as_bytes()).unwrap().installed().unwrap();
        assert_eq!(first.initrd, [Path::new("/boot/0f/6.1/initrd")]);
    }

    #[test]
    fn systemd_252_does_not_say() {
        let answer = br#"{"id":"debian-6.1.efi","path":"/efi/EFI/Linux/debian-6.1.efi","root":"/efi","title":"debian","showTitle":"debian","sortKey":"debian","version":"12","options":"root=/dev/vda ro quiet","linux":"EFI/Linux/debian-6.1.efi"}
{"id":"0f-6.12.conf","path":"/efi/loader/entries/0f-6.12.conf","root":"/efi","title":"x","showTitle":"x","version":"6.12","options":"ro","linux":"/0f/6.1/linux","initrd":["/0f/6.1/initrd"]}
"#;
        assert_eq!(default_entry(answer), None);
    }

    #[test]
    fn another_system_is_no_kernel() {
        let windows = br#"[{"type":"auto","id":"auto-windows","isDefault":true}]"#;
        let error = default_entry(windows).unwrap().installed().unwrap_err();
        assert!(error.to_string().contains("auto-windows boots no Linux kernel"), "{error}");
        let out = br#"[{"id":"x","root":"/efi","linux":"/../../etc/passwd","isDefault":true}]"#;
        assert!(default_entry(out).unwrap().installed().is_err());
        let addons = br#"[{"id":"x","root":"/efi","linux":"/x.efi","options":"a","cmdline":"a b",
                           "isDefault":true}]"#;
        let installed = default_entry(addons).unwrap().installed().unwrap();
        assert_eq!(installed.cmdline.as_deref(), Some("a b"));
    }

    proptest! {
        #[test]
        fn never_panics(at in 0..ANSWER.len(), byte in any::<u8>(), cut in 0..ANSWER.len()) {
            let mut answer = ANSWER.as_bytes().to_vec();
            answer[at] = byte;
            let _ = default_entry(&answer).map(Entry::installed);
            let _ = default_entry(&answer[..cut]);
            prop_assert!(default_entry(&vec![b'['; 10_000]).is_none());
        }
    }
}
