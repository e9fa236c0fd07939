// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: decoder
 *
 * Makes DC region 0 appear in the host's address space: finds the fixed memory
 * window (CFMWS) of the host bridge in ACPI's CEDT, checks that nothing on the
 * way needs a decoder of its own, and commits HDM decoder 0 of the endpoint.
 *
 * Only one shape is taken: host bridge, one root port, this endpoint. There the
 * host bridge decodes without decoders. Programming switches is the CXL core's
 * job and needs its private headers; every other shape is refused in words.
 *
 * Nothing is reserved in the window: kmem and device_dax reserve what they use,
 * and whatever else is busy there would be in their way.
 */
#include <linux/acpi.h>
#include <linux/bitfield.h>
#include <linux/delay.h>
#include <linux/io.h>
#include <linux/numa.h>

#include "cxl_dcd.h"

#define CM_OFFSET 0x1000 /* CXL.cache and CXL.mem registers in the component block */
#define CM_CAP_ID GENMASK(15, 0)
#define CM_CAP_COUNT GENMASK(31, 24)
#define CM_CAP_PTR GENMASK(31, 20)
#define CM_CAP_HDM 5

#define HDM_CAP_COUNT GENMASK(3, 0)
#define HDM_GLOBAL 0x04
#define HDM_GLOBAL_ENABLE BIT(1)
#define HDM0_BASE_LOW 0x10
#define HDM0_BASE_HIGH 0x14
#define HDM0_SIZE_LOW 0x18
#define HDM0_SIZE_HIGH 0x1c
#define HDM0_CTRL 0x20
#define HDM0_SKIP_LOW 0x24
#define HDM0_SKIP_HIGH 0x28
#define HDM0_END 0x2c
#define HDM0_CTRL_IG GENMASK(3, 0)
#define HDM0_CTRL_IW GENMASK(7, 4)
#define HDM0_CTRL_LOCK BIT(8)
#define HDM0_CTRL_COMMIT BIT(9)
#define HDM0_CTRL_COMMITTED BIT(10)
#define HDM0_CTRL_ERROR BIT(11)
#define HDM0_CTRL_HOSTONLY BIT(12)
#define HDM_COMMIT_TIMEOUT_MS 100

struct window {
	u32 uid; /* in: of the host bridge */
	u64 need; /* in: bytes */
	u64 base;
	u64 size;
	bool found;
	bool interleaved; /* a window of ours spans several host bridges */
	bool too_small;
};

/* Finds the HDM decoder capability in the endpoint's component registers. */
int dcd_decoder_find(struct dcd *dcd, void __iomem *component, size_t size)
{
	void __iomem *cm = component + CM_OFFSET;
	u32 head, count, ptr, i;

	if (size < CM_OFFSET + 0x1000)
		return -ENXIO;
	head = readl(cm);
	if (FIELD_GET(CM_CAP_ID, head) != 1)
		return -ENXIO;
	count = FIELD_GET(CM_CAP_COUNT, head);
	for (i = 1; i <= count; i++) {
		u32 cap = readl(cm + 4 * i);

		if (FIELD_GET(CM_CAP_ID, cap) != CM_CAP_HDM)
			continue;
		ptr = FIELD_GET(CM_CAP_PTR, cap);
		if (CM_OFFSET + ptr + HDM0_END > size)
			return -ENXIO;
		dcd->hdm = cm + ptr;
		return 0;
	}
	return -ENXIO;
}

static int match_window(union acpi_subtable_headers *header, void *arg, const unsigned long end)
{
	struct acpi_cedt_cfmws *cfmws = (struct acpi_cedt_cfmws *)header;
	const u16 wanted = ACPI_CEDT_CFMWS_RESTRICT_HOSTONLYMEM |
			   ACPI_CEDT_CFMWS_RESTRICT_VOLATILE;
	struct window *window = arg;
	u32 i, ways = 1U << min_t(u8, cfmws->interleave_ways, 4);

	if (window->found || (cfmws->restrictions & wanted) != wanted)
		return 0;
	for (i = 0; i < ways; i++)
		if ((unsigned long)&cfmws->interleave_targets[i + 1] <= end &&
		    cfmws->interleave_targets[i] == window->uid)
			break;
	if (i == ways)
		return 0;
	if (cfmws->interleave_ways) {
		window->interleaved = true;
	} else if (cfmws->window_size < window->need) {
		window->too_small = true;
	} else {
		window->base = cfmws->base_hpa;
		window->size = cfmws->window_size;
		window->found = true;
	}
	return 0;
}

