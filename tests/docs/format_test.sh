#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# All C and C++ but the driver's (which follows the kernel's style) is as .clang-format says.
set -euo pipefail
cd "$(dirname "$0")/../.."
command -v clang-format >/dev/null || { echo "skipped: clang-format is not installed"; exit 77; }
[[ $(clang-format --version) == *"version 14."* ]] || { echo "skipped: this is not clang-format 14, whose opinions hold here"; exit 77; }
find fabric-manager libpool qemu-testbed tests -name '*.cc' -o -name '*.h' -o -name '*.c' | sort | xargs clang-format --dry-run -Werror
