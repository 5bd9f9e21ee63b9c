//! The store over real sockets, with a systemd that is none.

mod common;
mod hostile;
mod notify;
mod put_and_take;
mod restart;
mod save;
