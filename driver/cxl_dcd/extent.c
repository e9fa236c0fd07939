// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: extents
 *
 * The accepted extents, and keeping the list in agreement with the device's
 * own (0x4801). All of it runs in the device worker, the only one that adds to
 * the list and removes from it.
 *
 * The rule of this file: 0x4803 tells the device that this host has forgotten
 * the memory. It is sent only for an extent in DCD_EXT_ACCEPTED of which, when
 * looked at anew, no byte is reserved by anybody in the kernel's resource
 * tree. Sending it earlier kills the kernel, or leaves memory online that
 * another host is given.
 */
#include <linux/memregion.h>
#include <linux/slab.h>

#include "cxl_dcd.h"
#include "mailbox.h"

#define BACKOFF_FIRST_MS 500

/* Where the extent lies in this host's address space. */
struct range dcd_extent_range(const struct dcd *dcd, const struct dcd_extent *ext)
{
	u64 start = dcd->hpa + (ext->id.dpa - dcd->bounds.base);

	return (struct range){ .start = start, .end = start + ext->id.len - 1 };
}

static void __printf(3, 0) set_error(struct dcd *dcd, struct dcd_extent *ext, const char *fmt,
				     va_list args)
{
	char text[DCD_ERROR_LEN];

	lockdep_assert_held(&dcd->lock);
	vscnprintf(text, sizeof(text), fmt, args);
	if (!strcmp(text, ext->error))
		return;
	strscpy(ext->error, text);
	if (text[0])
		dev_warn(&dcd->pdev->dev, "extent [%#llx, +%#llx): %s\n", ext->id.dpa, ext->id.len,
			 text);
	dcd_changed(dcd);
}

/* Sets the extent's last trouble; an empty sentence clears it. dcd->lock is held. */
void dcd_extent_say(struct dcd *dcd, struct dcd_extent *ext, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	set_error(dcd, ext, fmt, args);
	va_end(args);
}

/* The same for callers that do not hold dcd->lock. */
void dcd_extent_tell(struct dcd *dcd, struct dcd_extent *ext, const char *fmt, ...)
{
	va_list args;

	guard(mutex)(&dcd->lock);
	va_start(args, fmt);
	set_error(dcd, ext, fmt, args);
	va_end(args);
}

void dcd_extents_abandon(struct dcd *dcd)
{
	while (dcd->nr_fresh)
		kfree(dcd->fresh[--dcd->nr_fresh]);
	kfree(dcd->fresh);
	dcd->fresh = NULL;
}

/* Gets all memory that @n more extents need, so that commit cannot fail. */
int dcd_extents_prepare(struct dcd *dcd, const struct dcd_ext *ids, u32 n)
{
	struct dcd_extent *ext;
	int rc;

	scoped_guard(mutex, &dcd->lock)
		rc = dcd_list_reserve(&dcd->held, n);
	if (rc)
		return rc;
	dcd->fresh = kcalloc(n, sizeof(*dcd->fresh), GFP_KERNEL);
	if (!dcd->fresh)
		return -ENOMEM;
	for (dcd->nr_fresh = 0; dcd->nr_fresh < n; dcd->nr_fresh++) {
		ext = kzalloc_obj(*ext);
		if (!ext) {
			dcd_extents_abandon(dcd);
			return -ENOMEM;
		}
		ext->id = ids[dcd->nr_fresh];
		ext->node = NUMA_NO_NODE;
		dcd->fresh[dcd->nr_fresh] = ext;
	}
	return 0;
}

/*
 * An extent that this kernel still uses although no driver holds it: its
 * function was removed while it was plugged. Nobody can unplug it any more.
 */
static void look_for_remains(struct dcd *dcd, struct dcd_extent *ext)
{
	struct range range = dcd_extent_range(dcd, ext);

	if (dcd_range_is_free(&range))
		return;
	ext->state = DCD_EXT_STUCK;
	dcd_extent_say(dcd, ext,
		       "in use since before this driver was bound (%pra): stuck until reboot",
		       &range);
}

/* Puts the prepared extents into the list. Takes dcd->lock. */
void dcd_extents_commit(struct dcd *dcd)
{
	u32 i;

	guard(mutex)(&dcd->lock);
	for (i = 0; i < dcd->nr_fresh; i++) {
		struct dcd_extent *ext = dcd->fresh[i];

		if (WARN_ON_ONCE(dcd_list_insert(&dcd->held, &ext->id))) {
			kfree(ext);
			continue;
		}
		ext->listed = true;
		ext->since = jiffies;
		ext->due = jiffies;
		ext->release_due = jiffies;
		look_for_remains(dcd, ext);
		dcd_capacity_default(ext);
	}
	dcd->nr_fresh = 0;
	kfree(dcd->fresh);
	dcd->fresh = NULL;
	dcd_changed(dcd);
	dcd_capacity_kick(dcd);
}

