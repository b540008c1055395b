/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Headers become an answer: is this packet ours? In doubt it is not. */
#ifndef SIXLANE_CLASSIFY_H
#define SIXLANE_CLASSIFY_H

#include "maps.h"
#include "parse.h"

enum answer {
	NOT_OURS,
	NOT_OUR_MAC, /* not ours, because it is addressed to another station */
	OURS,
};

static __always_inline int serves(__be32 address, __u32 service)
{
	__u64 key = two(address, 0);
	__u32 *services = bpf_map_lookup_elem(&relay4, &key);

	return services && (*services & service);
}

/* ICMP errors that report the fate of one packet (RFC 792). Redirects and queries are the host's. */
static __always_inline int reports_an_error(const struct icmp_error *icmp)
{
	return icmp->type == ICMP_UNREACHABLE || icmp->type == ICMP_TIME_EXCEEDED ||
	       icmp->type == ICMP_PARAMETER_PROBLEM;
}

/* What an ICMP error begins with. */
struct quoting {
	struct icmp_error icmp;
	struct iphdr quote;
};

/* An ICMP error, at `offset`, about a tunnel packet that one of our relay addresses has sent. */
static __always_inline int is_error_of_ours(struct xdp_md *ctx, __u32 offset)
{
	struct quoting error;

	if (bpf_xdp_load_bytes(ctx, offset, &error, sizeof(error)) || !reports_an_error(&error.icmp))
		return 0;
	return is_ipv4(ctx, &error.quote, offset + offsetof(struct quoting, quote)) &&
	       error.quote.protocol == IPPROTO_IPV6 &&
	       serves(error.quote.saddr, SIXLANE_SERVES_SIXINFOUR);
}

/* Protocol 41 to a relay address, fragments too, and ICMP errors about our own. */
static __always_inline int is_ours_ipv4(struct cursor *cursor)
{
	struct iphdr *ip;
	__u32 payload;

	if (!parse_ipv4(cursor, &ip, &payload) || !serves(ip->daddr, SIXLANE_SERVES_SIXINFOUR))
		return 0;
	if (ip->protocol == IPPROTO_IPV6)
		return 1;
	return ip->protocol == IPPROTO_ICMP && !is_fragment(ip) && is_error_of_ours(cursor->ctx, payload);
}

static __always_inline int is_multicast(const struct in6_addr *address)
{
	return address->s6_addr[0] == 0xff;
}

static __always_inline int is_link_local(const struct in6_addr *address)
{
	return address->s6_addr[0] == 0xfe && (address->s6_addr[1] & 0xc0) == 0x80;
}

static __always_inline int is_served(const struct in6_addr *address)
{
	const __u32 *words = address->s6_addr32;
	__u64 key[3] = { two(128, words[0]), two(words[1], words[2]), two(words[3], 0) };

	_Static_assert(sizeof(key) >= sizeof(struct sixlane_prefix6), "the key fits");
	return bpf_map_lookup_elem(&served6, key) != NULL;
}

static __always_inline int is_local(const struct in6_addr *address)
{
	const __u32 *words = address->s6_addr32;
	__u64 key[2] = { two(words[0], words[1]), two(words[2], words[3]) };

	return bpf_map_lookup_elem(&local6, key) != NULL;
}

/* Unicast to somewhere behind this box. */
static __always_inline int is_ours_ipv6(struct cursor *cursor, const struct sixlane_port *port)
{
	struct ipv6hdr *ip;

	if (!parse_ipv6(cursor, &ip))
		return 0;
	if (is_multicast(&ip->daddr) || is_link_local(&ip->daddr))
		return 0;
	if (!(port->flags & SIXLANE_FORWARD_ALL) && !is_served(&ip->daddr))
		return 0;
	return !is_local(&ip->daddr);
}

static __always_inline int is_own_mac(const struct ethhdr *ethernet, const struct sixlane_port *port)
{
	__u8 difference = 0;

	for (int i = 0; i < ETH_ALEN; i++)
		difference |= ethernet->h_dest[i] ^ port->mac[i];
	return difference == 0;
}

static __always_inline int is_group_mac(const struct ethhdr *ethernet)
{
	return ethernet->h_dest[0] & 1;
}

static __always_inline enum answer classify(struct cursor *cursor, const struct link_header *link,
					    const struct sixlane_port *port)
{
	if (!is_own_mac(link->ethernet, port))
		return is_group_mac(link->ethernet) ? NOT_OURS : NOT_OUR_MAC;
	if (link->type == bpf_htons(ETH_P_IP))
		return is_ours_ipv4(cursor) ? OURS : NOT_OURS;
	if (link->type == bpf_htons(ETH_P_IPV6))
		return is_ours_ipv6(cursor, port) ? OURS : NOT_OURS;
	return NOT_OURS;
}

#endif
