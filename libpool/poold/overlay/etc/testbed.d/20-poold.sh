#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Starts the host agent in a guest. It is not started again when it ends: tests kill it.
# setsid: it must outlive the init script and get no signals of its terminal.
setsid /usr/bin/poold --server tcp:10.0.2.100:7000 </dev/null >>/var/log/poold.log 2>&1 &
