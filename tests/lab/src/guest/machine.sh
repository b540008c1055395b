#!/bin/busybox sh
# First process of the machine: loads its modules, then runs the commands that come in on its second
# serial line. Each answer ends with a line "@@ NUMBER STATUS".
/bin/busybox mkdir -p /dev /proc /sys /tmp /run /var/run
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t tmpfs run /run
/bin/busybox mount -t bpf bpf /sys/fs/bpf
/bin/busybox --install -s /bin
export PATH=/sbin:/bin
while read -r module; do
    insmod "/modules/$module.ko" || echo "module $module did not load"
done </modules/order
ip link set lo up
echo "machine is up: $(uname -sr)"
exec </dev/ttyS1 >/dev/ttyS1
stty raw -echo
echo "@@ 0 0"
while read -r number line; do
    [ -n "$number" ] || continue
    dash -c "$line" </dev/null 2>&1
    printf '\n@@ %s %s\n' "$number" "$?"
done
poweroff -f
