//! The functions of `pkram.h`: the only place with pointers.

use crate::call::{fail, last, use_socket, with};
use fdstore::Kept;
use rustix::io::Errno;
use std::ffi::{CStr, OsStr, c_char, c_int};
use std::os::fd::{BorrowedFd, IntoRawFd as _};
use std::os::unix::ffi::OsStrExt as _;

/// `struct pkram_kept`.
#[repr(C)]
pub(crate) struct PkramKept {
    name: [c_char; 256],
    fd: c_int,
}

/// What C sees of a result.
fn done(result: Result<(), Errno>) -> c_int {
    match result {
        Ok(()) => 0,
        Err(errno) => -errno.raw_os_error(),
    }
}

/// Text of the caller's, if it gave some.
///
/// # Safety
/// `text` is null, or begins a string that ends with a NUL and does not change during the call, as
/// `pkram.h` has it for every `const char *`.
unsafe fn text<'a>(text: *const c_char) -> Result<Option<&'a str>, Errno> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: not null, and then a string that outlives the call, by this function's contract; what
    // is made of it here is used within the call alone.
    let text = unsafe { CStr::from_ptr(text) };
    let text = text.to_str().map_err(|_| fail(Errno::INVAL, format!("{text:?} is not UTF-8")))?;
    Ok(Some(text))
}

/// As [`text`], but it must be given.
///
/// # Safety
/// As there.
unsafe fn name<'a>(pointer: *const c_char) -> Result<&'a str, Errno> {
    // SAFETY: the caller's promise is the same.
    let name = unsafe { text(pointer) }?;
    name.ok_or_else(|| fail(Errno::INVAL, "the name is NULL".to_owned()))
}

/// # Safety
/// `pointer` is null or a string; `fd` stays open during the call, if it is open.
// SAFETY: no other symbol is called so: the prefix is this library's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn pkram_put(pointer: *const c_char, fd: c_int) -> c_int {
    let put = || {
        // SAFETY: the caller's promise is the same.
        let name = unsafe { name(pointer) }?;
        if fd < 0 {
            return Err(fail(Errno::BADF, format!("{fd} is no descriptor")));
        }
        // SAFETY: it is not -1, and it is borrowed for this call, during which nobody closes it. A
        // number that is not open does no harm: the kernel answers EBADF.
        let descriptor = unsafe { BorrowedFd::borrow_raw(fd) };
        with(|client| client.put(name, descriptor))
    };
    done(put())
}

/// # Safety
/// `pointer` is null or a string; `fd` is null or may be written to.
// SAFETY: no other symbol is called so: the prefix is this library's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn pkram_take(pointer: *const c_char, fd: *mut c_int) -> c_int {
    let take = || {
        // SAFETY: the caller's promise is the same.
        let name = unsafe { name(pointer) }?;
        if fd.is_null() {
            return Err(fail(Errno::INVAL, "fd is NULL".to_owned()));
        }
        let none = || fail(Errno::NOENT, String::new());
        let taken = with(|client| client.take(name))?.ok_or_else(none)?;
        // SAFETY: not null, and then the caller's to be written to.
        unsafe { fd.write(taken.into_raw_fd()) };
        Ok(())
    };
    done(take())
}

/// # Safety
/// `pointer` is null or a string; `kept` has room for `count`, or `count` is 0.
// SAFETY: no other symbol is called so: the prefix is this library's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn pkram_take_all(
    pointer: *const c_char,
    kept: *mut PkramKept,
    count: usize,
) -> isize {
    let take = || {
        // SAFETY: the caller's promise is the same.
        let name = unsafe { text(pointer) }?;
        if kept.is_null() && count > 0 {
            return Err(fail(Errno::INVAL, "kept is NULL".to_owned()));
        }
        let all = with(|client| client.take_all(name))?;
        let found = all.len();
        for (i, Kept { name, descriptor }) in all.into_iter().take(count).enumerate() {
            // One byte is left for the NUL: a name has at most 255.
            let mut text = [0; 256];
            for (to, from) in text[..255].iter_mut().zip(name.as_str().bytes()) {
                *to = from.cast_signed();
            }
            let one = PkramKept { name: text, fd: descriptor.into_raw_fd() };
            // SAFETY: i < count, and there is room for so many, so this stays within one object.
            let to = unsafe { kept.add(i) };
            // SAFETY: the caller's to be written to, aligned as an array of the struct is.
            unsafe { to.write(one) };
        }
        Ok(found)
    };
    match take() {
        Ok(found) => found.cast_signed(),
        Err(errno) => -(errno.raw_os_error() as isize),
    }
}

/// # Safety
/// `pointer` is null or a string.
// SAFETY: no other symbol is called so: the prefix is this library's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn pkram_remove(pointer: *const c_char) -> c_int {
    // SAFETY: the caller's promise is the same.
    let name = unsafe { name(pointer) };
    done(name.and_then(|name| with(|client| client.remove(name))))
}

// SAFETY: no other symbol is called so: the prefix is this library's.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn pkram_error() -> *const c_char {
    // It stays where it is until this thread's next call that fails.
    last(|error| error.as_ptr())
}

/// # Safety
/// `path` is null or a string.
// SAFETY: no other symbol is called so: the prefix is this library's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn pkram_use_socket(path: *const c_char) -> c_int {
    let path = match path.is_null() {
        true => None,
        // SAFETY: not null, and then a string that outlives the call.
        false => Some(OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes()).into()),
    };
    use_socket(path);
    0
}
