// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: mailbox
 *
 * One command at a time through the primary mailbox (CXL 3.1, 8.2.8.4). Every
 * wait has a limit, every return code becomes an errno with a line in the log:
 *
 *   -ETIMEDOUT  the doorbell stayed rung
 *   -EAGAIN     the device asks to try later (busy, retry required)
 *   -ENODEV     the registers read as all ones: the device is gone
 *   -EOPNOTSUPP the device does not know the command
 *   -ENOSPC     the device has no room for another extent
 *   -EIO        any other refusal
 */
#include <linux/bitfield.h>
#include <linux/delay.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/jiffies.h>
#include <linux/sizes.h>

#include "cxl_dcd.h"
#include "mailbox.h"

#define MB_CAPS 0x00
#define MB_CAPS_PAYLOAD_SHIFT GENMASK(4, 0)
#define MB_CTRL 0x04
#define MB_CTRL_DOORBELL BIT(0)
#define MB_CMD 0x08
#define MB_CMD_OPCODE GENMASK_ULL(15, 0)
#define MB_CMD_LENGTH GENMASK_ULL(36, 16)
#define MB_STATUS 0x10
#define MB_STATUS_CODE GENMASK_ULL(47, 32)
#define MB_PAYLOAD 0x20

#define MB_PAYLOAD_MIN 256
#define MB_PAYLOAD_MAX SZ_1M
#define MB_TIMEOUT_MS 2000

enum mb_code {
	MB_SUCCESS = 0x00,
	MB_UNSUPPORTED = 0x03,
	MB_RETRY = 0x06,
	MB_BUSY = 0x07,
	MB_RESOURCES_EXHAUSTED = 0x1e,
};

/*
 * Checks the capability that dcd->mbox points at, of which @size bytes are
 * mapped. Does not talk to the device.
 */
int dcd_mbox_find(struct dcd *dcd, size_t size)
{
	u32 shift;

	if (size < MB_PAYLOAD)
		return -ENXIO;
	shift = FIELD_GET(MB_CAPS_PAYLOAD_SHIFT, readl(dcd->mbox + MB_CAPS));
	dcd->payload = min_t(size_t, 1UL << shift, MB_PAYLOAD_MAX);
	if (dcd->payload < MB_PAYLOAD_MIN || dcd->payload > size - MB_PAYLOAD)
		return -ENXIO;
	dcd->buf = devm_kmalloc(&dcd->pdev->dev, dcd->payload, GFP_KERNEL);
	dcd->log = devm_kmalloc(&dcd->pdev->dev, dcd->payload, GFP_KERNEL);
	return dcd->buf && dcd->log ? 0 : -ENOMEM;
}

static int wait_doorbell(struct dcd *dcd)
{
	unsigned long limit = jiffies + msecs_to_jiffies(MB_TIMEOUT_MS);

	lockdep_assert_held(&dcd->mbox_lock);
	for (;;) {
		bool late = time_after(jiffies, limit);
		u32 ctrl = readl(dcd->mbox + MB_CTRL);

		if (ctrl == ~0U)
			return -ENODEV;
		if (!(ctrl & MB_CTRL_DOORBELL))
			return 0;
		if (late)
			return -ETIMEDOUT;
		usleep_range(50, 200);
	}
}

static int code_to_errno(u16 code)
{
	switch (code) {
	case MB_SUCCESS:
		return 0;
	case MB_UNSUPPORTED:
		return -EOPNOTSUPP;
	case MB_RETRY:
	case MB_BUSY:
		return -EAGAIN;
	case MB_RESOURCES_EXHAUSTED:
		return -ENOSPC;
	default:
		return -EIO;
	}
}

/**
 * dcd_mbox_cmd - send one command and wait for its answer
 * @dcd: the device
 * @op: opcode
 * @in: payload, or NULL
 * @in_len: its bytes
 * @out: where the answer goes, or NULL; may be @in
 * @out_len: in: room in @out; out: bytes written there. NULL when there is no @out
 *
 * Sleeps up to four seconds. Takes mbox_lock; dcd->lock must not be held.
 */
