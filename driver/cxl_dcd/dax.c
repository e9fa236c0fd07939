// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: dax
 *
 * The stock path: a platform device named `hmem` over the extent's range makes
 * dax_hmem create a dax device, which kmem turns into pages of a NUMA node or
 * device_dax into a character device. Nothing of theirs is rebuilt here.
 *
 *  ram: kmem adds the memory when it binds, with the kernel's default online
 *       type. That must be `offline`, for memory that was ever online in the
 *       kernel zone cannot be taken out again; or `online_movable`, and all
 *       is done. Else kmem's own `state` attribute is written, as from user
 *       space: `unplugged`, then `online_movable`. Onlining the blocks behind
 *       kmem's back would leave kmem's idea of them wrong, and its removal
 *       path warns about that.
 *  dax: dax devices of hmem are meant for kmem, so it may bind first; its
 *       blocks are unplugged through `state`, for unbinding it would leave
 *       those that are online behind, and device_dax is attached by name.
 *
 * A platform device that was added proves nothing: what counts is which driver
 * the dax device has and in which zone the pages are, and both are read.
 *
 * All functions but dcd_range_is_free() run in the plug worker, on an extent
 * that it owns; dcd->lock must not be held: hotplug takes seconds.
 */
#include <linux/fs.h>
#include <linux/file.h>
#include <linux/ioport.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/memregion.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/pagemap.h>

#include "cxl_dcd.h"

#define KMEM "kmem"
#define DEVICE_DAX "device_dax"

/* Whether nobody in this kernel has reserved or added a byte of @range. */
bool dcd_range_is_free(const struct range *range)
{
	return region_intersects(range->start, range_len(range), IORESOURCE_SYSTEM_RAM,
				 IORES_DESC_NONE) == REGION_DISJOINT &&
	       region_intersects(range->start, range_len(range), IORESOURCE_MEM | IORESOURCE_BUSY,
				 IORES_DESC_NONE) == REGION_DISJOINT;
}

static int match_dax_child(struct device *dev, void *out)
{
	if (!dev->bus || strcmp(dev->bus->name, "dax"))
		return 0;
	*(struct device **)out = get_device(dev);
	return 1;
}

/* The dax device that dax_hmem made, with a reference; NULL when there is none. */
static struct device *dax_child(const struct dcd_extent *ext)
{
	struct device *child = NULL;

	if (ext->hmem)
		device_for_each_child(&ext->hmem->dev, &child, match_dax_child);
	return child;
}

static bool bound_to(const struct device *child, const char *driver)
{
	return child->driver && !strcmp(child->driver->name, driver);
}

/* Whether kmem is there to put the extent's blocks offline and remove them. */
static bool kmem_has(const struct dcd_extent *ext)
{
	struct device *child __free(put_device) = dax_child(ext);

	return child && bound_to(child, KMEM);
}

/* Counts the memory blocks of @range that are online, and those of them that are movable. */
static u32 online_blocks(const struct range *range, u32 *movable, int *node)
{
	u64 step = memory_block_size_bytes(), at;
	u32 online = 0;

	*movable = 0;
	*node = NUMA_NO_NODE;
	for (at = range->start; at <= range->end; at += step) {
		struct page *page = pfn_to_online_page(PHYS_PFN(at));

		if (!page)
			continue;
		online++;
		*movable += page_zonenum(page) == ZONE_MOVABLE;
		*node = page_to_nid(page);
	}
	return online;
}

/* Writes kmem's own `state` attribute. The device lock keeps kmem bound meanwhile. */
static int write_kmem_state(struct device *child, const char *word)
{
	const struct attribute_group *const *group;
	struct attribute **attr;
	ssize_t rc;

	guard(device)(child);
	if (!bound_to(child, KMEM))
		return -ENODEV;
	for (group = child->driver->dev_groups; group && *group; group++)
		for (attr = (struct attribute **)(*group)->attrs; attr && *attr; attr++)
			if (!strcmp((*attr)->name, "state")) {
				struct device_attribute *state =
					container_of(*attr, struct device_attribute, attr);

				rc = state->store(child, state, word, strlen(word));
				return rc < 0 ? rc : 0;
			}
	return -EOPNOTSUPP;
}

