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

/*
 * The program is loaded without CAP_PERFMON, which the keeper has not. For such programs the verifier
 * compares a packet pointer with nothing but the end and adds nothing but constants to it. So what is
 * there is told by a number, never by NULL, and bytes at a variable offset are read by a helper.
 */
struct cursor {
	struct xdp_md *ctx;
	void *at;
	void *end;
	__u32 offset; /* of `at` in the frame */
};

/* Steps over the next `size` bytes and gives where they start; 0 if the frame has fewer. */
static __always_inline int take(struct cursor *cursor, void **start, __u32 size)
{
	*start = cursor->at;
	if (*start + size > cursor->end)
		return 0;
	cursor->at = *start + size;
	cursor->offset += size;
	return 1;
}

/* What precedes the network header. */
struct link_header {
	struct ethhdr *ethernet;
	__be16 type;	/* EtherType behind the tags */
	__u8 tags;	/* number of VLAN tags, at most VLAN_TAGS_MAX */
	__u8 service;	/* whether the first tag is one of IEEE 802.1ad */
	__u16 vlan;	/* id of the first tag */
};

static __always_inline int parse_link(struct cursor *cursor, struct link_header *link)
{
	if (!take(cursor, (void **)&link->ethernet, sizeof(*link->ethernet)))
		return -1;
	link->type = link->ethernet->h_proto;
	link->tags = 0;
	link->service = 0;
	link->vlan = 0;
	for (int i = 0; i < VLAN_TAGS_MAX; i++) {
		struct vlan_tag *tag;

		if (link->type != bpf_htons(ETH_P_8021Q) && link->type != bpf_htons(ETH_P_8021AD))
			break;
		if (!take(cursor, (void **)&tag, sizeof(*tag)))
			return -1;
		if (i == 0) {
			link->service = link->type == bpf_htons(ETH_P_8021AD);
			link->vlan = bpf_ntohs(tag->tci) & VLAN_ID_MASK;
		}
		link->type = tag->type;
		link->tags++;
	}
	return 0;
}

/* Whether an IPv4 header at `offset` is one, with all its options inside the frame. */
static __always_inline int is_ipv4(struct xdp_md *ctx, const struct iphdr *ip, __u32 offset)
{
	if (ip->version != 4 || ip->ihl < 5)
		return 0;
	return ip->ihl == 5 || offset + ip->ihl * 4 <= bpf_xdp_get_buff_len(ctx);
}

/* An IPv4 header; 0 if it is cut short or malformed. `payload` is the offset of what follows it. */
static __always_inline int parse_ipv4(struct cursor *cursor, struct iphdr **ip, __u32 *payload)
{
	__u32 offset = cursor->offset;

	if (!take(cursor, (void **)ip, sizeof(**ip)) || !is_ipv4(cursor->ctx, *ip, offset))
		return 0;
	*payload = offset + (*ip)->ihl * 4;
	return 1;
}

static __always_inline int parse_ipv6(struct cursor *cursor, struct ipv6hdr **ip)
{
	return take(cursor, (void **)ip, sizeof(**ip)) && (*ip)->version == 6;
}

static __always_inline int is_fragment(const struct iphdr *ip)
{
	return ip->frag_off & bpf_htons(IPV4_OFFSET_MASK | IPV4_MORE_FRAGMENTS);
}

#endif
