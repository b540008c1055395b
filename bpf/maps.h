/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The sets that control fills, the sockets, and the counters. Keys are in network order. A set has
 * room for twice its limit: a new content is added before the old one is removed.
 */
#ifndef SIXLANE_MAPS_H
#define SIXLANE_MAPS_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "abi.h"

/*
 * Two words of a key as they stand in memory. Everything on the stack is written in words of 8 bytes:
 * without CAP_PERFMON the verifier of Linux 6.1 refuses 4 bytes beside others whose value it remembers.
 */
static __always_inline __u64 two(__u32 first, __u32 second)
{
	return first | (__u64)second << 32;
}
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the first word is the low one");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2 * SIXLANE_PORTS_MAX);
	__type(key, struct sixlane_port_key);
	__type(value, struct sixlane_port);
} ports SEC(".maps");

/* IPv4 addresses at which tunnels end; the value says which services. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2 * SIXLANE_ADDRESSES_MAX);
	__type(key, __u32);
	__type(value, __u32);
} relay4 SEC(".maps");

/* IPv6 addresses of the box: the kernel's, also inside served prefixes. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2 * SIXLANE_ADDRESSES_MAX);
	__uint(key_size, 16);
	__type(value, __u32);
} local6 SEC(".maps");

/* IPv6 prefixes that lie behind tunnels. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 2 * SIXLANE_PREFIXES_MAX);
	__type(key, struct sixlane_prefix6);
	__type(value, __u32);
} served6 SEC(".maps");

/* Slot: port index * SIXLANE_QUEUES_MAX + queue. */
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, SIXLANE_PORTS_MAX * SIXLANE_QUEUES_MAX);
	__type(key, __u32);
	__type(value, __u32);
} xsks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SIXLANE_PORTS_MAX + 1);
	__type(key, __u32);
	__type(value, struct sixlane_xdp_counters);
} counters SEC(".maps");

#endif