/* Gives the dax device to the driver named so. */
static int bind_child(struct device *child, const char *name)
{
	struct device_driver *driver = driver_find(name, child->bus);

	if (!driver)
		return -ENOENT;
	if (child->driver == driver)
		return 0;
	if (child->driver)
		device_release_driver(child);
	return device_driver_attach(driver, child);
}

/*
 * Whether programs have the character device mapped, or a device of theirs
 * still holds pages of it for DMA. Only the open file leads to the mappings,
 * and only a mount of our own leads to the file in every mount namespace.
 */
static int check_not_mapped(struct device *child, const struct range *range)
{
	struct file_system_type *type = get_fs_type("devtmpfs");
	struct vfsmount *mnt;
	struct file *file;
	struct path root;
	bool mapped;
	u64 at;

	for (at = range->start; at <= range->end; at += DCD_ALIGN)
		if (page_ref_count(pfn_to_page(PHYS_PFN(at))) > 1)
			return -EBUSY;
	if (!type)
		return 0;
	mnt = kern_mount(type);
	if (IS_ERR(mnt))
		return PTR_ERR(mnt);
	root = (struct path){ .mnt = mnt, .dentry = mnt->mnt_root };
	file = file_open_root(&root, dev_name(child), O_RDONLY | O_LARGEFILE, 0);
	mapped = !IS_ERR(file) && mapping_mapped(file->f_mapping);
	if (!IS_ERR(file))
		__fput_sync(file);
	kern_unmount(mnt);
	return mapped ? -EBUSY : 0;
}

/*
 * Takes the platform device, and with it the dax device, away. -EUCLEAN, with
 * nothing changed, when pages are still online: kmem would leave them so.
 */
static int destroy(struct dcd *dcd, struct dcd_extent *ext)
{
	struct range range = dcd_extent_range(dcd, ext);
	struct platform_device *hmem = ext->hmem;
	u32 movable;
	int node;

	if (online_blocks(&range, &movable, &node))
		return -EUCLEAN;
	scoped_guard(mutex, &dcd->lock) {
		ext->hmem = NULL;
		ext->dax[0] = '\0';
		ext->node = NUMA_NO_NODE;
	}
	platform_device_unregister(hmem);
	memregion_free(ext->memregion);
	return dcd_range_is_free(&range) ? 0 : -EUCLEAN;
}

/* Adds the platform device. -ENOENT when dax_hmem made no dax device of it. */
static int create(struct dcd *dcd, struct dcd_extent *ext)
{
	struct memregion_info info = { .target_node = dcd->window_node,
				       .range = dcd_extent_range(dcd, ext) };
	struct device *child __free(put_device) = NULL;
	struct platform_device *hmem;
	int id, rc;

	id = memregion_alloc(GFP_KERNEL);
	if (id < 0)
		return id;
	hmem = platform_device_alloc("hmem", id);
	if (!hmem) {
		rc = -ENOMEM;
		goto free_id;
	}
	/*
	 * No parent: the function may be pulled out while the memory is in use,
	 * and the memory's devices must not go down with it.
	 */
	hmem->dev.numa_node = numa_map_to_online_node(dcd->window_node);
	rc = platform_device_add_data(hmem, &info, sizeof(info));
	if (!rc)
		rc = platform_device_add(hmem);
	if (rc) {
		platform_device_put(hmem);
		goto free_id;
	}
	ext->hmem = hmem;
	ext->memregion = id;
	child = dax_child(ext);
	if (!child)
		return -ENOENT;
	guard(mutex)(&dcd->lock);
	strscpy(ext->dax, dev_name(child));
	return 0;

free_id:
	memregion_free(id);
	return rc;
}