/*
 * Reads one page of the accepted list. *@total is the device's count;
 * *@pending counts the empty records behind the accepted ones, which is how
 * QEMU shows extents that were offered and not answered.
 */
static int read_page(struct dcd *dcd, u32 first, struct dcd_ext *exts, u32 room, u32 *n,
		     u32 *total, u32 *pending)
{
	struct dcd_mb_extents_in in = { .count = cpu_to_le32(room), .first = cpu_to_le32(first) };
	struct dcd_mb_extents_out *out = dcd->buf;
	size_t len = dcd->payload;
	u32 i, returned;
	int rc;

	rc = dcd_mbox_cmd(dcd, DCD_OP_GET_EXTENTS, &in, sizeof(in), out, &len);
	if (rc)
		return rc;
	if (len < sizeof(*out))
		return -EIO;
	*n = 0;
	*pending = 0;
	*total = le32_to_cpu(out->total);
	dcd->list_generation = le32_to_cpu(out->generation);
	returned = min3(le32_to_cpu(out->returned), room,
			(u32)((len - sizeof(*out)) / sizeof(out->extent[0])));
	for (i = 0; i < returned; i++) {
		const struct dcd_mb_extent *raw = &out->extent[i];

		if (first + *n >= *total || !raw->len) {
			++*pending;
			continue;
		}
		exts[*n] = (struct dcd_ext){
			.dpa = le64_to_cpu(raw->dpa),
			.len = le64_to_cpu(raw->len),
			.seq = le16_to_cpu(raw->seq),
		};
		memcpy(exts[*n].tag, raw->tag, sizeof(raw->tag));
		++*n;
	}
	return 0;
}

static u32 page_room(const struct dcd *dcd)
{
	size_t room = dcd->payload - sizeof(struct dcd_mb_extents_out);

	return min_t(u32, DCD_GROUP_MAX, room / sizeof(struct dcd_mb_extent));
}

/* Says of every held extent that the device does not list it, as far as is known yet. */
static void begin_replay(struct dcd *dcd)
{
	u32 i;

	guard(mutex)(&dcd->lock);
	for (i = 0; i < dcd->held.n; i++)
		to_dcd_extent(dcd->held.v[i])->listed = false;
}

/* Whether the list has @ext already, and notes that the device has it too. */
static bool is_held(struct dcd *dcd, const struct dcd_ext *ext)
{
	struct dcd_ext *id;

	guard(mutex)(&dcd->lock);
	id = dcd_list_exact(&dcd->held, ext->dpa, ext->len);
	if (id)
		to_dcd_extent(id)->listed = true;
	return id || dcd_list_overlap(&dcd->held, ext->dpa, ext->len);
}

/*
 * Drops what the device does not list any more. What the kernel knows of stays:
 * that the device no longer counts it as ours takes nobody's pages away. True
 * when there was any: what it hid may be in the device's list, in its place.
 */
static bool end_replay(struct dcd *dcd)
{
	bool dropped = false;
	u32 i;

	guard(mutex)(&dcd->lock);
	for (i = dcd->held.n; i--;) {
		struct dcd_extent *ext = to_dcd_extent(dcd->held.v[i]);

		if (ext->listed || ext->state != DCD_EXT_ACCEPTED)
			continue;
		dev_warn(&dcd->pdev->dev,
			 "the device does not list [%#llx, +%#llx) as accepted any more: dropped\n",
			 ext->id.dpa, ext->id.len);
		dcd_list_remove(&dcd->held, &ext->id);
		kfree(ext);
		dropped = true;
		dcd_changed(dcd);
	}
	return dropped;
}

/*
 * Makes our list equal to the device's: the guest rebooted, the driver was
 * loaded anew, or it is not known whether a command took effect. An extent that
 * breaks a rule was not accepted by us; it is left alone and reported. May run
 * again after it failed half-way.
 */
int dcd_extents_replay(struct dcd *dcd)
{
	u32 first = 0, generation, n, total, pending, i, room = page_room(dcd);
	struct dcd_ext *exts __free(kfree) = kcalloc(room, sizeof(*exts), GFP_KERNEL);
	int rc;

	if (!exts)
		return -ENOMEM;
	begin_replay(dcd);
	do {
		generation = dcd->list_generation;
		rc = read_page(dcd, first, exts, room, &n, &total, &pending);
		if (rc)
			return rc;
		if (first && dcd->list_generation != generation)
			return -EAGAIN; /* changed between two pages */
		for (i = 0; i < n; i++) {
			enum dcd_verdict verdict = dcd_ext_check(&dcd->bounds, &exts[i]);

			if (!verdict && is_held(dcd, &exts[i]))
				continue;
			if (verdict) {
				dev_warn(&dcd->pdev->dev,
					 "the device lists [%#llx, +%#llx) as accepted, which %s: left alone\n",
					 exts[i].dpa, exts[i].len, dcd_verdict_text(verdict));
				continue;
			}
			rc = dcd_extents_prepare(dcd, &exts[i], 1);
			if (rc)
				return rc;
			dcd_extents_commit(dcd);
		}
		first += n;
	} while (n && first < total);
	dcd->resync = end_replay(dcd);
	return 0;
}

