// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The first four bytes choose the input and the arguments, the rest is the text.
#include "tests/fuzz/reader_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fusegrad::runtime;
  if (size < 4) return 0;
  const ReaderArguments arguments = {{"from", data[0] / 512.0},
                                     {"to", 0.5 + data[1] / 510.0},
                                     {"shift", int64_t{data[2] & 15}},
                                     {"spare", int64_t{data[2] >> 4}}};
  const InputEntry input = {
      "x", all_elements[data[3] % 2], {1 + data[3] / 16}, (data[3] & 2) != 0, 0, 64};
  fuzz_reader("chars", input, arguments, text_of(data + 4, size - 4));
  return 0;
}