/* What must hold before anything is touched; each refusal in words. */
static int check_can_plug(struct dcd *dcd, struct dcd_extent *ext, enum dcd_use use)
{
	struct range range = dcd_extent_range(dcd, ext);
	enum mmop policy = mhp_get_default_online_type();
	unsigned long block = memory_block_size_bytes();

	if (policy == MMOP_ONLINE || policy == MMOP_ONLINE_KERNEL) {
		dcd_extent_tell(dcd, ext,
				"the kernel's online policy is %s, which would make the memory impossible to take back: write offline to /sys/devices/system/memory/auto_online_blocks or boot with memhp_default_state=offline",
		    policy == MMOP_ONLINE ? "online" : "online_kernel");
		return -EPERM;
	}
	if (use == DCD_USE_RAM && !IS_ALIGNED(range.start | range_len(&range), block)) {
		dcd_extent_tell(dcd, ext,
				"ram needs whole memory blocks of %lu MiB at an aligned address, but the extent is %llu KiB at %#llx",
		    block >> 20, range_len(&range) >> 10, range.start);
		return -EINVAL;
	}
	if (use == DCD_USE_RAM && dcd->window_node == NUMA_NO_NODE) {
		dcd_extent_tell(dcd, ext,
				"the CXL window has no NUMA node: the firmware's CEDT or SRAT is incomplete");
		return -EINVAL;
	}
	if (!cpu_cache_has_invalidate_memregion()) {
		dcd_extent_tell(dcd, ext,
				"this CPU's caches cannot be invalidated (a hypervisor hides it): stale bytes of another host could be read; run QEMU with -cpu max,hypervisor=off");
		return -EINVAL;
	}
	if (!dcd_range_is_free(&range)) {
		dcd_extent_tell(dcd, ext, "somebody in this kernel uses %pra already", &range);
		return -EBUSY;
	}
	return 0;
}

static int bind_and_online(struct dcd *dcd, struct dcd_extent *ext, enum dcd_use use)
{
	const char *driver = use == DCD_USE_RAM ? KMEM : DEVICE_DAX;
	struct device *child __free(put_device) = dax_child(ext);
	int rc;

	if (!child)
		return -ENODEV; /* somebody unbound dax_hmem by hand meanwhile */
	if (use == DCD_USE_DAX && bound_to(child, KMEM)) {
		/* Online by policy or by a udev rule, they could not go with kmem. */
		rc = write_kmem_state(child, "unplugged");
		if (rc) {
			dcd_extent_tell(dcd, ext,
					"kmem took it first and does not let go of %s (error %d): trying again",
					dev_name(child), rc);
			return rc;
		}
	}
	rc = bind_child(child, driver);
	if (rc == -ENOENT)
		dcd_extent_tell(dcd, ext,
				"the module %s is not loaded: modprobe %s",
				driver, driver);
	else if (rc)
		dcd_extent_tell(dcd, ext, "%s does not take %s (error %d); dmesg says why", driver,
				dev_name(child), rc);
	if (rc || use == DCD_USE_DAX)
		return rc;

	/*
	 * Done already where that is the policy: taking the blocks out first
	 * would have to move the pages that programs put there since. Else kmem
	 * goes online from `unplugged` only.
	 */
	rc = write_kmem_state(child, "online_movable");
	if (rc == -EBUSY) {
		rc = write_kmem_state(child, "unplugged");
		if (!rc)
			rc = write_kmem_state(child, "online_movable");
	}
	if (rc == -EOPNOTSUPP)
		dcd_extent_tell(dcd, ext,
				"kmem of this kernel has no state attribute: kernel 7.3 or newer is needed");
	else if (rc)
		dcd_extent_tell(dcd, ext, "kmem cannot put %s online (error %d); dmesg says why",
				dev_name(child), rc);
	return rc;
}

/**
 * dcd_dax_plug - put an extent to use
 * @dcd: the device
 * @ext: extent in DCD_EXT_PLUGGING
 * @use: as what
 *
 * On an error the extent is as before and ext->error says why, but for
 * -EALREADY: kmem has it, with blocks online, so that it can be unplugged as
 * ram; and -EUCLEAN: it cannot be undone. Does not change ext->state.
 */
