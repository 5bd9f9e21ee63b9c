#!/bin/sh
# Makes a test machine's system of installed packages: kernels, disks, the agent, and nothing that
# stirs by itself. Its root folder is $1; $PACKAGES is a folder with the kernels' packages and
# $KEXEC_TOOLS one for packages that tests may add.
set -eu
cd "$1"

# Initramfs images that are quickly made; everything else about them is Debian's choice.
printf 'COMPRESS=zstd\nCOMPRESSLEVEL=1\n' > etc/initramfs-tools/conf.d/quick

# Before the kernels, after which apt would find something to repair.
mkdir -p "$KEXEC_TOOLS/partial"
APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get install --yes --download-only \
    -o Dir::Cache::archives="$KEXEC_TOOLS" kexec-tools

mkdir packages
cp "$PACKAGES"/*.deb packages/
chroot . sh -euc '
    # The tools that 7.3 asks for are newer than bookworm, hence the force. What they would do for
    # it: its packages have the kernel beside its modules, and it belongs into /boot.
    dpkg --install packages/linux-base_*.deb
    dpkg --force-depends --unpack packages/linux-*-*.deb
    for image in /usr/lib/modules/*/vmlinuz; do
        folder=${image%/vmlinuz}
        cp --link "$image" "/boot/vmlinuz-${folder##*/}"
        cp --link "$folder/config" "/boot/config-${folder##*/}"
    done
    dpkg --force-depends --configure --pending
'
rm -r packages

cat > etc/fstab <<END
LABEL=debian   /    ext4 errors=remount-ro 0 1
LABEL=luggage  /opt ext4 ro                0 0
END
echo debian > etc/hostname
echo '127.0.0.1 localhost debian' > etc/hosts
# An empty one would make the first boot another than all later ones.
echo 0123456789abcdef0123456789abcdef > etc/machine-id
mkdir -p var/log/journal

cat > etc/systemd/system/pkram-test-agent.service <<END
[Unit]
Description=Agent of the test machine
# As early as can be, and still there when the rest of the boot is broken.
DefaultDependencies=no
RequiresMountsFor=/opt
After=local-fs.target systemd-tmpfiles-setup.service
IgnoreOnIsolate=yes

[Service]
ExecStart=/opt/bin/guest agent
Environment=PATH=/opt/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin
# No program of a test holds up a shutdown.
TimeoutStopSec=5
Environment=HOME=/root TERM=dumb LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive

[Install]
WantedBy=sysinit.target
END

chroot . systemctl enable pkram-test-agent.service
chroot . systemctl disable memcached.service redis-server.service ssh.service
# Nobody logs in, and under emulation whatever runs by the clock runs in the middle of a test.
chroot . systemctl mask getty.target apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
    e2scrub_all.timer e2scrub_reap.service fstrim.timer
