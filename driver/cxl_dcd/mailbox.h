/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The host's side of a CXL memory device's mailbox: commands of the CXL 3.1
 * specification that the module sends, as they lie in memory (section 8.2.9).
 */
#ifndef DCD_MAILBOX_H
#define DCD_MAILBOX_H

#include <linux/build_bug.h>
#include <linux/types.h>

#include "extlist.h"

struct dcd;

enum dcd_opcode {
	DCD_OP_GET_EVENTS = 0x0100,
	DCD_OP_CLEAR_EVENTS = 0x0101,
	DCD_OP_GET_IRQ_POLICY = 0x0102,
	DCD_OP_SET_IRQ_POLICY = 0x0103,
	DCD_OP_GET_CONFIG = 0x4800,
	DCD_OP_GET_EXTENTS = 0x4801,
	DCD_OP_ADD_RESPONSE = 0x4802,
	DCD_OP_RELEASE = 0x4803,
};

#define DCD_EVENT_LOG 4 /* the dynamic capacity event log */

struct dcd_mb_irq_policy {
	u8 info;
	u8 warn;
	u8 failure;
	u8 fatal;
	u8 dynamic_capacity;
} __packed;
static_assert(sizeof(struct dcd_mb_irq_policy) == 5);

#define DCD_IRQ_MODE_MSI 1
#define DCD_IRQ_VECTOR(setting) ((setting) >> 4)

struct dcd_mb_config_in {
	u8 count;
	u8 first;
} __packed;

struct dcd_mb_region {
	__le64 base;
	__le64 decode_len; /* in units of 256 MiB */
	__le64 len;
	__le64 block;
	__le32 dsmad;
	u8 flags;
	u8 reserved[3];
} __packed;
static_assert(sizeof(struct dcd_mb_region) == 40);

struct dcd_mb_config_out {
	u8 regions;
	u8 returned;
	u8 reserved[6];
	struct dcd_mb_region region[];
} __packed;
static_assert(sizeof(struct dcd_mb_config_out) == 8);

#define DCD_DECODE_UNIT (256ULL << 20)

struct dcd_mb_extent {
	__le64 dpa;
	__le64 len;
	u8 tag[DCD_TAG_LEN];
	__le16 seq;
	u8 reserved[6];
} __packed;
static_assert(sizeof(struct dcd_mb_extent) == 40);

struct dcd_mb_extents_in {
	__le32 count;
	__le32 first;
} __packed;

struct dcd_mb_extents_out {
	__le32 returned;
	__le32 total;
	__le32 generation;
	u8 reserved[4];
	struct dcd_mb_extent extent[];
} __packed;
static_assert(sizeof(struct dcd_mb_extents_out) == 16);

/* 0x4802 and 0x4803 */
struct dcd_mb_update {
	__le32 count;
	u8 flags; /* bit 0: more of this list in the next command */
	u8 reserved[3];
	struct {
		__le64 dpa;
		__le64 len;
		u8 reserved[8];
	} __packed extent[];
} __packed;
static_assert(sizeof(struct dcd_mb_update) == 8);

#define DCD_UPDATE_MORE BIT(0)

/* A record of the dynamic capacity event log. */
struct dcd_mb_event {
	u8 uuid[16];
	u8 length;
	u8 flags[3];
	__le16 handle;
	__le16 related_handle;
	__le64 timestamp;
	u8 reserved1[16];
	u8 type;
	u8 valid;
	__le16 host;
	u8 region;
	u8 more; /* bit 0: the group goes on in the next record */
	u8 reserved2[2];
	struct dcd_mb_extent extent;
	u8 reserved3[18];
	u8 extents_available[4];
	u8 tags_available[4];
	u8 padding[6];
} __packed;
static_assert(sizeof(struct dcd_mb_event) == 128);

#define DCD_EVENT_MORE BIT(0)

enum dcd_event_type {
	DCD_EVENT_ADD = 0,
	DCD_EVENT_RELEASE = 1,
	DCD_EVENT_FORCED_RELEASE = 2,
	DCD_EVENT_REGION_UPDATED = 3,
};

struct dcd_mb_events_out {
	u8 flags;
	u8 reserved1;
	__le16 overflow_count;
	__le64 first_overflow;
	__le64 last_overflow;
	__le16 count;
	u8 reserved2[10];
	struct dcd_mb_event record[];
} __packed;
static_assert(sizeof(struct dcd_mb_events_out) == 32);

#define DCD_EVENTS_OVERFLOW BIT(0)
#define DCD_EVENTS_MORE BIT(1)

struct dcd_mb_clear_in {
	u8 log;
	u8 flags;
	u8 count;
	u8 reserved[3];
	__le16 handle[];
} __packed;
static_assert(sizeof(struct dcd_mb_clear_in) == 6);

int dcd_mbox_find(struct dcd *dcd, size_t size);
int dcd_mbox_cmd(struct dcd *dcd, enum dcd_opcode op, const void *in, size_t in_len, void *out,
		 size_t *out_len);

int dcd_mbox_get_region(struct dcd *dcd, struct dcd_bounds *bounds, u64 *decode_len);
int dcd_mbox_update(struct dcd *dcd, enum dcd_opcode op, const struct dcd_ext *exts, u32 n);

#endif
