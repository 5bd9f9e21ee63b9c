//! How long work tells how far it is.

/// Told about the stages of long work, by any thread. The library never prints.
pub trait Progress: Sync {
    /// A stage begins; it is done at `total` units (bytes, files or steps).
    fn begin(&self, stage: &'static str, total: u64);
    /// So many more units are done.
    fn advance(&self, units: u64);
    /// The stage is over.
    fn end(&self);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &'static str, _: u64) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
}
