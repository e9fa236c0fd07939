// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: device
 *
 * One bound function: its registers, its life and its device worker.
 *
 * Probe only maps registers and starts the worker; all talk with the device is
 * the worker's, so that a slow or dead device delays nobody's boot. A device
 * that cannot be used stays bound as `broken`, with the reason in sysfs, where
 * the host agent finds it, instead of only in a log.
 */
#include <linux/bitfield.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/kthread.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/sysfs.h>

#include "cxl_dcd.h"
#include "mailbox.h"

#define BACKOFF_FIRST_MS 500
#define BACKOFF_MAX_MS 30000

#define QEMU_TYPE3 0x0d93 /* does not survive an answer when no offer is pending */

#define BLOCK_COMPONENT 1 /* register block ids of the register locator */
#define BLOCK_DEVICE 3

#define DEVCAP_COUNT GENMASK_ULL(47, 32)
#define DEVCAP_ID GENMASK(15, 0)
#define DEVCAP_MAILBOX 2

/*
 * Something that user space may see has changed: counts it and wakes whoever
 * polls dcd/generation. Before the sysfs group exists, nobody is woken.
 */
void dcd_changed(struct dcd *dcd)
{
	lockdep_assert_held(&dcd->lock);
	dcd->generation++;
	sysfs_notify(&dcd->pdev->dev.kobj, "dcd", "generation");
}

static void __printf(3, 0) set_error(struct dcd *dcd, enum dcd_dev_state state, const char *fmt,
				     va_list args)
{
	lockdep_assert_held(&dcd->lock);
	dcd->state = state;
	vscnprintf(dcd->error, sizeof(dcd->error), fmt, args);
	if (dcd->error[0])
		dev_warn(&dcd->pdev->dev, "%s\n", dcd->error);
	dcd_changed(dcd);
}

/* Sets the device's last trouble; an empty sentence clears it. Takes dcd->lock. */
void dcd_say(struct dcd *dcd, const char *fmt, ...)
{
	va_list args;

	guard(mutex)(&dcd->lock);
	va_start(args, fmt);
	set_error(dcd, dcd->state, fmt, args);
	va_end(args);
}

/* Gives the device up until it is bound again. Takes dcd->lock. */
void dcd_break(struct dcd *dcd, const char *fmt, ...)
{
	va_list args;

	guard(mutex)(&dcd->lock);
	va_start(args, fmt);
	set_error(dcd, DCD_DEV_BROKEN, fmt, args);
	va_end(args);
}

/* Runs the device worker now. Callable from hard interrupts. */
void dcd_device_kick(struct dcd *dcd)
{
	mod_delayed_work(dcd->wq, &dcd->work, 0);
}

static int start(struct dcd *dcd)
{
	int rc;

	rc = dcd_mbox_get_region(dcd, &dcd->bounds, &dcd->decode_len);
	if (rc == -ENXIO || rc == -EOPNOTSUPP) {
		dcd_break(dcd,
			  "%s reports no usable dynamic capacity region: not a DCD, or not configured",
			  pci_name(dcd->pdev));
		return -EOPNOTSUPP;
	}
	if (rc)
		return rc;
	rc = dcd_decoder_commit(dcd);
	if (rc)
		return rc;
	rc = dcd_extents_replay(dcd);
	if (rc)
		return rc;
	rc = dcd_events_enable(dcd);
	if (rc)
		return rc;

	dev_info(&dcd->pdev->dev, "DC region [%#llx, +%#llx) block %#llx at %#llx, node %d\n",
		 dcd->bounds.base, dcd->bounds.len, dcd->bounds.block, dcd->hpa,
		 dcd->window_node);
	guard(mutex)(&dcd->lock);
	dcd->state = DCD_DEV_READY;
	dcd->error[0] = '\0';
	dcd->look_for_unseen = true;
	dcd_changed(dcd);
	return 0;
}

static int serve(struct dcd *dcd)
{
	int rc;

	if (dcd->resync) {
		rc = dcd_extents_replay(dcd);
		if (rc)
			return rc;
	}
	rc = dcd_events_poll(dcd);
	if (rc)
		return rc;
	if (dcd->look_for_unseen) {
		rc = dcd_extents_reject_unseen(dcd);
		if (rc)
			return rc;
	}
	return dcd_extents_release_asked(dcd);
}

