// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Opens the module of LLVM. It is never closed: generated code and LLVM's own tables live in it.
#include "runtime/jit/machine_code.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include "runtime/core/file.h"
#include "runtime/jit/installation.h"

namespace fusegrad::runtime {
namespace {

std::string last_problem() {
  const char* text = dlerror();
  return text == nullptr ? "no reason is given" : text;
}

}  // namespace

Result<const MachineCode*> machine_code() {
  const std::vector<std::string> folders = installation_folders();
  const std::string path = find_in_folders(folders, FUSEGRAD_MODULE);
  if (path.empty()) {
    return Error{fmt::format(
        "machine code needs fusegrad's module {}, which is not in {}; it belongs beside the tool",
        FUSEGRAD_MODULE, folder_list(folders))};
  }
  // Symbols of ours are looked for in this executable, so there is one copy of everything.
  void* module = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (module == nullptr) {
    return Error{fmt::format("machine code needs LLVM, but {} cannot be opened: {}", quoted(path),
                             last_problem())};
  }
  using Entry = const MachineCode* (*)();
  auto entry = reinterpret_cast<Entry>(dlsym(module, machine_code_symbol));
  if (entry == nullptr) {
    return Error{fmt::format("{} is no module of fusegrad: {}", quoted(path), last_problem())};
  }
  const MachineCode* table = entry();
  if (std::string_view(table->version) != FUSEGRAD_VERSION) {
    return Error{fmt::format("{} belongs to fusegrad {}, not to this one, which is {}",
                             quoted(path), table->version, FUSEGRAD_VERSION)};
  }
  return table;
}

}  // namespace fusegrad::runtime
