// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The tool.
#include "driver/command_line.h"

int main(int argument_count, char** arguments) {
  return fusegrad::driver::run(argument_count, arguments);
}
