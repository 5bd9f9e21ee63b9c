//! What the functions do, without pointers.

use fdstore::packet::ReceiveError;
use fdstore::{Client, ClientError, STORE_SOCKET, TIMEOUT};
use rustix::io::Errno;
use std::cell::RefCell;
use std::ffi::CString;
use std::path::PathBuf;
use std::sync::RwLock;

/// Where pkramd is, if not where it always is.
static SOCKET: RwLock<Option<PathBuf>> = RwLock::new(None);

thread_local! {
    /// Why the last call of this thread failed.
    static ERROR: RefCell<CString> = RefCell::default();
}

/// Asks another pkramd from now on.
pub(crate) fn use_socket(path: Option<PathBuf>) {
    *SOCKET.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = path;
}

/// Connects, and does something; what is returned is what C sees.
pub(crate) fn with<T>(work: impl FnOnce(&Client) -> Result<T, ClientError>) -> Result<T, Errno> {
    let socket = SOCKET.read().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
    let socket = socket.unwrap_or_else(|| STORE_SOCKET.into());
    let done = Client::connect_to(&socket, TIMEOUT).and_then(|client| work(&client));
    done.map_err(|error| fail(errno(&error), error.to_string()))
}

/// Remembers why a call fails.
pub(crate) fn fail(errno: Errno, why: String) -> Errno {
    let why = CString::new(why.replace('\0', " ")).unwrap_or_default();
    ERROR.with_borrow_mut(|last| *last = why);
    errno
}

/// Lets the last error of this thread be looked at; it stays where it is until the next.
pub(crate) fn last<T>(look: impl FnOnce(&CString) -> T) -> T {
    ERROR.with_borrow(look)
}

/// The number for an error.
fn errno(error: &ClientError) -> Errno {
    let of = |e: &std::io::Error| Errno::from_io_error(e).unwrap_or(Errno::IO);
    match error {
        ClientError::Connect { source, .. } => of(source),
        ClientError::Send(source) | ClientError::Receive(ReceiveError::Io(source)) => of(source),
        ClientError::Name(_) => Errno::INVAL,
        ClientError::Refused(_) => Errno::PERM,
        ClientError::Timeout(_) => Errno::TIMEDOUT,
        ClientError::Closed => Errno::PIPE,
        ClientError::Receive(ReceiveError::Descriptors) => Errno::MFILE,
        ClientError::Receive(ReceiveError::Long)
        | ClientError::Answer(_)
        | ClientError::Endless
        | ClientError::Count { .. } => Errno::PROTO,
    }
}
