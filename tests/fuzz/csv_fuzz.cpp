// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The first two bytes choose the arguments, the rest is the table.
#include "tests/fuzz/reader_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fusegrad::runtime;
  if (size < 2) return 0;
  const uint8_t choice = data[0];
  const uint8_t more = data[1];
  ReaderArguments arguments;
  if ((choice & 1) != 0) arguments.push_back({"header", false});
  if ((choice & 2) != 0) arguments.push_back({"separator", std::string(";")});
  if ((choice & 4) != 0) arguments.push_back({"rows", std::vector<int64_t>{1, 3}});
  if ((choice & 8) != 0) {
    arguments.push_back({"categories", std::vector<std::string>{"a", "b", ""}});
  }
  switch (choice >> 4 & 7) {
    case 0:
      arguments.push_back({"column", int64_t{1}});
      break;
    case 1:
      arguments.push_back({"column", std::string("b")});
      break;
    case 2:
      arguments.push_back({"columns", std::vector<int64_t>{1, 3}});
      break;
    case 3:
      arguments.push_back({"columns", std::vector<std::string>{"b", "a"}});
      break;
    default:
      break;
  }
  const InputEntry input = {"x", all_elements[more % 5], {}, false, 0, 0};
  fuzz_reader("csv", input, arguments, text_of(data + 2, size - 2));
  return 0;
}
