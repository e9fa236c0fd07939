/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * The words of /sys/bus/pci/devices/<BDF>/dcd/, shared by the module, which
 * writes them, and by user space, which reads them. docs/DRIVER.md says what
 * each file means. Plain macros: the header compiles as C and as C++.
 */
#ifndef CXL_DCD_UAPI_H
#define CXL_DCD_UAPI_H

#define CXL_DCD_MODULE "cxl_dcd"
#define CXL_DCD_SYSFS_DIR "dcd"

/* dcd/state */
#define CXL_DCD_DEV_STARTING "starting" /* talking to the device for the first time */
#define CXL_DCD_DEV_READY "ready" /* takes and gives back extents */
#define CXL_DCD_DEV_BROKEN "broken" /* dcd/error says why; nothing happens any more */

/* dcd/extents, third column */
#define CXL_DCD_EXT_PENDING "pending" /* offered, not yet answered */
#define CXL_DCD_EXT_ACCEPTED "accepted" /* this host's, and not in use */
#define CXL_DCD_EXT_PLUGGING "plugging"
#define CXL_DCD_EXT_PLUGGED "plugged" /* in use as the sixth column says */
#define CXL_DCD_EXT_UNPLUGGING "unplugging"
#define CXL_DCD_EXT_RELEASING "releasing" /* being given back to the device */
#define CXL_DCD_EXT_STUCK "stuck" /* cannot be given back before a reboot */

/* dcd/extents, fourth column, and dcd/want */
#define CXL_DCD_WANT_NONE "-"
#define CXL_DCD_WANT_PLUGGED "plugged"
#define CXL_DCD_WANT_UNPLUGGED "unplugged"

/* dcd/extents, fifth column, and dcd/want */
#define CXL_DCD_USE_NONE "-"
#define CXL_DCD_USE_RAM "ram" /* pages of a NUMA node, movable */
#define CXL_DCD_USE_DAX "dax" /* a character device that programs map */

/* module parameter default_use: one of the uses, or */
#define CXL_DCD_DEFAULT_NONE "none" /* wait until one is named */

#endif
