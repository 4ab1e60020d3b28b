// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What model files become on T.
#include <gtest/gtest.h>

#include <fstream>
#include <iostream>
#include <sstream>

#include "tests/frontend/elaborate_support.h"

namespace fusegrad::frontend {
namespace {

TEST(Elaborate, Scratch) {
  std::ifstream in("/tmp/try.fg");
  std::stringstream text;
  text << in.rdbuf();
  Elaborated e = elaborate_text(text.str());
  std::cout << e.messages() << "\n";
  if (!e.job) return;
  std::cout << program_text(e, "init") << "---\n"
            << program_text(e, "train") << "---\n"
            << program_text(e, "eval");
  for (const auto& [name, rule] : e.job->update_rules)
    std::cout << name << ":\n" << rule_text(e, name);
}

}  // namespace
}  // namespace fusegrad::frontend
