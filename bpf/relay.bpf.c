// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * The first look at a frame. Three answers:
 *   ours, and a socket serves its queue -> to that socket
 *   ours, and none does                 -> dropped and counted: the kernel would answer tunnel
 *                                          packets with "protocol unreachable"
 *   not ours, or in doubt               -> to the kernel
 * Nothing else is dropped here: reasons are counted in user space.
 */
#include "classify.h"

static __always_inline int deliver(struct xdp_md *ctx, const struct sixlane_port *port,
				   struct sixlane_xdp_counters *count)
{
	__u32 queue = ctx->rx_queue_index;
	int action = XDP_DROP;

	if (queue < SIXLANE_QUEUES_MAX)
		action = bpf_redirect_map(&xsks, port->index * SIXLANE_QUEUES_MAX + queue, XDP_DROP);
	/*
	 * The barrier keeps the compiler from making one increment at a variable offset of the two,
	 * which the verifier refuses (parse.h).
	 */
	if (action == XDP_REDIRECT) {
		count->redirected++;
		barrier();
	} else {
		count->no_socket++;
	}
	return action;
}

static __always_inline struct sixlane_port *port_of(struct xdp_md *ctx, const struct link_header *link)
{
	__u32 tag = 0;
	__u64 key;

	if (link->tags > 1 || link->service)
		return NULL;
	/* Id 0 is a priority without a VLAN (IEEE 802.1Q 6.9): such frames are the untagged port's. */
	if (link->vlan)
		tag = SIXLANE_TAGGED | link->vlan;
	/* A struct sixlane_port_key. */
	key = two(ctx->ingress_ifindex, tag);
	return bpf_map_lookup_elem(&ports, &key);
}

/* Leaves a frame to the kernel, counted in the slot of its port. */
static __always_inline int pass(__u64 slot, enum answer answer)
{
	struct sixlane_xdp_counters *count = bpf_map_lookup_elem(&counters, &slot);

	if (count) {
		count->seen++;
		count->passed++;
		if (answer == NOT_OUR_MAC)
			count->not_our_mac++;
	}
	return XDP_PASS;
}

SEC("xdp.frags")
int sixlane_relay(struct xdp_md *ctx)
{
	struct cursor cursor = {
		.ctx = ctx,
		.at = (void *)(long)ctx->data,
		.end = (void *)(long)ctx->data_end,
	};
	struct sixlane_xdp_counters *count;
	struct sixlane_port *port;
	enum answer answer;
	struct link_header link;
	__u64 slot;

	if (parse_link(&cursor, &link))
		return pass(SIXLANE_NO_PORT, NOT_OURS);
	port = port_of(ctx, &link);
	if (!port)
		return pass(SIXLANE_NO_PORT, NOT_OURS);
	slot = port->index;
	answer = classify(&cursor, &link, port);
	if (answer != OURS)
		return pass(slot, answer);
	count = bpf_map_lookup_elem(&counters, &slot);
	if (!count)
		return XDP_DROP;
	count->seen++;
	return deliver(ctx, port, count);
}

char licence_string[] SEC("license") = "Dual MIT/GPL";
