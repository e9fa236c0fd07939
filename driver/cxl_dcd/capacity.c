// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: capacity
 *
 * The plug worker: makes what is plugged equal to what is wanted, one extent
 * at a time, with one switch on the result. It is a kthread and not a work
 * item because moving pages away may take minutes, or for ever when there is
 * no room elsewhere, and only a signal to the moving task ends it.
 *
 * While anything is plugged, the module holds a reference on itself: without
 * the module, nobody could ever unplug it again.
 */
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/sched/signal.h>

#include "cxl_dcd.h"
#include "../uapi/cxl_dcd.h"

#define BACKOFF_FIRST_MS 500
#define BACKOFF_MAX_MS 30000
#define UNPLUG_LIMIT (60 * HZ)

static char *default_use = CXL_DCD_DEFAULT_NONE;
module_param(default_use, charp, 0444);
MODULE_PARM_DESC(default_use, "use of an extent that nobody names one for: none (wait), ram, dax");

static unsigned int default_delay_ms = 2000;
module_param(default_delay_ms, uint, 0644);
MODULE_PARM_DESC(default_delay_ms, "how long to wait for a named use before default_use holds");

enum action { ACT_NOTHING, ACT_PLUG, ACT_UNPLUG, ACT_CHECK };

static const struct {
	const char *word;
	enum dcd_use use;
} default_uses[] = {
	{ CXL_DCD_DEFAULT_NONE, DCD_USE_NONE },
	{ CXL_DCD_USE_RAM, DCD_USE_RAM },
	{ CXL_DCD_USE_DAX, DCD_USE_DAX },
};

static enum dcd_use fallback = DCD_USE_NONE; /* default_use, understood */

/* Understands default_use, once, when the module is loaded. */
int dcd_capacity_init(void)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(default_uses); i++)
		if (!strcmp(default_use, default_uses[i].word)) {
			fallback = default_uses[i].use;
			return 0;
		}
	pr_err("cxl_dcd: default_use=%s is unknown: say none, ram or dax\n", default_use);
	return -EINVAL;
}

/* What to do with a fresh extent unless user space names a use in time. */
void dcd_capacity_default(struct dcd_extent *ext)
{
	if (fallback == DCD_USE_NONE)
		return;
	ext->want = DCD_WANT_PLUGGED;
	ext->want_use = fallback;
	ext->due = jiffies + msecs_to_jiffies(default_delay_ms);
}

/* Has the plug worker look at everything now. Callable under dcd->lock. */
void dcd_capacity_kick(struct dcd *dcd)
{
	WRITE_ONCE(dcd->plug_kick, true);
	wake_up(&dcd->plug_wait);
}

/*
 * Ends an unplug that is under way, as it would end by itself with -EINTR.
 * Under dcd->lock, since the worker is gone some time after dcd->stopping is set.
 */
void dcd_capacity_interrupt(struct dcd *dcd)
{
	lockdep_assert_held(&dcd->lock);
	if (!dcd->stopping)
		send_sig(SIGINT, dcd->plugger, 1);
}

/*
 * Interrupts what moves pages away and has been at it for too long: an unplug,
 * or a plug that must first get memory back from kmem. It holds the hotplug
 * lock of the whole host. Called now and then.
 */
void dcd_capacity_watch(struct dcd *dcd)
{
	u32 i;

	guard(mutex)(&dcd->lock);
	for (i = 0; i < dcd->held.n; i++) {
		struct dcd_extent *ext = to_dcd_extent(dcd->held.v[i]);

		if ((ext->state == DCD_EXT_UNPLUGGING || ext->state == DCD_EXT_PLUGGING) &&
		    time_after(jiffies, ext->since + UNPLUG_LIMIT))
			dcd_capacity_interrupt(dcd);
	}
}

static void set_state(struct dcd *dcd, struct dcd_extent *ext, enum dcd_ext_state state)
{
	lockdep_assert_held(&dcd->lock);
	ext->state = state;
	ext->since = jiffies;
	dcd_changed(dcd);
}