/* Refuses, in words, whatever is not host bridge, root port, endpoint. */
static int check_shape(struct dcd *dcd)
{
	struct pci_dev *port = pci_upstream_bridge(dcd->pdev);
	struct pci_dev *other;
	int ports = 0;

	if (!port || pci_pcie_type(port) != PCI_EXP_TYPE_ROOT_PORT) {
		dcd_break(dcd,
			  "%s sits behind a switch: only a device directly at the one root port of its host bridge can be decoded; move it there",
			  pci_name(dcd->pdev));
		return -EOPNOTSUPP;
	}
	list_for_each_entry(other, &port->bus->devices, bus_list)
		if (pci_is_pcie(other) && pci_pcie_type(other) == PCI_EXP_TYPE_ROOT_PORT &&
		    pci_find_dvsec_capability(other, PCI_VENDOR_ID_CXL, PCI_DVSEC_CXL_PORT))
			ports++;
	if (ports != 1) {
		dcd_break(dcd,
			  "the host bridge of %s has %d CXL root ports: only a host bridge with one decodes without decoders of its own; give this device a host bridge of its own",
			  pci_name(dcd->pdev), ports);
		return -EOPNOTSUPP;
	}
	return 0;
}

static int host_bridge_uid(struct dcd *dcd, u64 *uid)
{
	struct pci_host_bridge *bridge = pci_find_host_bridge(dcd->pdev->bus);
	struct acpi_device *adev = ACPI_COMPANION(&bridge->dev);

	if (!adev)
		adev = bridge->bus && bridge->bus->bridge ? ACPI_COMPANION(bridge->bus->bridge) :
							    NULL;
	return adev ? acpi_dev_uid_to_integer(adev, uid) : -ENODEV;
}

static int find_window(struct dcd *dcd)
{
	struct window window = { .need = dcd->decode_len };
	u64 uid;

	if (host_bridge_uid(dcd, &uid) || uid > U32_MAX) {
		dcd_break(dcd,
			  "the host bridge of %s has no ACPI _UID: no CXL window can be found for it",
			  pci_name(dcd->pdev));
		return -EOPNOTSUPP;
	}
	window.uid = uid;
	acpi_table_parse_cedt(ACPI_CEDT_TYPE_CFMWS, match_window, &window);
	if (window.found) {
		dcd->hpa = window.base;
		dcd->window_node = phys_to_target_node(window.base);
		return 0;
	}
	if (window.interleaved)
		dcd_break(dcd,
			  "the CXL window of host bridge %u is interleaved over several host bridges: not supported",
			  window.uid);
	else if (window.too_small)
		dcd_break(dcd,
			  "the CXL window of host bridge %u is smaller than the %llu bytes of DC region 0",
			  window.uid, dcd->decode_len);
	else
		dcd_break(dcd,
			  "ACPI's CEDT has no volatile CXL window for host bridge %u: the firmware must provide one",
			  window.uid);
	return -EOPNOTSUPP;
}

static void write_pair(struct dcd *dcd, u32 low, u32 high, u64 value)
{
	writel(lower_32_bits(value), dcd->hdm + low);
	writel(upper_32_bits(value), dcd->hdm + high);
}

static u64 read_pair(struct dcd *dcd, u32 low, u32 high)
{
	return readl(dcd->hdm + low) | (u64)readl(dcd->hdm + high) << 32;
}

static bool committed_as_wanted(struct dcd *dcd, u32 ctrl)
{
	return (ctrl & HDM0_CTRL_COMMITTED) && !FIELD_GET(HDM0_CTRL_IW, ctrl) &&
	       read_pair(dcd, HDM0_BASE_LOW, HDM0_BASE_HIGH) == dcd->hpa &&
	       read_pair(dcd, HDM0_SIZE_LOW, HDM0_SIZE_HIGH) == dcd->decode_len &&
	       read_pair(dcd, HDM0_SKIP_LOW, HDM0_SKIP_HIGH) == dcd->bounds.base;
}

