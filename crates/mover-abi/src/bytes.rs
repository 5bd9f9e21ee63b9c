//! Little-endian fields in a byte array whose offsets are constants.

/// The `N` bytes of `bytes` from `OFFSET` on.
pub(crate) fn field<const OFFSET: usize, const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut value = [0; N];
    if let Some(found) = bytes.get(OFFSET..).and_then(|rest| rest.first_chunk::<N>()) {
        value = *found;
    }
    value
}

/// Writes fields one after the other.
pub(crate) struct Writer<'a> {
    rest: &'a mut [u8],
}

impl<'a> Writer<'a> {
    pub(crate) fn new(bytes: &'a mut [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Appends `field`; the caller's array is large enough by its constant size.
    pub(crate) fn put<const N: usize>(&mut self, field: [u8; N]) {
        let (head, rest) = core::mem::take(&mut self.rest).split_at_mut(N);
        head.copy_from_slice(&field);
        self.rest = rest;
    }
}