static enum action wanted_action(const struct dcd_extent *ext)
{
	switch (ext->state) {
	case DCD_EXT_ACCEPTED:
		/* the device's wish to have it back wins over using it */
		return ext->want == DCD_WANT_PLUGGED && !ext->release_asked ? ACT_PLUG :
									      ACT_NOTHING;
	case DCD_EXT_PLUGGED:
		if (ext->want == DCD_WANT_UNPLUGGED)
			return ACT_UNPLUG;
		if (ext->want == DCD_WANT_PLUGGED && ext->want_use != ext->use)
			return ACT_UNPLUG; /* and plug it as the other use next */
		return ACT_CHECK;
	default:
		return ACT_NOTHING;
	}
}

/*
 * Finds the extent whose turn it is: the one that has been due for longest, so
 * that one which fails again and again does not starve the others. Marks it as
 * owned. *@wait is how long nothing will be due.
 */
static struct dcd_extent *next_extent(struct dcd *dcd, enum action *action, long *wait)
{
	struct dcd_extent *found = NULL;
	u32 i;

	guard(mutex)(&dcd->lock);
	*wait = msecs_to_jiffies(dcd_poll_ms);
	if (dcd->stopping)
		return NULL;
	for (i = 0; i < dcd->held.n; i++) {
		struct dcd_extent *ext = to_dcd_extent(dcd->held.v[i]);
		enum action act = wanted_action(ext);

		/* a broken device's memory can still be taken out of use */
		if (act == ACT_NOTHING || (act == ACT_PLUG && dcd->state != DCD_DEV_READY))
			continue;
		if (time_before(jiffies, ext->due)) {
			*wait = min_t(long, *wait, ext->due - jiffies);
			continue;
		}
		if (found && !time_before(ext->due, found->due))
			continue;
		found = ext;
		*action = act;
	}
	if (!found)
		return NULL;
	found->want_new = false;
	if (*action == ACT_PLUG) {
		found->use = found->want_use;
		set_state(dcd, found, DCD_EXT_PLUGGING);
	} else if (*action == ACT_UNPLUG) {
		set_state(dcd, found, DCD_EXT_UNPLUGGING);
	}
	return found;
}

static int do_plug(struct dcd *dcd, struct dcd_extent *ext)
{
	int rc;

	if (!try_module_get(THIS_MODULE))
		return -EINTR; /* the module is being unloaded */
	rc = dcd_dax_plug(dcd, ext, ext->use);
	if (rc && rc != -EUCLEAN && rc != -EALREADY)
		module_put(THIS_MODULE);
	return rc;
}

static int do_unplug(struct dcd *dcd, struct dcd_extent *ext)
{
	int rc = dcd_dax_unplug(dcd, ext);

	if (!rc)
		module_put(THIS_MODULE);
	return rc;
}

static int act(struct dcd *dcd, struct dcd_extent *ext, enum action action)
{
	int rc;

	switch (action) {
	case ACT_PLUG:
		return do_plug(dcd, ext);
	case ACT_UNPLUG:
		return do_unplug(dcd, ext);
	default:
		rc = dcd_dax_check(dcd, ext);
		/* out of use by somebody else's hand: clean up behind him */
		return rc == -ENODEV ? do_unplug(dcd, ext) ?: -ENODEV : rc;
	}
}

static void retry_later(struct dcd_extent *ext)
{
	if (ext->want_new)
		return; /* a wish came meanwhile: it is due at once */
	ext->backoff_ms = clamp(ext->backoff_ms * 2, BACKOFF_FIRST_MS, BACKOFF_MAX_MS);
	ext->due = jiffies + msecs_to_jiffies(ext->backoff_ms);
}

/* Drops the wish that the action was for, unless another one came meanwhile. */
static void drop_wish(struct dcd_extent *ext)
{
	if (!ext->want_new)
		ext->want = DCD_WANT_NONE;
}

