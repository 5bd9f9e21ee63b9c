//! `libpkram.so.0`: [`fdstore::Client`] for C. What its functions promise stands in
//! `include/pkram.h`.
//!
//! ```text
//! C ─► sys: pointers and descriptors ─► call: each call a connection of its own ─► fdstore::Client
//!   ◄─ 0 or -errno; pkram_error()    ◄─
//! ```

#![deny(unsafe_code)]

mod call;
#[expect(unsafe_code, reason = "the only place for it")]
mod sys;
