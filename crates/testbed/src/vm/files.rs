//! Files in a machine, carried over the agent's line in pieces.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use guest::protocol::{Answer, Bytes, MAX_CHUNK, Request};

use super::Vm;

impl Vm {
    /// Reads a whole file; meant for results, not for bulk.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read_file(&mut self, path: &str) -> Result<Vec<u8>> {
        let mut data = Vec::new();
        loop {
            let offset = u64::try_from(data.len())?;
            let request = Request::ReadFile { path: path.to_owned(), offset };
            match self.ask(request, Duration::ZERO).with_context(|| format!("read {path}"))? {
                Answer::Data(Bytes(piece)) if piece.is_empty() => return Ok(data),
                Answer::Data(Bytes(piece)) => data.extend(piece),
                other => bail!("a strange answer to read_file: {other:?}"),
            }
        }
    }

    /// Writes a whole file; meant for input, not for bulk.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_file(&mut self, path: &str, data: &[u8]) -> Result<()> {
        let mut offset = 0;
        loop {
            let end = data.len().min(offset + MAX_CHUNK);
            let request = Request::WriteFile {
                path: path.to_owned(),
                offset: u64::try_from(offset)?,
                data: Bytes(data[offset..end].to_vec()),
            };
            self.ask(request, Duration::ZERO).with_context(|| format!("write {path}"))?;
            offset = end;
            if offset == data.len() {
                return Ok(());
            }
        }
    }
}