/* Where the extent is when the action failed in a way that leaves it usable. */
static enum dcd_ext_state state_without(enum action action)
{
	return action == ACT_PLUG ? DCD_EXT_ACCEPTED : DCD_EXT_PLUGGED;
}

/* The one place that decides what a result means. */
static void settle(struct dcd *dcd, struct dcd_extent *ext, enum action action, int rc)
{
	enum dcd_ext_state before = ext->state;

	guard(mutex)(&dcd->lock);
	switch (rc) {
	case 0:
		ext->backoff_ms = 0;
		ext->state = action == ACT_UNPLUG ? DCD_EXT_ACCEPTED : DCD_EXT_PLUGGED;
		ext->due = jiffies;
		if (action == ACT_CHECK && !ext->want_new)
			ext->due += msecs_to_jiffies(dcd_poll_ms);
		dcd_extent_say(dcd, ext, "%s",
			       ext->release_asked && ext->state == DCD_EXT_PLUGGED ?
				       "release requested by the device, extent in use" : "");
		break;
	case -ENODEV: /* somebody unplugged it by hand */
		ext->state = DCD_EXT_ACCEPTED;
		drop_wish(ext);
		dcd_extent_say(dcd, ext, "it was taken out of use by hand");
		break;
	case -EBUSY:
	case -EAGAIN:
	case -ENOMEM:
	case -ENOENT: /* a module is missing: it may be loaded any time */
	case -EPERM: /* the policy may be changed any time */
		ext->state = state_without(action);
		retry_later(ext);
		break;
	case -EINTR: /* too long, or another wish came: that one counts at once */
		ext->state = state_without(action);
		if (wanted_action(ext) == action)
			retry_later(ext);
		break;
	case -EALREADY: /* plugging failed and left it as ram: unplug that next */
		ext->state = DCD_EXT_PLUGGED;
		ext->use = DCD_USE_RAM;
		retry_later(ext);
		break;
	case -EUCLEAN:
		ext->state = DCD_EXT_STUCK;
		break;
	default: /* trying again would give the same: wait for another wish */
		ext->state = state_without(action);
		drop_wish(ext);
		if (!ext->error[0])
			dcd_extent_say(dcd, ext, "%s failed with error %d",
				       action == ACT_PLUG ? "plugging" : "unplugging", rc);
	}
	if (ext->state == DCD_EXT_ACCEPTED) {
		ext->use = DCD_USE_NONE;
		if (ext->release_asked)
			dcd_device_kick(dcd);
	}
	if (ext->state != before) {
		ext->since = jiffies;
		dcd_changed(dcd);
	}
}

static int plug_worker(void *arg)
{
	struct dcd *dcd = arg;

	allow_signal(SIGINT);
	while (!kthread_should_stop()) {
		enum action action = ACT_NOTHING;
		struct dcd_extent *ext;
		long wait;

		flush_signals(current);
		WRITE_ONCE(dcd->plug_kick, false);
		ext = next_extent(dcd, &action, &wait);
		if (ext) {
			settle(dcd, ext, action, act(dcd, ext, action));
			continue;
		}
		wait_event_interruptible_timeout(dcd->plug_wait,
						 READ_ONCE(dcd->plug_kick) || kthread_should_stop(),
						 max(wait, 1L));
	}
	return 0;
}

int dcd_capacity_start(struct dcd *dcd)
{
	struct task_struct *task = kthread_run(plug_worker, dcd, "cxl_dcd/%s", pci_name(dcd->pdev));

	if (IS_ERR(task))
		return PTR_ERR(task);
	dcd->plugger = task;
	return 0;
}

/*
 * Ends the worker, also in the middle of an unplug, which then does not happen.
 * dcd->stopping is set; dcd->lock must not be held.
 */
void dcd_capacity_stop(struct dcd *dcd)
{
	send_sig(SIGINT, dcd->plugger, 1);
	kthread_stop(dcd->plugger);
}