/*
 * How many extents are offered and not answered. Says 0 on a device that does
 * not count them in its list, and no more than fit one answer.
 */
int dcd_extents_count_pending(struct dcd *dcd, u32 *pending)
{
	u32 n, total, held, room = page_room(dcd);
	struct dcd_ext *exts __free(kfree) = kcalloc(room, sizeof(*exts), GFP_KERNEL);
	int rc;

	if (!exts)
		return -ENOMEM;
	scoped_guard(mutex, &dcd->lock)
		held = dcd->held.n;
	rc = read_page(dcd, held, exts, room, &n, &total, pending);
	if (!rc && *pending)
		dcd->counts_pending = true;
	return rc;
}

/* Refuses the oldest unanswered offer. There must be one. */
int dcd_extents_refuse_lost(struct dcd *dcd)
{
	int rc = dcd_mbox_update(dcd, DCD_OP_ADD_RESPONSE, NULL, 0);

	if (rc)
		return rc;
	scoped_guard(mutex, &dcd->lock)
		dcd->rejected++;
	dcd_say(dcd, "refused an offer whose event records are lost: offer it again");
	return 0;
}

/*
 * Offers whose records are lost (log overflow, or cleared by another driver)
 * can never be accepted, and block every later offer of the device. They are
 * the oldest ones; refuse them one by one.
 *
 * The order of the two looks matters: an offer seen pending first, with the
 * log still empty afterwards, is one whose records are lost. The other way
 * round, an offer made in between would be refused.
 */
int dcd_extents_reject_unseen(struct dcd *dcd)
{
	u32 pending, before;
	u64 rejected;
	int rc;

	for (;;) {
		before = dcd->held.n;
		rejected = dcd->rejected;
		rc = dcd_extents_count_pending(dcd, &pending);
		if (rc)
			return rc;
		if (!pending) {
			dcd->look_for_unseen = false;
			return 0;
		}
		rc = dcd_events_poll(dcd);
		if (rc)
			return rc;
		/* an open group may be what is pending: first wait for its end */
		if (dcd->group.n)
			return 0;
		/* what was pending may have been answered meanwhile: look again */
		if (dcd->held.n != before || dcd->rejected != rejected)
			continue;
		rc = dcd_extents_refuse_lost(dcd);
		if (rc)
			return rc;
	}
}

/* Notes that the device wants every extent in [dpa, dpa + len) back. */
void dcd_extents_ask_release(struct dcd *dcd, u64 dpa, u64 len)
{
	u32 i;

	lockdep_assert_held(&dcd->lock);
	for (i = 0; i < dcd->held.n; i++) {
		struct dcd_extent *ext = to_dcd_extent(dcd->held.v[i]);

		if (ext->id.dpa < dpa || ext->id.dpa + ext->id.len > dpa + len)
			continue;
		ext->release_asked = true;
		if (ext->state != DCD_EXT_ACCEPTED && ext->state != DCD_EXT_STUCK)
			dcd_extent_say(dcd, ext, "release requested by the device, extent in use");
	}
	dcd_changed(dcd);
}

static bool can_release(const struct dcd_extent *ext)
{
	return ext->state == DCD_EXT_ACCEPTED && ext->release_asked &&
	       time_after_eq(jiffies, ext->release_due);
}

/* A tag group is released as a whole: every extent with this tag, or none yet. */
static bool group_can_release(const struct dcd *dcd, const struct dcd_extent *ext)
{
	u32 i;

	lockdep_assert_held(&dcd->lock);
	if (!can_release(ext))
		return false;
	if (dcd_tag_is_null(ext->id.tag))
		return true;
	for (i = 0; i < dcd->held.n; i++) {
		struct dcd_extent *other = to_dcd_extent(dcd->held.v[i]);

		if (dcd_same_tag(&other->id, &ext->id) && !can_release(other))
			return false;
	}
	return true;
}