static void device_worker(struct work_struct *work)
{
	struct dcd *dcd = container_of(to_delayed_work(work), struct dcd, work);
	enum dcd_dev_state state;
	unsigned int delay_ms;
	int rc = 0;

	scoped_guard(mutex, &dcd->lock) {
		if (dcd->stopping)
			return;
		state = dcd->state;
	}
	dcd_capacity_watch(dcd);
	if (state == DCD_DEV_BROKEN) {
		/* Its memory can still be taken out of use: only that is watched. */
		queue_delayed_work(dcd->wq, &dcd->work, msecs_to_jiffies(dcd_poll_ms));
		return;
	}
	if (state == DCD_DEV_STARTING)
		rc = start(dcd);
	if (!rc)
		rc = serve(dcd);

	switch (rc) {
	case 0:
		if (dcd->device_backoff_ms)
			dcd_say(dcd, "%s", "");
		dcd->device_backoff_ms = 0;
		delay_ms = dcd_poll_ms;
		break;
	case -ETIMEDOUT:
	case -EAGAIN:
	case -EIO:
	case -ENOMEM:
	case -ENOSPC:
		dcd->device_backoff_ms = clamp(dcd->device_backoff_ms * 2, BACKOFF_FIRST_MS,
					       BACKOFF_MAX_MS);
		delay_ms = dcd->device_backoff_ms;
		dcd_say(dcd, "talking to the device failed (error %d): trying again in %u ms", rc,
			delay_ms);
		break;
	case -ENODEV:
		scoped_guard(mutex, &dcd->lock)
			dcd->gone = true;
		dcd_break(dcd,
			  "the device does not answer any more (registers read as all ones): removed or failed");
		delay_ms = dcd_poll_ms;
		break;
	default:
		/* whoever failed so has said why; if not, say it here */
		if (dcd->state != DCD_DEV_BROKEN)
			dcd_break(dcd, "giving the device up after error %d", rc);
		delay_ms = dcd_poll_ms;
	}
	queue_delayed_work(dcd->wq, &dcd->work, msecs_to_jiffies(delay_ms));
}

/* Maps the register block @id that the register locator names. */
static void __iomem *map_block(struct dcd *dcd, u8 id, size_t *size)
{
	struct pci_dev *pdev = dcd->pdev;
	u16 dvsec = pci_find_dvsec_capability(pdev, PCI_VENDOR_ID_CXL, PCI_DVSEC_CXL_REG_LOCATOR);
	u32 head, low, high;
	u64 offset;
	u16 at, end;
	int bar;

	if (!dvsec || pci_read_config_dword(pdev, dvsec + PCI_DVSEC_HEADER1, &head))
		return NULL;
	end = dvsec + PCI_DVSEC_HEADER1_LEN(head);
	for (at = dvsec + PCI_DVSEC_CXL_REG_LOCATOR_BLOCK1; at + 8 <= end; at += 8) {
		if (pci_read_config_dword(pdev, at, &low) ||
		    pci_read_config_dword(pdev, at + 4, &high))
			return NULL;
		if (FIELD_GET(PCI_DVSEC_CXL_REG_LOCATOR_BLOCK_ID, low) != id)
			continue;
		bar = FIELD_GET(PCI_DVSEC_CXL_REG_LOCATOR_BIR, low);
		offset = (u64)high << 32 | (low & PCI_DVSEC_CXL_REG_LOCATOR_BLOCK_OFF_LOW);
		if (bar >= PCI_STD_NUM_BARS || offset >= pci_resource_len(pdev, bar))
			return NULL;
		*size = pci_resource_len(pdev, bar) - offset;
		return devm_ioremap(&pdev->dev, pci_resource_start(pdev, bar) + offset, *size);
	}
	return NULL;
}

