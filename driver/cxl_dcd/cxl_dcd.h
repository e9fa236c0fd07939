/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * cxl_dcd: one struct dcd for each PCI function that the module is bound to.
 *
 * Two workers act on it, and they share nothing but the extent list:
 *   device worker  (ordered workqueue)  mailbox: start, events, answers, release
 *   plug worker    (kthread)            kernel: plug and unplug, which may take minutes
 * sysfs only reads the list and notes what is wanted.
 */
#ifndef CXL_DCD_H
#define CXL_DCD_H

#include <linux/cleanup.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/platform_device.h>
#include <linux/range.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "extlist.h"

#define DCD_ERROR_LEN 256
#define DCD_SNAPSHOTS 8 /* readers of dcd/extents at a time */
#define DCD_SEEN_MAX 2048 /* event records not cleared yet */

enum dcd_dev_state {
	DCD_DEV_STARTING, /* the device worker has not finished its first talk */
	DCD_DEV_READY,
	DCD_DEV_BROKEN, /* last resort: the device is not spoken to any more */
};

enum dcd_ext_state {
	DCD_EXT_ACCEPTED, /* the device lists it for us; nothing in the kernel knows it */
	DCD_EXT_PLUGGING, /* owned by the plug worker */
	DCD_EXT_PLUGGED, /* dax device bound and checked */
	DCD_EXT_UNPLUGGING, /* owned by the plug worker */
	DCD_EXT_RELEASING, /* owned by the device worker: 0x4803 is on its way */
	DCD_EXT_STUCK, /* in the kernel's hands in a way that only a reboot ends */
};

enum dcd_use { DCD_USE_NONE, DCD_USE_RAM, DCD_USE_DAX };

enum dcd_want { DCD_WANT_NONE, DCD_WANT_PLUGGED, DCD_WANT_UNPLUGGED };

/**
 * struct dcd_extent - one accepted extent: what is wanted, and what is
 * @id: identity; first member, the list points to it
 * @state: who owns it and what the kernel knows of it
 * @want: requested by user space or by default_use
 * @want_use: with DCD_WANT_PLUGGED: as what
 * @want_new: user space wished since the plug worker last began to act on it
 * @use: what it is plugged as; DCD_USE_NONE unless plugged or on the way
 * @release_asked: the device wants it back; answered once nothing is plugged
 * @listed: the device's list had it when it was last read; device worker only
 * @hmem: platform device that dax_hmem turns into a dax device, or NULL
 * @memregion: id of @hmem
 * @dax: name of the dax device, or empty
 * @node: NUMA node of its pages, read from them; NUMA_NO_NODE unless plugged as ram
 * @error: last trouble in words, or empty
 * @due: jiffies before which the plug worker lets it be
 * @release_due: the same for the device worker and giving it back
 * @since: jiffies of the last change of @state
 * @backoff_ms: the next delay after a failure
 */
struct dcd_extent {
	struct dcd_ext id;
	enum dcd_ext_state state;
	enum dcd_want want;
	enum dcd_use want_use;
	bool want_new;
	enum dcd_use use;
	bool release_asked;
	bool listed;
	struct platform_device *hmem;
	int memregion;
	char dax[16];
	int node;
	char error[DCD_ERROR_LEN];
	unsigned long due;
	unsigned long release_due;
	unsigned long since;
	unsigned int backoff_ms;
};

#define to_dcd_extent(p) container_of(p, struct dcd_extent, id)

/**
 * struct dcd - one bound function
 * @pdev: the function
 * @instance: random name of this probe
 * @serial: PCIe device serial number
 * @mbox: mailbox registers
 * @hdm: HDM decoder capability of the endpoint
 * @payload: size of the mailbox's payload area in bytes
 * @mbox_lock: one command at a time; guards the mailbox registers and @buf
 * @buf: staging area for mailbox payloads of the device worker, @payload bytes
 * @log: the same, for the event records being acted on
 * @vectors: interrupt vectors held; 0 when events are only polled
 * @seen: handles of the event records taken and not cleared yet, DCD_SEEN_MAX
 * @nr_seen: their number
 * @last_overflow: what the device last said it lost since it was last cleared
 * @fresh: extents being accepted; touched by the device worker only
 * @nr_fresh: their number
 * @bounds: DC region 0
 * @decode_len: bytes of address space that region 0 is decoded to
 * @hpa: host address of @bounds.base
 * @window_node: NUMA node of the window
 * @wq: ordered; runs @work only
 * @work: the device worker
 * @device_backoff_ms: its next delay after a failure
 * @plugger: the plug worker
 * @plug_wait: it sleeps here
 * @plug_kick: something changed for it
 * @lock: guards everything below; never held over mailbox or hotplug
 * @state: of the device
 * @stopping: the function is going away: start nothing new
 * @gone: the device does not answer any more: never speak to it
 * @error: one sentence or empty
 * @held: accepted extents, of struct dcd_extent
 * @generation: counts changes that user space may see
 * @overflows: records that the event log lost
 * @rejected: extents that were offered and refused
 * @group: the offered group that is still open, or being answered
 * @snapshot: texts of dcd/extents that are being read
 * @snapshots_used: counts reads, to find the text used longest ago
 * @list_generation: of the device's accepted list, as last read; device worker only
 * @resync: the device may have changed its accepted list without our knowing; device worker only
 * @look_for_unseen: offers may be pending whose records are lost; device worker only
 * @counts_pending: the device counts unanswered extents in 0x4801; device worker only
 */
