#!/bin/busybox sh
# First process of the guest: loads the real sit, then runs the commands that come in on its
# serial line. Each answer ends with a line "@@ NUMBER STATUS".
/bin/busybox mkdir -p /dev /proc /sys /tmp
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox --install -s /bin
export PATH=/bin
for module in crc-ccitt ipv6 tunnel4 ip_tunnel sit; do
    insmod /lib/$module.ko || echo "module $module did not load"
done
ip link set lo up
echo "guest is up: $(uname -sr)"
exec </dev/ttyS0 >/dev/ttyS0
stty raw -echo
echo "@@ 0 0"
while read -r number line; do
    [ -n "$number" ] || continue
    sh -c "$line" </dev/null 2>&1
    printf '\n@@ %s %s\n' "$number" "$?"
done
# Its maker is gone: a guest of `lab up` lives on, every other was ended already.
exec sleep 1000000000 </dev/null >/dev/null 2>&1
