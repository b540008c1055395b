// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * Run by BPF_PROG_TEST_RUN with live frames: gives each frame the next destination and number, and sends
 * it by an interface.
 */
#include "wire.h"

#define DESTINATIONS_MAX 65536

struct order {
	__u32 ifindex;
	/* Destinations in use. */
	__u32 destinations;
	/* The frames are in a tunnel. */
	__u32 tunnelled;
	/* Number of the next frame. */
	__u32 number;
};

struct address {
	__u64 words[2];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct order);
} orders SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, DESTINATIONS_MAX);
	__type(key, __u32);
	__type(value, struct address);
} destinations SEC(".maps");

static __always_inline int stamp(void *packet, void *end, struct order *order)
{
	__u32 number = order->number, at;
	struct address *address, *place;
	struct mark *mark;

	if (packet + PAYLOAD + sizeof(*mark) > end || !order->destinations)
		return XDP_ABORTED;
	at = number % order->destinations;
	address = bpf_map_lookup_elem(&destinations, &at);
	if (!address)
		return XDP_ABORTED;
	place = packet + DESTINATION;
	__builtin_memcpy(place, address, sizeof(*place));
	mark = packet + PAYLOAD;
	mark->magic = MAGIC;
	mark->number = number;
	order->number = number + 1;
	return bpf_redirect(order->ifindex, 0);
}

SEC("xdp")
int generator(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct order *order;
	__u32 key = 0;

	order = bpf_map_lookup_elem(&orders, &key);
	if (!order)
		return XDP_ABORTED;
	if (order->tunnelled)
		return stamp(data + ETHERNET + OUTER, end, order);
	return stamp(data + ETHERNET, end, order);
}

char _license[] SEC("license") = "Dual MIT/GPL";
