# memcached takes its memory from a file on a tmpfs of its own, and writes down at its end what that
# needs to be read again. Redis writes its data to its runtime directory when it stops.
set -eu
echo 'tmpfs /srv/memcached tmpfs mode=700,uid=memcache,gid=memcache 0 0' >> /etc/fstab
mkdir /srv/memcached
mount /srv/memcached
cat >> /etc/memcached.conf <<END
-e /srv/memcached/memory
-s /run/memcached/socket
END
mkdir -p /etc/systemd/system/memcached.service.d
cat > /etc/systemd/system/memcached.service.d/pkram.conf <<END
[Unit]
RequiresMountsFor=/srv/memcached
Requires=pkram-source@memcached.service
After=pkram-source@memcached.service

[Service]
KillSignal=SIGUSR1
END
sed -i 's,^dir .*,dir /run/redis,' /etc/redis/redis.conf
systemctl daemon-reload
systemctl enable --quiet --now memcached redis-server
