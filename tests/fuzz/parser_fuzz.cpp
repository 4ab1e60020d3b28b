// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Any text becomes a tree or messages that can be shown.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "frontend/parser.h"
#include "ir/support/diagnostics.h"
#include "ir/support/source.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fusegrad;
  SourceManager sources;
  const uint32_t file =
      sources.add("model.fg", std::string(reinterpret_cast<const char*>(data), size));
  Diagnostics diagnostics;
  const frontend::ast::File tree = frontend::parse(sources, file, diagnostics);
  const std::string messages = render(diagnostics, sources);
  if (messages.empty() != diagnostics.all().empty()) std::abort();
  // Where nothing is read there is something to say, except about blanks and comments.
  if (tree.items.size() > size) std::abort();
  return 0;
}
