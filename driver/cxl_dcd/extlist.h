/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Extents as numbers: sorted lists, alignment, the rules of an offered group
 * and the grammar of dcd/want. No kernel service but memory is used here, so
 * that the same file is tested in user space under ASan.
 *
 * The caller owns the extents that a list points to, and serialises.
 */
#ifndef DCD_EXTLIST_H
#define DCD_EXTLIST_H

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stdbool.h>
#include <stddef.h>
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
#endif

#define DCD_TAG_LEN 16
#define DCD_ALIGN (2ULL << 20) /* what a dax device can map: upstream's rule too */
#define DCD_GROUP_MAX 512 /* extents in one offered group */

/* What a device says about one extent. Identity is (dpa, len). */
struct dcd_ext {
	u64 dpa;
	u64 len;
	u8 tag[DCD_TAG_LEN]; /* all zero: untagged */
	u16 seq; /* shared extents: 1..n; else 0 */
};

/* The range of device addresses that extents may lie in. */
struct dcd_bounds {
	u64 base;
	u64 len;
	u64 block; /* power of two */
};

/* Extents sorted by dpa, none overlapping another. */
struct dcd_extlist {
	struct dcd_ext **v;
	u32 n;
	u32 cap;
};

enum dcd_verdict {
	DCD_OK = 0,
	DCD_KNOWN, /* every extent of the group is held already: answered before */
	DCD_EMPTY, /* no extent, or one of length 0 */
	DCD_TOO_MANY, /* more than DCD_GROUP_MAX */
	DCD_UNALIGNED, /* to 2 MiB or to the DC block */
	DCD_OUTSIDE, /* of the region, or wrapping around */
	DCD_OVERLAP, /* with a held extent, or inside the group */
	DCD_TAGS_MIXED, /* a group has one tag */
	DCD_TAG_REUSED, /* a tag is unique */
	DCD_SEQ_GAP, /* shared extents are numbered 1..n */
	DCD_PART, /* a release may not carve an extent */
	DCD_NONE, /* a release of nothing held */
};

const char *dcd_verdict_text(enum dcd_verdict verdict);

bool dcd_tag_is_null(const u8 *tag);
bool dcd_same_tag(const struct dcd_ext *a, const struct dcd_ext *b);

int dcd_list_reserve(struct dcd_extlist *list, u32 n);
int dcd_list_insert(struct dcd_extlist *list, struct dcd_ext *ext);
void dcd_list_remove(struct dcd_extlist *list, struct dcd_ext *ext);
void dcd_list_free(struct dcd_extlist *list);
struct dcd_ext *dcd_list_exact(const struct dcd_extlist *list, u64 dpa, u64 len);
struct dcd_ext *dcd_list_overlap(const struct dcd_extlist *list, u64 dpa, u64 len);

enum dcd_verdict dcd_ext_check(const struct dcd_bounds *bounds, const struct dcd_ext *ext);
enum dcd_verdict dcd_group_check(const struct dcd_extlist *held, const struct dcd_bounds *bounds,
				 const struct dcd_ext *group, u32 n);
enum dcd_verdict dcd_release_check(const struct dcd_extlist *held, u64 dpa, u64 len);

/* One line written to dcd/want. */
struct dcd_want_line {
	u64 dpa;
	u64 len;
	bool plugged;
	bool dax; /* only with plugged */
};

int dcd_want_parse(const char *text, struct dcd_want_line *out);

#endif
