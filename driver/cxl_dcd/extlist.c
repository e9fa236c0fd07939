// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: extents as numbers
 *
 * Pure functions over extents. A list is a sorted array of pointers: a device
 * has at most a few hundred extents, so binary search and memmove() beat any
 * tree in size and in what can go wrong. Nothing here sleeps but the insert
 * (it allocates), and nothing takes a lock.
 */
#ifdef __KERNEL__
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/limits.h>
#include <linux/slab.h>
#include <linux/string.h>
#define dcd_realloc(p, bytes) krealloc(p, bytes, GFP_KERNEL)
#define dcd_dealloc(p) kfree(p)
#else
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define dcd_realloc(p, bytes) realloc(p, bytes)
#define dcd_dealloc(p) free(p)
#endif

#include "extlist.h"
#include "../uapi/cxl_dcd.h"

static const char *const verdict_text[] = {
	[DCD_OK] = "fine",
	[DCD_KNOWN] = "held already",
	[DCD_EMPTY] = "is empty",
	[DCD_TOO_MANY] = "is part of a group of more than 512 extents",
	[DCD_UNALIGNED] = "is not aligned to 2 MiB and to the DC block",
	[DCD_OUTSIDE] = "lies outside DC region 0",
	[DCD_OVERLAP] = "overlaps another extent",
	[DCD_TAGS_MIXED] = "has another tag than its group",
	[DCD_TAG_REUSED] = "has the tag of a group held already",
	[DCD_SEQ_GAP] = "breaks the sequence 1..n of its shared group",
	[DCD_PART] = "cuts through an extent: extents are released whole",
	[DCD_NONE] = "names nothing that this host holds",
};

/* The rest of a sentence that starts with the extent. */
const char *dcd_verdict_text(enum dcd_verdict verdict)
{
	if ((unsigned int)verdict > DCD_NONE)
		return "is wrong in an unknown way";
	return verdict_text[verdict];
}

bool dcd_tag_is_null(const u8 *tag)
{
	static const u8 null_tag[DCD_TAG_LEN];

	return !memcmp(tag, null_tag, DCD_TAG_LEN);
}

bool dcd_same_tag(const struct dcd_ext *a, const struct dcd_ext *b)
{
	return !memcmp(a->tag, b->tag, DCD_TAG_LEN);
}

