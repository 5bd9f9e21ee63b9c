#!/bin/bash
# Puts pkramd into the initramfs, where a source comes back that early.

check() {
    require_binaries pkramd || return 1
    [[ -n "$(pkramd early)" ]]
}

depends() {
    return 0
}

installkernel() {
    # Also those that this machine has no use for now.
    hostonly='' instmods nd_e820 nd_pmem ext4 dm_mod
}

install() {
    local file
    inst_multiple pkramd modprobe
    for file in /etc/pkram/pkram.toml /etc/pkram/pkram.toml.d/*.toml /usr/lib/pkram/pkram.toml.d/*.toml; do
        [[ -e $file ]] || continue
        mkdir -p "$initdir${file%/*}"
        # A link to /dev/null takes a drop-in back, and so does an empty file.
        cat "$file" > "$initdir$file"
    done
    inst_hook pre-trigger 50 "$moddir/pkram-arrive.sh"
}
