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

enum { RECORD_DONE, RECORD_KEPT }; /* may be cleared now; is cleared with its group */

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
 */
int dcd_events_enable(struct dcd *dcd)
{
	struct dcd_mb_irq_policy policy = {};
	struct pci_dev *pdev = dcd->pdev;
	size_t len = sizeof(policy);
	int rc, vectors, vector;

	if (dcd->irq)
		return 0;
	vectors = pci_alloc_irq_vectors(pdev, 1, MAX_VECTORS, PCI_IRQ_MSIX | PCI_IRQ_MSI);
	if (vectors < 0)
		goto poll_only;

	rc = dcd_mbox_cmd(dcd, DCD_OP_GET_IRQ_POLICY, NULL, 0, &policy, &len);
	if (rc == -ENODEV)
		return rc;
	policy.dynamic_capacity = DCD_IRQ_MODE_MSI;
	if (!rc)
		rc = dcd_mbox_cmd(dcd, DCD_OP_SET_IRQ_POLICY, &policy, sizeof(policy), NULL, NULL);
	len = sizeof(policy);
	if (!rc)
		rc = dcd_mbox_cmd(dcd, DCD_OP_GET_IRQ_POLICY, NULL, 0, &policy, &len);
	if (rc)
		goto free_vectors;

	vector = DCD_IRQ_VECTOR(policy.dynamic_capacity);
	if (vector >= vectors)
		goto free_vectors;
	rc = request_irq(pci_irq_vector(pdev, vector), handle_irq, 0, dev_name(&pdev->dev), dcd);
	if (rc)
		goto free_vectors;
	dcd->irq = pci_irq_vector(pdev, vector);
	return 0;

free_vectors:
	pci_free_irq_vectors(pdev);
poll_only:
	dev_warn(&pdev->dev, "no interrupt for capacity events: polling every %u ms\n",
		 dcd_poll_ms);
	return 0;
}

/* Mirrors dcd_events_enable(). The worker may still be queued by a late interrupt. */
void dcd_events_disable(struct dcd *dcd)
{
	if (dcd->irq)
		free_irq(dcd->irq, dcd);
	dcd->irq = 0;
	pci_free_irq_vectors(dcd->pdev);
}

/* Clears @n records. */
static int clear_records(struct dcd *dcd, const u16 *handles, u32 n)
{
	u32 room = min_t(u32, U8_MAX, (dcd->payload - sizeof(struct dcd_mb_clear_in)) / 2);
	struct dcd_mb_clear_in *in = dcd->buf;
	u32 i, done, count;
	int rc;

	for (done = 0; done < n; done += count) {
		count = min(n - done, room);
		memset(in, 0, sizeof(*in));
		in->log = DCD_EVENT_LOG;
		in->count = count;
		for (i = 0; i < count; i++)
			in->handle[i] = cpu_to_le16(handles[done + i]);
		rc = dcd_mbox_cmd(dcd, DCD_OP_CLEAR_EVENTS, in, struct_size(in, handle, count),
				  NULL, NULL);
		if (rc)
			return rc;
		dcd->last_overflow = 0; /* clearing starts the device's count anew */
	}
	return 0;
}

static int clear_group_records(struct dcd *dcd)
{
	int rc = clear_records(dcd, dcd->group.handle, dcd->group.handles);

	if (!rc)
		dcd->group.handles = 0;
	return rc;
}

static void forget_group(struct dcd *dcd)
{
	guard(mutex)(&dcd->lock);
	dcd->group.stage = DCD_GROUP_OPEN;
	dcd->group.n = 0;
	dcd->group.too_many = false;
	dcd_changed(dcd);
}

static int refuse_group(struct dcd *dcd, const char *why)
{
	const struct dcd_ext *first = &dcd->group.ext[0];
	int rc;

	rc = dcd_mbox_update(dcd, DCD_OP_ADD_RESPONSE, NULL, 0);
	if (rc)
		return rc;
	scoped_guard(mutex, &dcd->lock)
		dcd->rejected += dcd->group.n;
	dcd_say(dcd, "refused an offer of %u extent(s) from [%#llx, +%#llx): it %s", dcd->group.n,
		first->dpa, first->len, why);
	return 0;
}

static int accept_group(struct dcd *dcd)
{
	u32 n = dcd->group.n;
	int rc;

	/* Memory first: an extent that the device counts as ours must be in our list. */
	rc = dcd_extents_prepare(dcd, dcd->group.ext, n);
	if (rc)
		return rc;
	rc = dcd_mbox_update(dcd, DCD_OP_ADD_RESPONSE, dcd->group.ext, n);
	if (!rc) {
		dcd_extents_commit(dcd);
		return 0;
	}
	dcd_extents_abandon(dcd);
	if (rc == -EIO || rc == -ENOSPC)
		return refuse_group(dcd, "was not let to be accepted by the device");
	return rc;
}

/*
 * Answers the complete group. That it was answered is noted before its records
 * are cleared: when clearing fails, only the clearing is tried again.
 */