/* Finds the primary mailbox in the device registers. */
static int find_mailbox(struct dcd *dcd, void __iomem *regs, size_t size)
{
	u32 i, count;

	if (size < 16)
		return -ENXIO;
	count = FIELD_GET(DEVCAP_COUNT, readq(regs));
	for (i = 1; i <= count && (i + 1) * 16 <= size; i++) {
		void __iomem *cap = regs + 16 * i;
		u32 offset = readl(cap + 4);

		if (FIELD_GET(DEVCAP_ID, readl(cap)) != DEVCAP_MAILBOX)
			continue;
		if (offset >= size)
			return -ENXIO;
		dcd->mbox = regs + offset;
		return dcd_mbox_find(dcd, size - offset);
	}
	return -ENXIO;
}

static int map_registers(struct dcd *dcd)
{
	void __iomem *regs;
	size_t size;
	int rc;

	regs = map_block(dcd, BLOCK_DEVICE, &size);
	if (!regs)
		return -ENXIO;
	rc = find_mailbox(dcd, regs, size);
	if (rc)
		return rc;
	regs = map_block(dcd, BLOCK_COMPONENT, &size);
	return regs ? dcd_decoder_find(dcd, regs, size) : -ENXIO;
}

/**
 * dcd_device_create - make a device and start its workers
 * @pdev: enabled function, owned by this driver
 * @out: the device
 *
 * Does not talk to the device and does not wait for it. -ENXIO: the function
 * has no mailbox or no HDM decoder, so that there is nothing to drive.
 */
int dcd_device_create(struct pci_dev *pdev, struct dcd **out)
{
	struct device *dev = &pdev->dev;
	struct dcd *dcd;
	int rc;

	dcd = devm_kzalloc(dev, sizeof(*dcd), GFP_KERNEL);
	if (!dcd)
		return -ENOMEM;
	dcd->pdev = pdev;
	dcd->instance = get_random_u64();
	dcd->serial = pci_get_dsn(pdev);
	dcd->window_node = NUMA_NO_NODE;
	/* Others show it with their first pending offer. */
	dcd->counts_pending = pdev->vendor == PCI_VENDOR_ID_INTEL && pdev->device == QEMU_TYPE3;
	dcd->group.ext = devm_kcalloc(dev, DCD_GROUP_MAX, sizeof(*dcd->group.ext), GFP_KERNEL);
	dcd->seen = devm_kcalloc(dev, DCD_SEEN_MAX, sizeof(*dcd->seen), GFP_KERNEL);
	if (!dcd->group.ext || !dcd->seen)
		return -ENOMEM;
	rc = devm_mutex_init(dev, &dcd->mbox_lock);
	if (!rc)
		rc = devm_mutex_init(dev, &dcd->lock);
	if (rc)
		return rc;
	init_waitqueue_head(&dcd->plug_wait);
	INIT_DELAYED_WORK(&dcd->work, device_worker);

	rc = map_registers(dcd);
	if (rc)
		return dev_err_probe(dev, rc,
				     "no mailbox or no HDM decoder: not a CXL memory device that this driver knows\n");

	dcd->wq = alloc_ordered_workqueue("cxl_dcd/%s", WQ_FREEZABLE, pci_name(pdev));
	if (!dcd->wq)
		return -ENOMEM;
	pci_set_drvdata(pdev, dcd);
	rc = dcd_capacity_start(dcd);
	if (rc) {
		destroy_workqueue(dcd->wq);
		return rc;
	}
	dcd_device_kick(dcd);
	*out = dcd;
	return 0;
}

/**
 * dcd_device_destroy - the function goes away
 * @dcd: the device; its memory goes with the function's devres
 *
 * Stops both workers. Accepted extents are given back, unless the function was
 * removed by surprise: then nobody may tell the device anything. Extents that
 * are still plugged keep their memory, their dax device and a reference on the
 * module until reboot: forcing them out would take memory away from programs.
 */
void dcd_device_destroy(struct dcd *dcd)
{
	scoped_guard(mutex, &dcd->lock) {
		dcd->stopping = true;
		dcd->gone |= !pci_device_is_present(dcd->pdev);
	}
	dcd_capacity_stop(dcd);
	/* First the worker, which may be about to ask for interrupts only now. */
	disable_delayed_work_sync(&dcd->work);
	dcd_events_disable(dcd);
	dcd_extents_give_back(dcd);
	destroy_workqueue(dcd->wq);
	dcd_list_free(&dcd->held);
	dcd_sysfs_cleanup(dcd);
}
