// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Any bytes as a file for this reader, without arguments.
#include "tests/fuzz/reader_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fusegrad::runtime;
  fuzz_reader("idx", {"x", ElementType::u8, {}, false, 0, 0}, {}, text_of(data, size));
  return 0;
}
