// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The first three bytes choose the input and the arguments, eight more two sizes; the rest is the
// file.
#include <cstring>

#include "tests/fuzz/reader_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fusegrad::runtime;
  if (size < 19) return 0;
  ReaderArguments arguments = {{"offset", int64_t{data[1]}}};
  int64_t sizes[2];
  std::memcpy(sizes, data + 3, sizeof sizes);
  // Small sizes, so that some fit, and any.
  for (int64_t& each : sizes) each = (data[0] & 1) != 0 ? each & 15 : each & INT64_MAX;
  if ((data[0] & 2) != 0) {
    arguments.push_back({"shape", std::vector<int64_t>{sizes[0], sizes[1]}});
  }
  if ((data[0] & 4) != 0) arguments.push_back({"type", std::string("bool")});
  const InputEntry input = {"x", all_elements[data[2] % 5], {sizes[0]}, false, 0, 0};
  const bool packed = (data[0] & 8) != 0;
  fuzz_reader("raw", input, arguments, text_of(data + 19, size - 19),
              packed ? "input.gz" : "input");
  return 0;
}
