//! Gives the library its soname: the 0 changes when programs built with an older `pkram.h` would
//! not work with it any more.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libpkram.so.0");
}