static int answer_group(struct dcd *dcd)
{
	struct dcd_group *group = &dcd->group;
	enum dcd_verdict verdict = DCD_TOO_MANY;
	int rc = 0;

	if (group->stage == DCD_GROUP_COMPLETE) {
		if (!group->too_many) {
			guard(mutex)(&dcd->lock);
			verdict = dcd_group_check(&dcd->held, &dcd->bounds, group->ext, group->n);
		}
		if (verdict == DCD_OK)
			rc = accept_group(dcd);
		else if (verdict != DCD_KNOWN)
			rc = refuse_group(dcd, dcd_verdict_text(verdict));
		if (rc)
			return rc;
		guard(mutex)(&dcd->lock);
		group->stage = DCD_GROUP_ANSWERED;
		group->n = 0;
	}
	rc = clear_group_records(dcd);
	if (!rc)
		forget_group(dcd);
	return rc;
}

static bool group_has_handle(const struct dcd *dcd, u16 handle)
{
	u32 i;

	for (i = 0; i < dcd->group.handles; i++)
		if (dcd->group.handle[i] == handle)
			return true;
	return false;
}

/* Takes one offered extent into the open group; answers the group if it is the last. */
static int take_add(struct dcd *dcd, const struct dcd_mb_event *record)
{
	struct dcd_group *group = &dcd->group;
	bool kept = group->n < DCD_GROUP_MAX;
	int rc;

	scoped_guard(mutex, &dcd->lock) {
		if (!group->n)
			group->opened = jiffies;
		if (kept) {
			struct dcd_ext *ext = &group->ext[group->n++];

			*ext = (struct dcd_ext){
				.dpa = le64_to_cpu(record->extent.dpa),
				/* of another region: let the check refuse it */
				.len = record->region ? 0 : le64_to_cpu(record->extent.len),
				.seq = le16_to_cpu(record->extent.seq),
			};
			memcpy(ext->tag, record->extent.tag, sizeof(ext->tag));
			group->handle[group->handles++] = le16_to_cpu(record->handle);
		}
		group->too_many |= !kept;
		if (!(record->more & DCD_EVENT_MORE))
			group->stage = DCD_GROUP_COMPLETE;
		dcd_changed(dcd);
	}
	if (group->stage == DCD_GROUP_COMPLETE) {
		rc = answer_group(dcd);
		if (rc)
			return rc;
	}
	return kept ? RECORD_KEPT : RECORD_DONE;
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

/* Takes one record: an errno, or whether it can be cleared. */
static int take_record(struct dcd *dcd, const struct dcd_mb_event *record)
{
	if (memcmp(record->uuid, &dcd_event_uuid, sizeof(dcd_event_uuid)))
		return RECORD_DONE;
	switch (record->type) {
	case DCD_EVENT_ADD:
		return take_add(dcd, record);
	case DCD_EVENT_RELEASE:
	case DCD_EVENT_FORCED_RELEASE:
		take_release(dcd, record);
		return RECORD_DONE;
	case DCD_EVENT_REGION_UPDATED:
		dcd_say(dcd, "the device's DC region was reconfigured under the driver: load the driver anew");
		return RECORD_DONE;
	default:
		return RECORD_DONE;
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
	dcd_say(dcd, "event log overflowed %llu times: extents may have been lost; the device must be asked",
		dcd->overflows);
}

/* Takes every record of one answer to Get Event Records; returns how many were new. */
static int take_batch(struct dcd *dcd, struct dcd_mb_events_out *log, size_t len)
{
	u32 i, room = (len - sizeof(*log)) / sizeof(log->record[0]);
	u32 count = min_t(u32, le16_to_cpu(log->count), room);
	int rc, fresh = 0;

	for (i = 0; i < count; i++) {
		u16 handle = le16_to_cpu(log->record[i].handle);

		if (group_has_handle(dcd, handle))
			continue; /* of the open group: shown again until cleared */
		rc = take_record(dcd, &log->record[i]);
		if (rc == RECORD_DONE)
			rc = clear_records(dcd, &handle, 1);
		if (rc < 0)
			return rc;
		fresh++;
	}
	return fresh;
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
		if (dcd->group.stage != DCD_GROUP_OPEN) {
			rc = answer_group(dcd);
			if (rc)
				return rc;
		}
		len = dcd->payload;
		rc = dcd_mbox_cmd(dcd, DCD_OP_GET_EVENTS, &which, 1, log, &len);
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
		/*
		 * An open group that fills a whole answer hides what follows it.
		 * It is in our memory now, so its records may go.
		 */
		if (more && !fresh) {
			if (!dcd->group.handles)
				return -EIO;
			rc = clear_group_records(dcd);
			if (rc)
				return rc;
		}
	} while (more);

	if (dcd->group.n && time_after(jiffies, dcd->group.opened + GROUP_LIMIT)) {
		rc = refuse_group(dcd, "was left open for more than 20 s");
		if (rc)
			return rc;
		scoped_guard(mutex, &dcd->lock) {
			dcd->group.stage = DCD_GROUP_ANSWERED;
			dcd->group.n = 0;
		}
		return answer_group(dcd);
	}
	return 0;
}
