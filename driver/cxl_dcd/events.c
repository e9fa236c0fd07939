// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: events
 *
 * The dynamic capacity event log: the device offers groups of extents and asks
 * for extents back. Rules kept here:
 *
 *  - a group goes on while records carry `More`; it is answered whole, once,
 *    in the order of the log; one left open for 20 s is refused;
 *  - a record is cleared only after its group is answered: a device does not
 *    show a cleared one again, so clearing first could lose an offer for ever;
 *  - an offer whose extents are held already was answered by an earlier life
 *    of the driver: it is cleared, not answered a second time;
 *  - a lost record (overflow) is counted and said.
 *
 * All functions run in the device worker.
 */
#include <linux/interrupt.h>
#include <linux/uuid.h>

#include "cxl_dcd.h"
#include "mailbox.h"

#define GROUP_LIMIT (20 * HZ)
#define MAX_VECTORS 16

static const uuid_t dcd_event_uuid = UUID_INIT(0xca95afa7, 0xf183, 0x4018, 0x8c, 0x2f, 0x95, 0x26,
					       0x8e, 0x10, 0x1a, 0x2a);

static irqreturn_t handle_irq(int irq, void *arg)
{
	dcd_device_kick(arg);
	return IRQ_HANDLED;
}

/*
 * Asks for an interrupt with each record. Failing at it is no error: the slow
 * poll finds the records too, later. May be called again after a failed start.
 *
 * The handler goes on every vector: which one serves this log is not reliably
 * told (QEMU reports 0 and uses the vector of the informational log).
 */
int dcd_events_enable(struct dcd *dcd)
{
	struct dcd_mb_irq_policy policy = {};
	struct pci_dev *pdev = dcd->pdev;
	size_t len = sizeof(policy);
	int rc, vectors;

	if (dcd->vectors)
		return 0;
	rc = dcd_mbox_cmd(dcd, DCD_OP_GET_IRQ_POLICY, NULL, 0, &policy, &len);
	if (rc == -ENODEV)
		return rc;
	vectors = pci_alloc_irq_vectors(pdev, 1, MAX_VECTORS, PCI_IRQ_MSIX | PCI_IRQ_MSI);
	for (; dcd->vectors < vectors; dcd->vectors++) {
		rc = request_irq(pci_irq_vector(pdev, dcd->vectors), handle_irq, 0,
				 dev_name(&pdev->dev), dcd);
		if (rc)
			goto poll_only;
	}
	policy.dynamic_capacity = DCD_IRQ_MODE_MSI;
	if (!rc && vectors > 0)
		rc = dcd_mbox_cmd(dcd, DCD_OP_SET_IRQ_POLICY, &policy, sizeof(policy), NULL, NULL);
	if (!rc && vectors > 0)
		return 0;

poll_only:
	dcd_events_disable(dcd);
	dev_warn(&pdev->dev, "no interrupt for capacity events: polling every %u ms\n",
		 dcd_poll_ms);
	return 0;
}

/* Mirrors dcd_events_enable(), which must not run at the same time. */
void dcd_events_disable(struct dcd *dcd)
{
	while (dcd->vectors)
		free_irq(pci_irq_vector(dcd->pdev, --dcd->vectors), dcd);
	pci_free_irq_vectors(dcd->pdev);
}

/*
 * Clears the records that are dealt with. A device clears from its oldest on
 * and refuses to leave one out, so everything from the first record of an
 * unanswered group on has to wait for that group.
 */
static int clear_records(struct dcd *dcd)
{
	u32 room = min_t(u32, U8_MAX, (dcd->payload - sizeof(struct dcd_mb_clear_in)) / 2);
	u32 ready = dcd->group.n ? dcd->group.first_seen : dcd->nr_seen;
	struct dcd_mb_clear_in *in = dcd->buf;
	u32 i, count;
	int rc;

	for (; ready; ready -= count) {
		count = min(ready, room);
		memset(in, 0, sizeof(*in));
		in->log = DCD_EVENT_LOG;
		in->count = count;
		for (i = 0; i < count; i++)
			in->handle[i] = cpu_to_le16(dcd->seen[i]);
		rc = dcd_mbox_cmd(dcd, DCD_OP_CLEAR_EVENTS, in, struct_size(in, handle, count),
				  NULL, NULL);
		if (rc)
			return rc;
		dcd->nr_seen -= count;
		memmove(dcd->seen, dcd->seen + count, dcd->nr_seen * sizeof(dcd->seen[0]));
		if (dcd->group.n)
			dcd->group.first_seen -= count;
		dcd->last_overflow = 0; /* clearing starts the device's count anew */
	}
	return 0;
}

