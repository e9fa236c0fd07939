# SPDX-License-Identifier: Apache-2.0
"""The parts of `testbed`: topology → QEMU arguments (pure), root, image, guests, agent."""
