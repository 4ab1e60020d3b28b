// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Requests for memory as a measure of work: the same in every run, whatever else the machine does.
#pragma once

namespace fusegrad::test {

/// Of this process so far.
long allocations();
/// Sanitizers have operators of their own, which do not count.
bool counts_allocations();

}  // namespace fusegrad::test
