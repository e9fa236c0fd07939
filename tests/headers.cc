// SPDX-License-Identifier: Apache-2.0
// Nothing: it gives the precompiled headers of the unit tests a target.