/* Marks and collects the next extents that go back together; 0 when there are none. */
static u32 take_releasable(struct dcd *dcd, struct dcd_ext *ids, u32 room)
{
	struct dcd_extent *ext, *other;
	u32 i, j, n = 0;

	guard(mutex)(&dcd->lock);
	for (i = 0; i < dcd->held.n && !n; i++) {
		ext = to_dcd_extent(dcd->held.v[i]);
		if (!group_can_release(dcd, ext))
			continue;
		for (j = 0; j < dcd->held.n && n < room; j++) {
			other = to_dcd_extent(dcd->held.v[j]);
			if (other != ext && (dcd_tag_is_null(ext->id.tag) ||
					     !dcd_same_tag(&ext->id, &other->id)))
				continue;
			other->state = DCD_EXT_RELEASING;
			other->since = jiffies;
			ids[n++] = other->id;
		}
	}
	if (n)
		dcd_changed(dcd);
	return n;
}

/*
 * Looks again whether anybody uses a byte of the extent, and writes its dirty
 * cache lines back: written later, they would hit the next owner's bytes.
 */
static int make_forgotten(struct dcd *dcd, const struct dcd_ext *ids, u32 n)
{
	u32 i;

	for (i = 0; i < n; i++) {
		u64 start = dcd->hpa + (ids[i].dpa - dcd->bounds.base);
		struct range range = { .start = start, .end = start + ids[i].len - 1 };

		if (!dcd_range_is_free(&range))
			return -EBUSY;
	}
	/* Never plugged then, for the same reason: no line of it can be cached. */
	if (!cpu_cache_has_invalidate_memregion())
		return 0;
	return cpu_cache_invalidate_all();
}

static void end_release(struct dcd *dcd, const struct dcd_ext *ids, u32 n, int rc)
{
	u32 i;

	guard(mutex)(&dcd->lock);
	for (i = 0; i < n; i++) {
		struct dcd_ext *id = dcd_list_exact(&dcd->held, ids[i].dpa, ids[i].len);
		struct dcd_extent *ext;

		if (WARN_ON_ONCE(!id))
			continue;
		ext = to_dcd_extent(id);
		if (!rc) {
			dcd_list_remove(&dcd->held, id);
			kfree(ext);
			continue;
		}
		ext->state = rc == -EBUSY ? DCD_EXT_STUCK : DCD_EXT_ACCEPTED;
		ext->backoff_ms = clamp(ext->backoff_ms * 2, BACKOFF_FIRST_MS, 30000);
		ext->release_due = jiffies + msecs_to_jiffies(ext->backoff_ms);
		if (rc == -EBUSY)
			dcd_extent_say(dcd, ext,
				       "somebody in this kernel still uses its memory: not given back; stuck until reboot");
		else
			dcd_extent_say(dcd, ext,
				       "giving it back failed (error %d): trying again in %u ms",
				       rc, ext->backoff_ms);
	}
	dcd_changed(dcd);
}

static int release_marked(struct dcd *dcd)
{
	struct dcd_ext *ids __free(kfree) = kcalloc(DCD_GROUP_MAX, sizeof(*ids), GFP_KERNEL);
	int rc;
	u32 n;

	if (!ids)
		return -ENOMEM;
	while ((n = take_releasable(dcd, ids, DCD_GROUP_MAX))) {
		rc = make_forgotten(dcd, ids, n);
		if (!rc) {
			rc = dcd_mbox_update(dcd, DCD_OP_RELEASE, ids, n);
			/* Does it still have them? It may have taken them by force. */
			dcd->resync |= rc == -EIO;
		}
		end_release(dcd, ids, n, rc);
		if (rc == -ENODEV)
			return rc;
	}
	return 0;
}

/* Gives back what the device asked for and nobody uses. */
int dcd_extents_release_asked(struct dcd *dcd)
{
	return release_marked(dcd);
}

/*
 * The driver goes away: everything that nobody uses goes back. What is plugged
 * stays exactly as it is, for ever. Both workers have stopped.
 */
void dcd_extents_give_back(struct dcd *dcd)
{
	bool kept = false;
	u32 i;

	scoped_guard(mutex, &dcd->lock)
		for (i = 0; i < dcd->held.n; i++) {
			struct dcd_extent *ext = to_dcd_extent(dcd->held.v[i]);

			ext->release_asked = true;
			ext->release_due = jiffies;
		}
	if (!dcd->gone && dcd->state == DCD_DEV_READY)
		release_marked(dcd);

	guard(mutex)(&dcd->lock);
	while (dcd->held.n) {
		struct dcd_extent *ext = to_dcd_extent(dcd->held.v[0]);

		if (ext->state != DCD_EXT_ACCEPTED) {
			kept = true;
			dev_crit(&dcd->pdev->dev,
				 "extent [%#llx, +%#llx) is %s: its memory is stuck until reboot; the device is not told\n",
				 ext->id.dpa, ext->id.len,
				 ext->hmem ? "plugged and its device goes away" : "stuck");
		}
		dcd_list_remove(&dcd->held, &ext->id);
		kfree(ext);
	}
	if (!kept && !dcd->gone && dcd->state == DCD_DEV_READY)
		dcd_decoder_release(dcd);
}
