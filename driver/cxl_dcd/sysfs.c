// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: sysfs
 *
 * /sys/bus/pci/devices/<BDF>/dcd/: the module's whole interface, described in
 * docs/DRIVER.md. Reading takes dcd->lock only, which nobody holds over the
 * mailbox or over hotplug, so no read ever waits for either. Writing `want`
 * notes a wish and wakes the plug worker; the result shows in `extents`.
 */
#include <linux/slab.h>
#include <linux/sysfs.h>

#include "cxl_dcd.h"
#include "../uapi/cxl_dcd.h"

static const char *const dev_state_word[] = {
	[DCD_DEV_STARTING] = CXL_DCD_DEV_STARTING,
	[DCD_DEV_READY] = CXL_DCD_DEV_READY,
	[DCD_DEV_BROKEN] = CXL_DCD_DEV_BROKEN,
};

static const char *const ext_state_word[] = {
	[DCD_EXT_ACCEPTED] = CXL_DCD_EXT_ACCEPTED,
	[DCD_EXT_PLUGGING] = CXL_DCD_EXT_PLUGGING,
	[DCD_EXT_PLUGGED] = CXL_DCD_EXT_PLUGGED,
	[DCD_EXT_UNPLUGGING] = CXL_DCD_EXT_UNPLUGGING,
	[DCD_EXT_RELEASING] = CXL_DCD_EXT_RELEASING,
	[DCD_EXT_STUCK] = CXL_DCD_EXT_STUCK,
};

static const char *const want_word[] = {
	[DCD_WANT_NONE] = CXL_DCD_WANT_NONE,
	[DCD_WANT_PLUGGED] = CXL_DCD_WANT_PLUGGED,
	[DCD_WANT_UNPLUGGED] = CXL_DCD_WANT_UNPLUGGED,
};

static const char *const use_word[] = {
	[DCD_USE_NONE] = CXL_DCD_USE_NONE,
	[DCD_USE_RAM] = CXL_DCD_USE_RAM,
	[DCD_USE_DAX] = CXL_DCD_USE_DAX,
};

static ssize_t state_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct dcd *dcd = dev_get_drvdata(dev);

	guard(mutex)(&dcd->lock);
	return sysfs_emit(buf, "%s\n", dev_state_word[dcd->state]);
}
static DEVICE_ATTR_RO(state);

static ssize_t error_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct dcd *dcd = dev_get_drvdata(dev);

	guard(mutex)(&dcd->lock);
	return sysfs_emit(buf, "%s\n", dcd->error);
}
static DEVICE_ATTR_RO(error);

static ssize_t instance_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct dcd *dcd = dev_get_drvdata(dev);

	return sysfs_emit(buf, "%016llx\n", dcd->instance);
}
static DEVICE_ATTR_RO(instance);

static ssize_t serial_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct dcd *dcd = dev_get_drvdata(dev);

	return sysfs_emit(buf, "%#llx\n", dcd->serial);
}
static DEVICE_ATTR_RO(serial);

static ssize_t region_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct dcd *dcd = dev_get_drvdata(dev);

	guard(mutex)(&dcd->lock);
	return sysfs_emit(buf, "%llu %llu %llu\n", dcd->bounds.base, dcd->bounds.len,
			  dcd->bounds.block);
}
static DEVICE_ATTR_RO(region);

static ssize_t window_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct dcd *dcd = dev_get_drvdata(dev);

	guard(mutex)(&dcd->lock);
	return sysfs_emit(buf, "%llu %llu %d\n", dcd->hpa, dcd->decode_len, dcd->window_node);
}
static DEVICE_ATTR_RO(window);

static ssize_t generation_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct dcd *dcd = dev_get_drvdata(dev);

	guard(mutex)(&dcd->lock);
	return sysfs_emit(buf, "%llu\n", dcd->generation);
}
static DEVICE_ATTR_RO(generation);

static ssize_t overflows_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct dcd *dcd = dev_get_drvdata(dev);

	guard(mutex)(&dcd->lock);
	return sysfs_emit(buf, "%llu\n", dcd->overflows);
}
static DEVICE_ATTR_RO(overflows);

static ssize_t rejected_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct dcd *dcd = dev_get_drvdata(dev);

	guard(mutex)(&dcd->lock);
	return sysfs_emit(buf, "%llu\n", dcd->rejected);
}
static DEVICE_ATTR_RO(rejected);

static ssize_t want_store(struct device *dev, struct device_attribute *attr, const char *buf,
			  size_t count)
{
	struct dcd *dcd = dev_get_drvdata(dev);
	struct dcd_want_line line;
	struct dcd_extent *ext;
	struct dcd_ext *id;

	if (dcd_want_parse(buf, &line))
		return -EINVAL;

	guard(mutex)(&dcd->lock);
	if (dcd->stopping)
		return -ENODEV;
	id = dcd_list_exact(&dcd->held, line.dpa, line.len);
	if (!id)
		return -ENOENT;
	ext = to_dcd_extent(id);
	ext->want = line.plugged ? DCD_WANT_PLUGGED : DCD_WANT_UNPLUGGED;
	ext->want_use = !line.plugged ? DCD_USE_NONE : line.dax ? DCD_USE_DAX : DCD_USE_RAM;
	ext->want_new = true;
	ext->due = jiffies;
	ext->backoff_ms = 0;
	if (ext->state == DCD_EXT_UNPLUGGING && line.plugged)
		dcd_capacity_interrupt(dcd); /* changed our mind: pages may stay */
	dcd_changed(dcd);
	dcd_capacity_kick(dcd);
	return count;
}
static DEVICE_ATTR_WO(want);

