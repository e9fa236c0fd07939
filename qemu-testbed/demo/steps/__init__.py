# SPDX-License-Identifier: Apache-2.0
"""The steps of the demo. Each takes (story, rack), shows something, and raises Unshown with one
sentence when it cannot be seen. Each leaves the rack without grants, so that they can run alone."""