static bool was_seen(const struct dcd *dcd, u16 handle)
{
	u32 i;

	for (i = 0; i < dcd->nr_seen; i++)
		if (dcd->seen[i] == handle)
			return true;
	return false;
}

static void forget_group(struct dcd *dcd)
{
	guard(mutex)(&dcd->lock);
	dcd->group.n = 0;
	dcd->group.complete = false;
	dcd->group.too_many = false;
	dcd_changed(dcd);
}

/*
 * Refuses the group. Where the device counts its unanswered extents and has
 * none, an earlier life of the driver answered and was reset before it could
 * clear the records: then nothing is left to answer.
 */
static int refuse_group(struct dcd *dcd, const char *why)
{
	const struct dcd_ext *first = &dcd->group.ext[0];
	u32 pending;
	int rc;

	if (dcd->counts_pending) {
		rc = dcd_extents_count_pending(dcd, &pending);
		if (rc || !pending)
			return rc;
	}
	rc = dcd_mbox_update(dcd, DCD_OP_ADD_RESPONSE, NULL, 0);
	if (rc)
		return rc;
	scoped_guard(mutex, &dcd->lock)
		dcd->rejected += dcd->group.n;
	dcd_say(dcd, "refused an offer of %u extent(s) from [%#llx, +%#llx): it %s", dcd->group.n,
		first->dpa, first->len, why);
	return 0;
}

/*
 * The device does not take our answer. Either an older offer, whose records
 * are lost, is in front of this one: refuse that and return 1 to answer anew.
 * Or this very group is at fault: refuse it and return 0. Which, the device's
 * count of unanswered extents tells; an answer too many is never sent.
 */
static int refuse_front(struct dcd *dcd)
{
	u32 pending;
	int rc;

	rc = dcd_extents_count_pending(dcd, &pending);
	if (rc)
		return rc;
	if (pending <= dcd->group.n)
		return refuse_group(dcd, "cannot be accepted, says the device");
	rc = dcd_extents_refuse_lost(dcd);
	return rc ? rc : 1;
}

static int accept_group(struct dcd *dcd)
{
	u32 n = dcd->group.n;
	int rc;

	/* Memory first: an extent that the device counts as ours must be in our list. */
	rc = dcd_extents_prepare(dcd, dcd->group.ext, n);
	if (rc)
		return rc;
	do {
		rc = dcd_mbox_update(dcd, DCD_OP_ADD_RESPONSE, dcd->group.ext, n);
		if (!rc) {
			dcd_extents_commit(dcd);
			return 0;
		}
		if (rc == -EIO || rc == -ENOSPC)
			rc = refuse_front(dcd);
	} while (rc > 0 && !dcd->stopping);
	dcd_extents_abandon(dcd);
	return rc > 0 ? -EAGAIN : rc;
}

/*
 * Answers the complete group, once: until an answer went through, the group
 * stays complete and is answered at the next turn.
 */
static int answer_group(struct dcd *dcd)
{
	struct dcd_group *group = &dcd->group;
	enum dcd_verdict verdict = DCD_TOO_MANY;
	int rc = 0;

	if (!group->too_many) {
		guard(mutex)(&dcd->lock);
		verdict = dcd_group_check(&dcd->held, &dcd->bounds, group->ext, group->n);
	}
	if (verdict == DCD_OK)
		rc = accept_group(dcd);
	else if (verdict != DCD_KNOWN)
		rc = refuse_group(dcd, dcd_verdict_text(verdict));
	if (!rc)
		forget_group(dcd);
	return rc;
}

/* Takes one offered extent into the open group. */
static void take_add(struct dcd *dcd, const struct dcd_mb_event *record)
{
	struct dcd_group *group = &dcd->group;

	scoped_guard(mutex, &dcd->lock) {
		if (!group->n) {
			group->opened = jiffies;
			group->first_seen = dcd->nr_seen;
		}
		if (group->n < DCD_GROUP_MAX) {
			struct dcd_ext *ext = &group->ext[group->n++];

			*ext = (struct dcd_ext){
				.dpa = le64_to_cpu(record->extent.dpa),
				/* of another region: let the check refuse it */
				.len = record->region ? 0 : le64_to_cpu(record->extent.len),
				.seq = le16_to_cpu(record->extent.seq),
			};
			memcpy(ext->tag, record->extent.tag, sizeof(ext->tag));
		} else {
			group->too_many = true;
		}
		group->complete = !(record->more & DCD_EVENT_MORE);
		dcd_changed(dcd);
	}
}

/*
 * The device wants extents back. A forced release is no different: memory in
 * use cannot be given back, whatever the device says.
 */
