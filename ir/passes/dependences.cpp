// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The order of statements: what is read comes first, and an update after all readers of the old
// value.
#include <map>
#include <utility>

#include "ir/passes/row_groups.h"
#include "ir/passes/simplify_steps.h"
#include "ir/support/check.h"

namespace fusegrad::ir {

Dependences dependences(const TensorProgram& program) {
  size_t count = program.statements.size();
  Dependences result;
  result.before.resize(count);
  result.readers.resize(count);
  std::map<std::string, size_t, std::less<>> number;
  for (size_t i = 0; i < count; ++i) number[program.statements[i].name] = i;
  std::map<std::string, size_t, std::less<>> writer_of;
  for (const TensorUpdate& update : program.updates) {
    writer_of[update.target] = number.at(update.value);
  }
  for (size_t i = 0; i < count; ++i) {
    visit_reads(program.statements[i], [&](const Expr& read) {
      if (auto producer = number.find(read.name); producer != number.end()) {
        result.before[i].insert(producer->second);
      }
      if (auto writer = writer_of.find(read.name);
          writer != writer_of.end() && writer->second != i) {
        result.before[writer->second].insert(i);
        result.readers[writer->second].insert(i);
      }
    });
  }
  // Depth first in text order, without recursion: an explicit stack of (statement, entered).
  std::vector<char> state(count, 0);
  for (size_t root = 0; root < count; ++root) {
    std::vector<std::pair<size_t, bool>> work = {{root, false}};
    while (!work.empty()) {
      auto [statement, entered] = work.back();
      work.pop_back();
      if (entered) {
        state[statement] = 2;
        result.order.push_back(statement);
        continue;
      }
      if (state[statement] == 2) continue;
      FG_CHECK(state[statement] == 0, "statements wait for each other at `{}`",
               program.statements[statement].name);
      state[statement] = 1;
      work.emplace_back(statement, true);
      for (auto before = result.before[statement].rbegin();
           before != result.before[statement].rend(); ++before) {
        if (state[*before] != 2) work.emplace_back(*before, false);
      }
    }
  }
  return result;
}

}  // namespace fusegrad::ir