struct dcd {
	struct pci_dev *pdev;
	u64 instance;
	u64 serial;
	void __iomem *mbox;
	void __iomem *hdm;
	size_t payload;
	struct mutex mbox_lock; /* see above */
	void *buf;
	void *log;
	int vectors;
	u16 *seen;
	u32 nr_seen;
	u16 last_overflow;
	struct dcd_extent **fresh;
	u32 nr_fresh;
	struct dcd_bounds bounds;
	u64 decode_len;
	u64 hpa;
	int window_node;

	struct workqueue_struct *wq;
	struct delayed_work work;
	unsigned int device_backoff_ms;
	struct task_struct *plugger;
	wait_queue_head_t plug_wait;
	bool plug_kick;

	struct mutex lock; /* see above */
	enum dcd_dev_state state;
	bool stopping;
	bool gone;
	char error[DCD_ERROR_LEN];
	struct dcd_extlist held;
	u64 generation;
	u64 overflows;
	u64 rejected;
	struct dcd_group {
		struct dcd_ext *ext; /* DCD_GROUP_MAX of them */
		u32 n; /* 0: no group is open */
		u32 first_seen; /* index in @seen of its first record */
		bool too_many; /* records beyond DCD_GROUP_MAX were seen */
		bool complete; /* to be answered now */
		unsigned long opened; /* jiffies */
	} group;
	struct dcd_snapshot {
		const struct file *file; /* who reads it; compared, never used */
		char *text;
		size_t len;
		u64 used; /* value of snapshots_used when it last was */
	} snapshot[DCD_SNAPSHOTS];
	u64 snapshots_used;
	u32 list_generation;
	bool resync;
	bool look_for_unseen;
	bool counts_pending;
};

extern unsigned int dcd_poll_ms;

/* device.c: registers, life of struct dcd, the device worker */
int dcd_device_create(struct pci_dev *pdev, struct dcd **out);
void dcd_device_destroy(struct dcd *dcd);
void dcd_device_kick(struct dcd *dcd);
void dcd_changed(struct dcd *dcd);
void dcd_say(struct dcd *dcd, const char *fmt, ...) __printf(2, 3);
void dcd_break(struct dcd *dcd, const char *fmt, ...) __printf(2, 3);

/* decoder.c: where the region appears in the host's address space */
int dcd_decoder_find(struct dcd *dcd, void __iomem *component, size_t size);
int dcd_decoder_commit(struct dcd *dcd);
void dcd_decoder_release(struct dcd *dcd);

/* events.c: the dynamic capacity event log */
int dcd_events_enable(struct dcd *dcd);
void dcd_events_disable(struct dcd *dcd);
int dcd_events_poll(struct dcd *dcd);

/* extent.c: the accepted list and its agreement with the device */
int dcd_extents_prepare(struct dcd *dcd, const struct dcd_ext *ids, u32 n);
void dcd_extents_commit(struct dcd *dcd);
void dcd_extents_abandon(struct dcd *dcd);
int dcd_extents_replay(struct dcd *dcd);
int dcd_extents_count_pending(struct dcd *dcd, u32 *pending);
int dcd_extents_refuse_lost(struct dcd *dcd);
int dcd_extents_reject_unseen(struct dcd *dcd);
void dcd_extents_ask_release(struct dcd *dcd, u64 dpa, u64 len);
int dcd_extents_release_asked(struct dcd *dcd);
void dcd_extents_give_back(struct dcd *dcd);
struct range dcd_extent_range(const struct dcd *dcd, const struct dcd_extent *ext);
void dcd_extent_say(struct dcd *dcd, struct dcd_extent *ext, const char *fmt, ...) __printf(3, 4);
void dcd_extent_tell(struct dcd *dcd, struct dcd_extent *ext, const char *fmt, ...) __printf(3, 4);

/* capacity.c: the plug worker */
int dcd_capacity_init(void);
int dcd_capacity_start(struct dcd *dcd);
void dcd_capacity_stop(struct dcd *dcd);
void dcd_capacity_kick(struct dcd *dcd);
void dcd_capacity_interrupt(struct dcd *dcd);
void dcd_capacity_watch(struct dcd *dcd);
void dcd_capacity_default(struct dcd_extent *ext);

/* dax.c: the stock path from a range of memory to a dax device in use */
int dcd_dax_plug(struct dcd *dcd, struct dcd_extent *ext, enum dcd_use use);
int dcd_dax_unplug(struct dcd *dcd, struct dcd_extent *ext);
int dcd_dax_check(struct dcd *dcd, struct dcd_extent *ext);
bool dcd_range_is_free(const struct range *range);

/* sysfs.c */
extern const struct attribute_group *dcd_sysfs_groups[];
void dcd_sysfs_cleanup(struct dcd *dcd);

#endif
