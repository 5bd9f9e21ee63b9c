#!/bin/sh
# Brings sources back that something may need to reach the root filesystem, such as keys.
# Its lines begin with a level, as the kernel's log takes it.
pkramd arrive --early 2> /dev/kmsg