/* Index of the first extent that ends behind @dpa; list->n when there is none. */
static u32 first_ending_after(const struct dcd_extlist *list, u64 dpa)
{
	u32 low = 0, high = list->n;

	while (low < high) {
		u32 mid = low + (high - low) / 2;

		if (list->v[mid]->dpa + list->v[mid]->len > dpa)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

/* The first held extent that shares a byte with [dpa, dpa + len), or NULL. */
struct dcd_ext *dcd_list_overlap(const struct dcd_extlist *list, u64 dpa, u64 len)
{
	u32 i = first_ending_after(list, dpa);

	if (!len || i == list->n)
		return NULL;
	/* as a difference: dpa + len may wrap */
	if (list->v[i]->dpa > dpa && list->v[i]->dpa - dpa >= len)
		return NULL;
	return list->v[i];
}

/* The extent with exactly this identity, or NULL. */
struct dcd_ext *dcd_list_exact(const struct dcd_extlist *list, u64 dpa, u64 len)
{
	u32 i = first_ending_after(list, dpa);

	if (i == list->n || list->v[i]->dpa != dpa || list->v[i]->len != len)
		return NULL;
	return list->v[i];
}

/* Makes room for @n more extents: that many inserts then need no memory. */
int dcd_list_reserve(struct dcd_extlist *list, u32 n)
{
	u32 cap = list->cap ? list->cap : 8;
	struct dcd_ext **v;

	while (cap < list->n + n)
		cap *= 2;
	if (cap == list->cap)
		return 0;
	v = dcd_realloc(list->v, cap * sizeof(list->v[0]));
	if (!v)
		return -ENOMEM;
	list->v = v;
	list->cap = cap;
	return 0;
}

/*
 * Inserts @ext, which the list does not own. -EEXIST when it shares a byte
 * with a held one, -EINVAL when it is empty or wraps; then nothing has changed.
 */
int dcd_list_insert(struct dcd_extlist *list, struct dcd_ext *ext)
{
	u32 i;

	if (!ext->len || ext->dpa + ext->len < ext->dpa)
		return -EINVAL;
	if (dcd_list_overlap(list, ext->dpa, ext->len))
		return -EEXIST;
	if (dcd_list_reserve(list, 1))
		return -ENOMEM;
	i = first_ending_after(list, ext->dpa);
	memmove(&list->v[i + 1], &list->v[i], (list->n - i) * sizeof(list->v[0]));
	list->v[i] = ext;
	list->n++;
	return 0;
}

/* Takes @ext out of the list; no effect when it is not in it. Frees nothing. */
void dcd_list_remove(struct dcd_extlist *list, struct dcd_ext *ext)
{
	u32 i = first_ending_after(list, ext->dpa);

	if (i == list->n || list->v[i] != ext)
		return;
	list->n--;
	memmove(&list->v[i], &list->v[i + 1], (list->n - i) * sizeof(list->v[0]));
}

/* Frees the list, not the extents. */
void dcd_list_free(struct dcd_extlist *list)
{
	dcd_dealloc(list->v);
	*list = (struct dcd_extlist){};
}

/* Whether one extent may exist at all in this region. */
enum dcd_verdict dcd_ext_check(const struct dcd_bounds *bounds, const struct dcd_ext *ext)
{
	u64 align = bounds->block > DCD_ALIGN ? bounds->block : DCD_ALIGN;

	if (!ext->len)
		return DCD_EMPTY;
	if ((ext->dpa | ext->len) & (align - 1))
		return DCD_UNALIGNED;
	if (ext->dpa < bounds->base || ext->dpa - bounds->base >= bounds->len ||
	    ext->len > bounds->len - (ext->dpa - bounds->base))
		return DCD_OUTSIDE;
	return DCD_OK;
}

static bool ranges_overlap(const struct dcd_ext *a, const struct dcd_ext *b)
{
	return a->dpa < b->dpa + b->len && b->dpa < a->dpa + a->len;
}

/* Either nobody has a sequence number, or 1..n each appears once. */
static bool sequence_is_whole(const struct dcd_ext *group, u32 n)
{
	u32 i, j, numbered = 0;

	for (i = 0; i < n; i++) {
		if (!group[i].seq)
			continue;
		numbered++;
		if (group[i].seq > n)
			return false;
		for (j = 0; j < i; j++)
			if (group[j].seq == group[i].seq)
				return false;
	}
	return !numbered || numbered == n;
}

/*
 * The rules of an offered group, which is taken whole or not at all. Quadratic
 * in the group, which is bounded by DCD_GROUP_MAX.
 *
 * DCD_KNOWN: every extent is held already. The device shows an offer again
 * when it was answered but its event was not cleared; it must not be answered
 * a second time.
 */
enum dcd_verdict dcd_group_check(const struct dcd_extlist *held, const struct dcd_bounds *bounds,
				 const struct dcd_ext *group, u32 n)
{
	enum dcd_verdict verdict;
	u32 i, j, known = 0;

	if (!n)
		return DCD_EMPTY;
	if (n > DCD_GROUP_MAX)
		return DCD_TOO_MANY;
	for (i = 0; i < n; i++)
		known += !!dcd_list_exact(held, group[i].dpa, group[i].len);
	if (known == n)
		return DCD_KNOWN;
	for (i = 0; i < n; i++) {
		verdict = dcd_ext_check(bounds, &group[i]);
		if (verdict)
			return verdict;
		if (dcd_list_overlap(held, group[i].dpa, group[i].len))
			return DCD_OVERLAP;
		if (!dcd_same_tag(&group[0], &group[i]))
			return DCD_TAGS_MIXED;
		for (j = 0; j < i; j++)
			if (ranges_overlap(&group[i], &group[j]))
				return DCD_OVERLAP;
	}
	if (!sequence_is_whole(group, n))
		return DCD_SEQ_GAP;
	if (dcd_tag_is_null(group[0].tag))
		return DCD_OK;
	for (i = 0; i < held->n; i++)
		if (dcd_same_tag(held->v[i], &group[0]))
			return DCD_TAG_REUSED;
	return DCD_OK;
}

/* Whether [dpa, dpa + len) touches whole extents only: DCD_OK, DCD_PART or DCD_NONE. */
enum dcd_verdict dcd_release_check(const struct dcd_extlist *held, u64 dpa, u64 len)
{
	u32 i, hits = 0;

	if (!len || dpa + len < dpa)
		return DCD_NONE;
	for (i = first_ending_after(held, dpa); i < held->n; i++) {
		const struct dcd_ext *ext = held->v[i];

		if (ext->dpa >= dpa + len)
			break;
		if (ext->dpa < dpa || ext->dpa + ext->len > dpa + len)
			return DCD_PART;
		hits++;
	}
	return hits ? DCD_OK : DCD_NONE;
}

/*
 * want := DPA LEN "plugged" ("ram" | "dax") | DPA LEN "unplugged"
 *
 * Decimal, as dcd/extents shows them, or hexadecimal with 0x. -EINVAL for
 * anything else, also for words behind the last one.
 */
int dcd_want_parse(const char *text, struct dcd_want_line *out)
{
	char verb[16] = "", use[16] = "", rest[2] = "";
	long long dpa, len;
	int words;

	/* %lli takes both bases; a sign is no part of the grammar */
	if (strchr(text, '-'))
		return -EINVAL;
	words = sscanf(text, "%lli %lli %15s %15s %1s", &dpa, &len, verb, use, rest);
	if (words < 3 || len <= 0 || dpa < 0)
		return -EINVAL;
	*out = (struct dcd_want_line){ .dpa = dpa, .len = len };
	if (words == 3 && !strcmp(verb, CXL_DCD_WANT_UNPLUGGED))
		return 0;
	if (words != 4 || strcmp(verb, CXL_DCD_WANT_PLUGGED))
		return -EINVAL;
	out->plugged = true;
	out->dax = !strcmp(use, CXL_DCD_USE_DAX);
	return out->dax || !strcmp(use, CXL_DCD_USE_RAM) ? 0 : -EINVAL;
}
