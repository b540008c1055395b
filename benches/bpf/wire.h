/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What generator, sink and the Rust side agree on. */
#ifndef SIXLANE_BENCH_WIRE_H
#define SIXLANE_BENCH_WIRE_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

/* Frames: Ethernet, in a tunnel 20 bytes of IPv4, IPv6, UDP, the mark. */
#define ETHERNET 14
#define OUTER 20
#define DESTINATION 24
#define PAYLOAD 48

/* The mark at the start of the UDP payload. */
#define MAGIC 0x6c786973

struct mark {
	__u32 magic;
	__u32 number;
};

#endif
