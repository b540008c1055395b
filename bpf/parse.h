/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Bytes become headers: a cursor that never moves beyond the end of the frame. */
#ifndef SIXLANE_PARSE_H
#define SIXLANE_PARSE_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/types.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define VLAN_TAGS_MAX 2
#define VLAN_ID_MASK 0x0fff
#define IPV4_OFFSET_MASK 0x1fff
#define IPV4_MORE_FRAGMENTS 0x2000

/* IEEE 802.1Q: what follows the source address, or another tag. */
struct vlan_tag {
	__be16 tci;
	__be16 type;
};

/* RFC 792: what all ICMP errors begin with (linux/icmp.h drags the C library in). */
struct icmp_error {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 rest;
};

#define ICMP_UNREACHABLE 3
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETER_PROBLEM 12

struct cursor {
	void *at;
	void *end;
};

/* The next `size` bytes, which it steps over; NULL if the frame has fewer. */
static __always_inline void *take(struct cursor *cursor, __u32 size)
{
	void *start = cursor->at;

	if (start + size > cursor->end)
		return NULL;
	cursor->at = start + size;
	return start;
}

/* What precedes the network header. */
struct link_header {
	struct ethhdr *ethernet;
	__be16 type;	/* EtherType behind the tags */
	__u8 tags;	/* number of VLAN tags, at most VLAN_TAGS_MAX */
	__u16 vlan;	/* id of the first tag */
};

static __always_inline int parse_link(struct cursor *cursor, struct link_header *link)
{
	link->ethernet = take(cursor, sizeof(*link->ethernet));
	if (!link->ethernet)
		return -1;
	link->type = link->ethernet->h_proto;
	link->tags = 0;
	link->vlan = 0;
	for (int i = 0; i < VLAN_TAGS_MAX; i++) {
		struct vlan_tag *tag;

		if (link->type != bpf_htons(ETH_P_8021Q) && link->type != bpf_htons(ETH_P_8021AD))
			break;
		tag = take(cursor, sizeof(*tag));
		if (!tag)
			return -1;
		if (i == 0)
			link->vlan = bpf_ntohs(tag->tci) & VLAN_ID_MASK;
		link->type = tag->type;
		link->tags++;
	}
	return 0;
}

/* An IPv4 header with its options; NULL if it is cut short or malformed. */
static __always_inline struct iphdr *parse_ipv4(struct cursor *cursor)
{
	struct iphdr *ip = take(cursor, sizeof(*ip));

	if (!ip || ip->version != 4 || ip->ihl < 5)
		return NULL;
	if (!take(cursor, ip->ihl * 4 - sizeof(*ip)))
		return NULL;
	return ip;
}

static __always_inline struct ipv6hdr *parse_ipv6(struct cursor *cursor)
{
	struct ipv6hdr *ip = take(cursor, sizeof(*ip));

	return ip && ip->version == 6 ? ip : NULL;
}

static __always_inline int is_fragment(const struct iphdr *ip)
{
	return ip->frag_off & bpf_htons(IPV4_OFFSET_MASK | IPV4_MORE_FRAGMENTS);
}

#endif