static void take_release(struct dcd *dcd, const struct dcd_mb_event *record)
{
	u64 dpa = le64_to_cpu(record->extent.dpa), len = le64_to_cpu(record->extent.len);
	enum dcd_verdict verdict;

	scoped_guard(mutex, &dcd->lock) {
		verdict = dcd_release_check(&dcd->held, dpa, len);
		if (verdict == DCD_OK)
			dcd_extents_ask_release(dcd, dpa, len);
	}
	if (verdict != DCD_OK)
		dcd_say(dcd, "the device asks for [%#llx, +%#llx) back, which %s", dpa, len,
			dcd_verdict_text(verdict));
}

static void take_record(struct dcd *dcd, const struct dcd_mb_event *record)
{
	if (memcmp(record->uuid, &dcd_event_uuid, sizeof(dcd_event_uuid)))
		return;
	switch (record->type) {
	case DCD_EVENT_ADD:
		take_add(dcd, record);
		break;
	case DCD_EVENT_RELEASE:
	case DCD_EVENT_FORCED_RELEASE:
		take_release(dcd, record);
		break;
	case DCD_EVENT_REGION_UPDATED:
		dcd_say(dcd,
			"the device's DC region was reconfigured under the driver: load the driver anew");
		break;
	}
}

static void note_overflow(struct dcd *dcd, const struct dcd_mb_events_out *out)
{
	u16 lost = max_t(u16, 1, le16_to_cpu(out->overflow_count));

	if (lost == dcd->last_overflow)
		return; /* the device repeats its count until the log is cleared */
	scoped_guard(mutex, &dcd->lock) {
		dcd->overflows += lost > dcd->last_overflow ? lost - dcd->last_overflow : lost;
		dcd->look_for_unseen = true;
	}
	dcd->last_overflow = lost;
	dcd_say(dcd,
		"event log overflowed %llu times: extents may have been lost; the device must be asked",
		dcd->overflows);
}

/* Takes the new records of one answer to Get Event Records; returns their number. */
static int take_batch(struct dcd *dcd, struct dcd_mb_events_out *log, size_t len)
{
	u32 i, room = (len - sizeof(*log)) / sizeof(log->record[0]);
	u32 count = min_t(u32, le16_to_cpu(log->count), room);
	int rc, fresh = 0;

	for (i = 0; i < count; i++) {
		u16 handle = le16_to_cpu(log->record[i].handle);

		if (was_seen(dcd, handle))
			continue; /* not cleared yet: shown again */
		if (dcd->nr_seen == DCD_SEEN_MAX)
			return -EIO;
		take_record(dcd, &log->record[i]);
		dcd->seen[dcd->nr_seen++] = handle;
		fresh++;
		if (dcd->group.complete) {
			rc = answer_group(dcd);
			if (rc)
				return rc;
		}
	}
	return fresh;
}

/*
 * An open group that fills a whole answer hides what follows it. It is in our
 * memory now, so its records may go before it is answered.
 */
static int uncover(struct dcd *dcd)
{
	if (!dcd->nr_seen)
		return -EIO; /* more records, it says, but shows none */
	dcd->group.first_seen = dcd->nr_seen;
	return clear_records(dcd);
}

/* Reads the log to its end and acts on it. */
int dcd_events_poll(struct dcd *dcd)
{
	struct dcd_mb_events_out *log = dcd->log;
	u8 which = DCD_EVENT_LOG;
	int rc, fresh;
	size_t len;
	bool more;

	do {
		/* what a failure left over from the last turn */
		rc = dcd->group.complete ? answer_group(dcd) : 0;
		if (!rc)
			rc = clear_records(dcd);
		if (rc)
			return rc;
		len = dcd->payload;
		rc = dcd_mbox_cmd(dcd, DCD_OP_GET_EVENTS, &which, sizeof(which), log, &len);
		if (rc)
			return rc;
		if (len < sizeof(*log))
			return -EIO;
		if (log->flags & DCD_EVENTS_OVERFLOW)
			note_overflow(dcd, log);
		more = log->flags & DCD_EVENTS_MORE;
		fresh = take_batch(dcd, log, len);
		if (fresh < 0)
			return fresh;
		rc = more && !fresh ? uncover(dcd) : clear_records(dcd);
		if (rc)
			return rc;
	} while (more);

	if (!dcd->group.n || !time_after(jiffies, dcd->group.opened + GROUP_LIMIT))
		return 0;
	rc = refuse_group(dcd, "was left open for more than 20 s");
	if (rc)
		return rc;
	forget_group(dcd);
	return clear_records(dcd);
}