static int print_pending(const struct dcd *dcd, char *text, size_t room)
{
	int n = 0;
	u32 i;

	for (i = 0; i < dcd->group.n; i++)
		n += scnprintf(text + n, room - n, "%llu %llu %s %s %s - -\n",
			       dcd->group.ext[i].dpa, dcd->group.ext[i].len, CXL_DCD_EXT_PENDING,
			       CXL_DCD_WANT_NONE, CXL_DCD_USE_NONE);
	return n;
}

static int print_extent(const struct dcd_extent *ext, char *text, size_t room)
{
	enum dcd_use use = ext->use;
	char node[12] = "-";

	/* not plugged yet: tell what is wanted */
	if (use == DCD_USE_NONE && ext->want == DCD_WANT_PLUGGED)
		use = ext->want_use;
	if (ext->node != NUMA_NO_NODE)
		scnprintf(node, sizeof(node), "%d", ext->node);
	return scnprintf(text, room, "%llu %llu %s %s %s %s %s%s%s\n", ext->id.dpa, ext->id.len,
			 ext_state_word[ext->state], want_word[ext->want], use_word[use],
			 ext->dax[0] ? ext->dax : "-", node, ext->error[0] ? " " : "", ext->error);
}

/* Prints the whole list into @snap, in place of what it held. */
static int take_snapshot(struct dcd *dcd, struct dcd_snapshot *snap)
{
	size_t room = 128 + (dcd->held.n + dcd->group.n) * (DCD_ERROR_LEN + 128);
	u32 i;

	lockdep_assert_held(&dcd->lock);
	kvfree(snap->text);
	snap->len = 0;
	snap->text = kvmalloc(room, GFP_KERNEL);
	if (!snap->text)
		return -ENOMEM;
	snap->len = print_pending(dcd, snap->text, room);
	for (i = 0; i < dcd->held.n; i++)
		snap->len += print_extent(to_dcd_extent(dcd->held.v[i]), snap->text + snap->len,
					  room - snap->len);
	return 0;
}

/* The snapshot of this open file, or else the one that was used longest ago. */
static struct dcd_snapshot *find_snapshot(struct dcd *dcd, const struct file *file)
{
	struct dcd_snapshot *oldest = &dcd->snapshot[0];
	u32 i;

	lockdep_assert_held(&dcd->lock);
	for (i = 0; i < DCD_SNAPSHOTS; i++) {
		if (dcd->snapshot[i].file == file)
			return &dcd->snapshot[i];
		if (dcd->snapshot[i].used < oldest->used)
			oldest = &dcd->snapshot[i];
	}
	return oldest;
}

/*
 * A reader sees one state of the list, however many pieces it reads: a read
 * from offset 0 prints the list, the others go on in the same text. sysfs does
 * not tell when a file is closed, so the texts are kept by number, not by
 * reader. -ESTALE: so many others began to read that this text is gone; read
 * from the start.
 */
static ssize_t extents_read(struct file *file, struct kobject *kobj,
			    const struct bin_attribute *attr, char *buf, loff_t off, size_t count)
{
	struct dcd *dcd = dev_get_drvdata(kobj_to_dev(kobj));
	struct dcd_snapshot *snap;
	int rc;

	guard(mutex)(&dcd->lock);
	snap = find_snapshot(dcd, file);
	if (!off) {
		snap->file = file;
		rc = take_snapshot(dcd, snap);
		if (rc)
			return rc;
	} else if (snap->file != file) {
		return -ESTALE;
	}
	snap->used = ++dcd->snapshots_used;
	return memory_read_from_buffer(buf, count, &off, snap->text, snap->len);
}

/* Frees what readers left behind. The sysfs group is gone. */
void dcd_sysfs_cleanup(struct dcd *dcd)
{
	u32 i;

	for (i = 0; i < DCD_SNAPSHOTS; i++)
		kvfree(dcd->snapshot[i].text);
}

static const BIN_ATTR_RO(extents, 0);

static struct attribute *dcd_attrs[] = {
	&dev_attr_state.attr,
	&dev_attr_error.attr,
	&dev_attr_instance.attr,
	&dev_attr_serial.attr,
	&dev_attr_region.attr,
	&dev_attr_window.attr,
	&dev_attr_generation.attr,
	&dev_attr_overflows.attr,
	&dev_attr_rejected.attr,
	&dev_attr_want.attr,
	NULL,
};

static const struct bin_attribute *const dcd_bin_attrs[] = {
	&bin_attr_extents,
	NULL,
};

static const struct attribute_group dcd_group = {
	.name = CXL_DCD_SYSFS_DIR,
	.attrs = dcd_attrs,
	.bin_attrs = dcd_bin_attrs,
};

const struct attribute_group *dcd_sysfs_groups[] = {
	&dcd_group,
	NULL,
};