int dcd_dax_plug(struct dcd *dcd, struct dcd_extent *ext, enum dcd_use use)
{
	int rc;

	rc = check_can_plug(dcd, ext, use);
	if (rc)
		return rc;
	/* Lines cached when this range last was ours are another owner's bytes. */
	rc = cpu_cache_invalidate_all();
	if (rc)
		return rc;
	rc = create(dcd, ext);
	if (rc == -ENOENT)
		dcd_extent_tell(dcd, ext,
				"dax_hmem made no dax device of it: modprobe dax_hmem, or see dmesg");
	if (!rc)
		rc = bind_and_online(dcd, ext, use);
	if (!rc) {
		scoped_guard(mutex, &dcd->lock)
			ext->use = use;
		rc = dcd_dax_check(dcd, ext);
	}
	if (rc && ext->hmem && destroy(dcd, ext)) {
		if (kmem_has(ext))
			return -EALREADY;
		dcd_extent_tell(dcd, ext,
				"plugging failed half-way and cannot be undone: stuck until reboot");
		return -EUCLEAN;
	}
	return rc;
}

/**
 * dcd_dax_unplug - take an extent out of use
 * @dcd: the device
 * @ext: extent in DCD_EXT_UNPLUGGING
 *
 * May take minutes: the kernel moves pages elsewhere. A signal to the plug
 * worker ends that with -EINTR and the extent plugged as before; so does
 * -EBUSY. -EUCLEAN: it can never be undone. Does not change ext->state.
 */
int dcd_dax_unplug(struct dcd *dcd, struct dcd_extent *ext)
{
	struct range range = dcd_extent_range(dcd, ext);
	struct device *child __free(put_device) = dax_child(ext);
	int rc;

	/* Somebody unbound it by hand: see whether anything is left to undo. */
	if (!child || !bound_to(child, ext->use == DCD_USE_RAM ? KMEM : DEVICE_DAX))
		return destroy(dcd, ext);
	if (ext->use == DCD_USE_DAX) {
		rc = check_not_mapped(child, &range);
		if (rc == -EBUSY)
			dcd_extent_tell(dcd, ext,
					"programs have /dev/%s mapped: it is taken out of use when they are done",
			    dev_name(child));
		if (rc)
			return rc;
		return destroy(dcd, ext);
	}
	rc = write_kmem_state(child, "unplugged");
	if (rc == -ENODEV)
		rc = 0; /* unbound by hand at this moment: as if it were before */
	if (rc == -EBUSY)
		dcd_extent_tell(dcd, ext,
				"some of its pages are in use and cannot be moved now: trying again");
	else if (rc == -EINTR)
		dcd_extent_tell(dcd, ext,
				"moving its pages elsewhere takes long, is there enough free memory? trying again");
	else if (rc)
		dcd_extent_tell(dcd, ext,
				"kmem does not let go of %s (error %d)",
				dev_name(child), rc);
	return rc ? rc : destroy(dcd, ext);
}

/**
 * dcd_dax_check - is a plugged extent what it is said to be?
 * @dcd: the device
 * @ext: extent that the plug worker owns or that is plugged
 *
 * Reads the dax device's driver and the zone of every memory block, and notes
 * the node. -EUCLEAN when kmem has lost memory that is still there, -ENODEV
 * when the memory is out of use, both by somebody else's doing.
 */
int dcd_dax_check(struct dcd *dcd, struct dcd_extent *ext)
{
	struct device *child __free(put_device) = dax_child(ext);
	struct range range = dcd_extent_range(dcd, ext);
	u32 want_blocks, online, movable;
	int node;

	if (ext->use == DCD_USE_DAX)
		return child && bound_to(child, DEVICE_DAX) ? 0 : -ENODEV;

	want_blocks = range_len(&range) / memory_block_size_bytes();
	online = online_blocks(&range, &movable, &node);
	scoped_guard(mutex, &dcd->lock) {
		if (ext->node != node) {
			ext->node = node;
			dcd_changed(dcd);
		}
	}
	if (!child || !bound_to(child, KMEM)) {
		if (!online)
			return -ENODEV;
		dcd_extent_tell(dcd, ext,
				"somebody took kmem from it while %u of %u memory blocks are online: stuck until reboot",
		    online, want_blocks);
		return -EUCLEAN;
	}
	if (online && online == want_blocks && movable == online)
		return 0;
	if (!online && dcd_range_is_free(&range))
		return -ENODEV;
	dcd_extent_tell(dcd, ext,
			"%u of its %u memory blocks are online, %u of them movable: somebody changes them by hand",
	    online, want_blocks, movable);
	return -EAGAIN;
}
