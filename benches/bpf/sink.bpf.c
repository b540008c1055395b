// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * At the ingress of the last interface: counts the rig's packets by their kind and drops them; all else goes
 * to the kernel. In numbered mode it notes which numbers have come.
 */
#include "wire.h"

#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>

/* Bits of the numbers that have come, in words of 64. */
#define WORDS 65536

/* What is expected: frames in a tunnel and without, by their length; 0: none. */
struct wish {
	__u32 plain;
	__u32 tunnelled;
	__u32 numbered;
	__u32 reserved;
};

struct tally {
	__u64 plain;
	__u64 tunnelled;
	/* Ours, of another length. */
	__u64 damaged;
	/* Numbers that came again. */
	__u64 doubled;
	/* Numbers that came for the first time. */
	__u64 numbers;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct wish);
} wishes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tally);
} tallies SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, WORDS);
	__type(key, __u32);
	__type(value, __u64);
} seen SEC(".maps");

static __always_inline void note(struct tally *tally, __u32 number)
{
	__u64 bit = 1ULL << (number % 64), *word;
	__u32 at = number / 64;

	word = bpf_map_lookup_elem(&seen, &at);
	if (!word) {
		__sync_fetch_and_add(&tally->damaged, 1);
		return;
	}
	/* One packet at a time: the rig has one queue into this interface. */
	if (*word & bit)
		__sync_fetch_and_add(&tally->doubled, 1);
	else
		__sync_fetch_and_add(&tally->numbers, 1);
	*word |= bit;
}

SEC("tc")
int sink(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ethhdr *link = data;
	__u32 key = 0, length;
	struct tally *tally;
	struct mark *mark;
	struct wish *wish;
	__u64 *count;

	tally = bpf_map_lookup_elem(&tallies, &key);
	wish = bpf_map_lookup_elem(&wishes, &key);
	if (!tally || !wish || data + sizeof(*link) > end)
		goto pass;
	if (link->h_proto == bpf_htons(ETH_P_IPV6)) {
		mark = data + ETHERNET + PAYLOAD;
		length = wish->plain;
		count = &tally->plain;
	} else if (link->h_proto == bpf_htons(ETH_P_IP)) {
		mark = data + ETHERNET + OUTER + PAYLOAD;
		length = wish->tunnelled;
		count = &tally->tunnelled;
	} else {
		goto pass;
	}
	if ((void *)(mark + 1) > end || mark->magic != MAGIC)
		goto pass;
	if (skb->len != length) {
		__sync_fetch_and_add(&tally->damaged, 1);
		return TC_ACT_SHOT;
	}
	__sync_fetch_and_add(count, 1);
	if (wish->numbered)
		note(tally, mark->number);
	return TC_ACT_SHOT;
pass:
	return TC_ACT_OK;
}

char _license[] SEC("license") = "Dual MIT/GPL";
