/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The one contract between the XDP program and user space: limits, keys and values of the maps.
 * The Rust side is dataplane/xsk/src/uapi.rs. Both assert the sizes.
 */
#ifndef SIXLANE_ABI_H
#define SIXLANE_ABI_H

#include <linux/types.h>

#define SIXLANE_PORTS_MAX 64
#define SIXLANE_QUEUES_MAX 64
#define SIXLANE_PREFIXES_MAX 4096
#define SIXLANE_ADDRESSES_MAX 4096

/* Slot of the counters for frames on an interface that is no port. */
#define SIXLANE_NO_PORT SIXLANE_PORTS_MAX

/*
 * Set in sixlane_port_key.tag when the frame carries one 802.1Q tag with an id; the low 12 bits are the
 * id. A tag with id 0 is a priority only.
 */
#define SIXLANE_TAGGED 0x1000

/* sixlane_port.flags: every unicast IPv6 packet is ours, not only those to served prefixes. */
#define SIXLANE_FORWARD_ALL 1

/* Services of a relay address, the values of the map relay4. */
#define SIXLANE_SERVES_SIXINFOUR 1 /* protocol 41 */
#define SIXLANE_SERVES_TEREDO 2	   /* reserved for UDP to Teredo ports */

/* Key of the map ports. */
struct sixlane_port_key {
	__u32 ifindex;
	__u16 tag; /* 0 without a VLAN */
	__u16 reserved;
};
_Static_assert(sizeof(struct sixlane_port_key) == 8, "no padding");

/* Value of the map ports. */
struct sixlane_port {
	__u8 index; /* below SIXLANE_PORTS_MAX */
	__u8 flags;
	__u8 mac[6];
};
_Static_assert(sizeof(struct sixlane_port) == 8, "no padding");

/* Key of the map served6: the layout of an LPM key, the address in network order. */
struct sixlane_prefix6 {
	__u32 length;
	__u8 address[16];
};
_Static_assert(sizeof(struct sixlane_prefix6) == 20, "no padding");

/*
 * Value of the per-CPU map counters, one a port:
 * seen = passed + redirected + no_socket; not_our_mac is a part of passed.
 */
struct sixlane_xdp_counters {
	__u64 seen;
	__u64 passed;
	__u64 redirected;
	__u64 no_socket;
	__u64 not_our_mac;
};
_Static_assert(sizeof(struct sixlane_xdp_counters) == 40, "no padding");

#endif
