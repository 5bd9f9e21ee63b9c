//! The kernel's log, for the next kernel's users to read what happened before.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;

/// The most that one read of `/dev/kmsg` returns (`PRINTK_MESSAGE_MAX`, `kernel/printk/internal.h`)
/// with room to spare.
const RECORD_MAX: usize = 16384;

/// The log as `dmesg` prints it, oldest line first.
pub(crate) fn read() -> io::Result<String> {
    let mut kmsg = File::options().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg")?;
    let mut log = String::new();
    let mut record = vec![0; RECORD_MAX];
    loop {
        match kmsg.read(&mut record) {
            Ok(0) => return Ok(log),
            Ok(n) => append(&mut log, &String::from_utf8_lossy(&record[..n])),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(log),
            // EPIPE: the record was overwritten while we read; the next read goes on.
            Err(e) if e.raw_os_error() == Some(libc::EPIPE) => {}
            Err(e) => return Err(e),
        }
    }
}

/// One record: `priority,sequence,microseconds,flags;text`, then lines ` KEY=value` that only
/// machines read (`Documentation/ABI/testing/dev-kmsg`).
fn append(log: &mut String, record: &str) {
    let Some((prefix, text)) = record.split_once(';') else { return };
    let micros = prefix.split(',').nth(2).and_then(|t| t.parse::<u64>().ok()).unwrap_or(0);
    let line = text.lines().next().unwrap_or_default();
    let _ = writeln!(log, "[{:5}.{:06}] {line}", micros / 1_000_000, micros % 1_000_000);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_dmesg_does() {
        let mut log = String::new();
        append(&mut log, "6,339,5140900,-;NET: Registered protocol family\n SUBSYSTEM=x\n");
        append(&mut log, "broken");
        assert_eq!(log, "[    5.140900] NET: Registered protocol family\n");
    }
}