int dcd_mbox_cmd(struct dcd *dcd, enum dcd_opcode op, const void *in, size_t in_len, void *out,
		 size_t *out_len)
{
	struct device *dev = &dcd->pdev->dev;
	u64 cmd, status;
	u16 code;
	int rc;

	might_sleep();
	if (WARN_ON_ONCE(in_len > dcd->payload))
		return -EINVAL;

	guard(mutex)(&dcd->mbox_lock);
	if (dcd->gone)
		return -ENODEV;

	/* A command that timed out earlier may still be running. */
	rc = wait_doorbell(dcd);
	if (rc)
		goto out;

	if (in_len)
		memcpy_toio(dcd->mbox + MB_PAYLOAD, in, in_len);
	cmd = FIELD_PREP(MB_CMD_OPCODE, op) | FIELD_PREP(MB_CMD_LENGTH, in_len);
	writeq(cmd, dcd->mbox + MB_CMD);
	writel(MB_CTRL_DOORBELL, dcd->mbox + MB_CTRL);

	rc = wait_doorbell(dcd);
	if (rc)
		goto out;

	status = readq(dcd->mbox + MB_STATUS);
	code = FIELD_GET(MB_STATUS_CODE, status);
	rc = code_to_errno(code);
	if (rc) {
		dev_warn(dev, "mailbox command %#06x: device answered code %#x\n", op, code);
		return rc;
	}
	if (out) {
		size_t len = FIELD_GET(MB_CMD_LENGTH, readq(dcd->mbox + MB_CMD));

		*out_len = min3(len, *out_len, dcd->payload);
		memcpy_fromio(out, dcd->mbox + MB_PAYLOAD, *out_len);
	}
	return 0;

out:
	dev_warn(dev, "mailbox command %#06x: %s\n", op,
		 rc == -ENODEV ? "the device is gone" : "no answer within 2 s");
	return rc;
}

/* Reads DC region 0. -ENXIO when there is none or when its numbers make no sense. */
int dcd_mbox_get_region(struct dcd *dcd, struct dcd_bounds *bounds, u64 *decode_len)
{
	struct dcd_mb_config_in in = { .count = 1 };
	struct dcd_mb_config_out *out = dcd->buf;
	size_t len = dcd->payload;
	int rc;

	rc = dcd_mbox_cmd(dcd, DCD_OP_GET_CONFIG, &in, sizeof(in), out, &len);
	if (rc)
		return rc;
	if (len < struct_size(out, region, 1) || !out->regions || !out->returned)
		return -ENXIO;
	*bounds = (struct dcd_bounds){
		.base = le64_to_cpu(out->region[0].base),
		.len = le64_to_cpu(out->region[0].len),
		.block = le64_to_cpu(out->region[0].block),
	};
	if (check_mul_overflow(le64_to_cpu(out->region[0].decode_len), DCD_DECODE_UNIT, decode_len))
		return -ENXIO;
	if (!bounds->len || !is_power_of_2(bounds->block) ||
	    bounds->base + bounds->len < bounds->base || bounds->len > *decode_len)
		return -ENXIO;
	return 0;
}

/*
 * Sends a list of extents with 0x4802 or 0x4803, in as many commands as the
 * payload size demands. An empty 0x4802 refuses the oldest unanswered group;
 * never send it when the device has none (QEMU does not survive that).
 */
int dcd_mbox_update(struct dcd *dcd, enum dcd_opcode op, const struct dcd_ext *exts, u32 n)
{
	struct dcd_mb_update *in = dcd->buf;
	u32 room = (dcd->payload - sizeof(*in)) / sizeof(in->extent[0]);
	u32 done = 0;
	int rc;

	do {
		u32 i, count = min(n - done, room);

		memset(in, 0, struct_size(in, extent, count));
		in->count = cpu_to_le32(count);
		if (done + count < n)
			in->flags = DCD_UPDATE_MORE;
		for (i = 0; i < count; i++) {
			in->extent[i].dpa = cpu_to_le64(exts[done + i].dpa);
			in->extent[i].len = cpu_to_le64(exts[done + i].len);
		}
		rc = dcd_mbox_cmd(dcd, op, in, struct_size(in, extent, count), NULL, NULL);
		/* It may take effect all the same. */
		dcd->resync |= rc == -ETIMEDOUT;
		if (rc)
			return rc;
		done += count;
	} while (done < n);
	return 0;
}
