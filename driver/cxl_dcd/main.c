// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: cxl_dcd
 *
 * Dynamic capacity for Linux without dynamic capacity support: takes extents
 * of memory that a fabric manager offers to this host through a CXL device,
 * makes them NUMA nodes or character devices through the kernel's stock dax
 * path, and gives them back when they are asked for and nobody uses them.
 *
 * The module never takes a function by itself: it binds only where
 * driver_override names it, so that stock cxl_pci keeps every other device,
 * and a later kernel with its own support can take over by clearing it.
 */
#include <linux/memory_hotplug.h>
#include <linux/module.h>
#include <linux/pci.h>

#include "cxl_dcd.h"
#include "../uapi/cxl_dcd.h"

#define POLL_MIN_MS 100 /* shorter, the workers would do nothing else */

unsigned int dcd_poll_ms = 5000;

static int set_poll_ms(const char *text, const struct kernel_param *param)
{
	return param_set_uint_minmax(text, param, POLL_MIN_MS, UINT_MAX);
}

static const struct kernel_param_ops poll_ms_ops = { .set = set_poll_ms, .get = param_get_uint };
module_param_cb(poll_ms, &poll_ms_ops, &dcd_poll_ms, 0644);
MODULE_PARM_DESC(poll_ms, "how often to look for events that no interrupt announced");

static int dcd_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct dcd *dcd;
	int rc;

	if (pdev->class >> 8 != PCI_CLASS_MEMORY_CXL)
		return dev_err_probe(&pdev->dev, -ENODEV, "class %#08x is no CXL memory device\n",
				     pdev->class);
	rc = pcim_enable_device(pdev);
	if (rc)
		return rc;
	pci_set_master(pdev);
	return dcd_device_create(pdev, &dcd);
}

static void dcd_remove(struct pci_dev *pdev)
{
	dcd_device_destroy(pci_get_drvdata(pdev));
}

static const struct pci_device_id dcd_ids[] = {
	{ PCI_DEVICE_DRIVER_OVERRIDE(PCI_ANY_ID, PCI_ANY_ID, true) },
	{}
};

static struct pci_driver dcd_driver = {
	.name = CXL_DCD_MODULE,
	.id_table = dcd_ids,
	.probe = dcd_probe,
	.remove = dcd_remove,
	.dev_groups = dcd_sysfs_groups,
	.driver = {
		/* unbinding with memory plugged would strand it */
		.suppress_bind_attrs = true,
	},
};

static int __init dcd_init(void)
{
	int rc = dcd_capacity_init();

	return rc ? rc : pci_register_driver(&dcd_driver);
}

static void __exit dcd_exit(void)
{
	pci_unregister_driver(&dcd_driver);
}

module_init(dcd_init);
module_exit(dcd_exit);

MODULE_DESCRIPTION("CXL dynamic capacity devices: extents as hot-plugged memory");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("ACPI");
MODULE_IMPORT_NS("DEVMEM");
MODULE_SOFTDEP("pre: dax_hmem device_dax kmem");