static int write_and_commit(struct dcd *dcd)
{
	int waited;
	u32 ctrl;

	write_pair(dcd, HDM0_BASE_LOW, HDM0_BASE_HIGH, dcd->hpa);
	write_pair(dcd, HDM0_SIZE_LOW, HDM0_SIZE_HIGH, dcd->decode_len);
	/* Static capacity below the region stays out of the decoder: skip it. */
	write_pair(dcd, HDM0_SKIP_LOW, HDM0_SKIP_HIGH, dcd->bounds.base);
	writel(HDM0_CTRL_HOSTONLY | HDM0_CTRL_COMMIT, dcd->hdm + HDM0_CTRL);
	for (waited = 0; waited <= HDM_COMMIT_TIMEOUT_MS; waited++) {
		ctrl = readl(dcd->hdm + HDM0_CTRL);
		if (ctrl & HDM0_CTRL_ERROR)
			break;
		if (ctrl & HDM0_CTRL_COMMITTED)
			return 0;
		usleep_range(1000, 1500);
	}
	dcd_break(dcd, "HDM decoder 0 of %s does not commit [%#llx, +%#llx) (control %#x)",
		  pci_name(dcd->pdev), dcd->hpa, dcd->decode_len, ctrl);
	return -EOPNOTSUPP;
}

/*
 * Finds the window and makes the endpoint decode it. A decoder that is already
 * committed just so is kept (guest reboot without reset); one that is committed
 * otherwise belongs to somebody else and is refused. -EOPNOTSUPP when the shape
 * cannot work; dcd->error then says why. dcd->lock must not be held.
 */
int dcd_decoder_commit(struct dcd *dcd)
{
	u16 dvsec, val;
	u32 ctrl, global;
	int rc;

	rc = check_shape(dcd);
	if (rc)
		return rc;
	rc = find_window(dcd);
	if (rc)
		return rc;

	ctrl = readl(dcd->hdm + HDM0_CTRL);
	if (!committed_as_wanted(dcd, ctrl)) {
		if (ctrl & (HDM0_CTRL_COMMITTED | HDM0_CTRL_LOCK)) {
			dcd_break(dcd,
				  "HDM decoder 0 of %s is committed to [%#llx, +%#llx) by somebody else: reset the device or reboot",
				  pci_name(dcd->pdev),
				  read_pair(dcd, HDM0_BASE_LOW, HDM0_BASE_HIGH),
				  read_pair(dcd, HDM0_SIZE_LOW, HDM0_SIZE_HIGH));
			return -EOPNOTSUPP;
		}
		rc = write_and_commit(dcd);
		if (rc)
			return rc;
	}

	global = readl(dcd->hdm + HDM_GLOBAL);
	writel(global | HDM_GLOBAL_ENABLE, dcd->hdm + HDM_GLOBAL);

	dvsec = pci_find_dvsec_capability(dcd->pdev, PCI_VENDOR_ID_CXL, PCI_DVSEC_CXL_DEVICE);
	if (dvsec && !pci_read_config_word(dcd->pdev, dvsec + PCI_DVSEC_CXL_CTRL, &val))
		pci_write_config_word(dcd->pdev, dvsec + PCI_DVSEC_CXL_CTRL,
				      val | PCI_DVSEC_CXL_MEM_ENABLE);
	return 0;
}

/* Takes the decoder back. Only when no extent is plugged or stuck. */
void dcd_decoder_release(struct dcd *dcd)
{
	u32 ctrl = readl(dcd->hdm + HDM0_CTRL);

	if (ctrl == ~0U || !committed_as_wanted(dcd, ctrl) || (ctrl & HDM0_CTRL_LOCK))
		return;
	writel(ctrl & ~HDM0_CTRL_COMMIT, dcd->hdm + HDM0_CTRL);
	write_pair(dcd, HDM0_SIZE_LOW, HDM0_SIZE_HIGH, 0);
	write_pair(dcd, HDM0_BASE_LOW, HDM0_BASE_HIGH, 0);
}
