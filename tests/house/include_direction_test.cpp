// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reads every #include of the product and holds it against the one table of who may see whom.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "tests/house/source_files.h"

namespace fusegrad::house {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct Room {
  std::string_view folder;
  std::vector<std::string_view> sees;  ///< folders besides its own; "*" is all of them
};

/// A folder belongs to the entry with the longest matching name, so "ir" covers ir/tensor,
/// ir/kernel and ir/loop but neither ir/support nor ir/passes.
const std::vector<Room>& rooms() {
  static const std::vector<Room> table = {
      {"ir/support", {}},
      {"ir", {"ir/support"}},
      {"ir/passes", {"ir", "ir/support"}},
      {"frontend", {"ir", "ir/support"}},
      {"codegen", {"ir", "ir/support"}},
      {"runtime/core", {}},
      {"runtime/jit", {"runtime/core", "codegen", "ir", "ir/support"}},
      {"runtime/cuda", {"runtime/core", "codegen", "ir", "ir/support"}},
      {"driver", {"*"}},
  };
  return table;
}

/// Headers of libraries that belong to few folders; everybody may use what is not listed.
struct Library {
  std::string_view name;
  std::vector<std::string_view> header_starts;
  std::vector<std::string_view> folders;
};

const std::vector<Library>& libraries() {
  static const std::vector<Library> table = {
      {"LLVM", {"llvm/", "llvm-c/", "clang/", "mlir/"}, {"codegen/cpu", "runtime/jit/llvm"}},
      {"CUDA", {"cuda", "nvrtc", "cublas", "cudnn", "ffnvcodec/"}, {"runtime/cuda"}},
      // One translation unit each: these two are slow to compile.
      {"CLI11", {"CLI/"}, {"driver"}},
      {"nlohmann json", {"nlohmann/"}, {"driver"}},
      {"GoogleTest", {"gtest/", "gmock/"}, {}},
  };
  return table;
}

bool is_inside(std::string_view path, std::string_view folder) {
  return path.size() > folder.size() && path.substr(0, folder.size()) == folder &&
         path[folder.size()] == '/';
}

/// The room of a file, or nullptr for a path outside of the house.
const Room* room_of(std::string_view path) {
  const Room* best = nullptr;
  for (const Room& room : rooms()) {
    if (is_inside(path, room.folder) &&
        (best == nullptr || room.folder.size() > best->folder.size())) {
      best = &room;
    }
  }
  return best;
}

/// The header named by a line, or nothing when the line is no #include.
std::string_view included_header(std::string_view line) {
  auto skip_blanks = [&line] {
    while (!line.empty() && (line.front() == ' ' || line.front() == '\t')) line.remove_prefix(1);
  };
  auto skip_word = [&line](std::string_view word) {
    if (line.substr(0, word.size()) != word) return false;
    line.remove_prefix(word.size());
    return true;
  };
  skip_blanks();
  if (!skip_word("#")) return {};
  skip_blanks();
  if (!skip_word("include")) return {};
  skip_blanks();
  if (line.empty() || (line.front() != '"' && line.front() != '<')) return {};
  const char close = line.front() == '"' ? '"' : '>';
  line.remove_prefix(1);
  return line.substr(0, line.find(close));
}

/// What `file` (a path from the repository root) includes and must not, one sentence each.
std::vector<std::string> violations(const std::string& file, std::string_view text) {
  std::vector<std::string> found;
  const Room* room = room_of(file);
  if (room == nullptr) return {file + " is in a folder that the table of includes does not know"};

  int line_number = 0;
  for (std::string_view line : lines_of(text)) {
    ++line_number;
    const std::string_view header = included_header(line);
    if (header.empty()) continue;
    const std::string where = file + ":" + std::to_string(line_number) + ": ";

    if (const Room* target = room_of(header)) {
      const bool allowed = target == room || room->sees == std::vector<std::string_view>{"*"} ||
                           std::ranges::count(room->sees, target->folder) > 0;
      if (!allowed) {
        found.push_back(where + std::string(room->folder) + " must not see " +
                        std::string(target->folder) + " (" + std::string(header) + ")");
      }
      continue;
    }
    if (is_inside(header, "tests") || is_inside(header, "bench")) {
      found.push_back(where + "the product must not see " + std::string(header));
      continue;
    }
    for (const Library& library : libraries()) {
      const bool belongs = std::ranges::any_of(
          library.header_starts, [&](std::string_view start) { return header.starts_with(start); });
      const bool allowed = std::ranges::any_of(
          library.folders, [&](std::string_view folder) { return is_inside(file, folder); });
      if (belongs && !allowed) {
        found.push_back(where + std::string(library.name) + " has no place here (" +
                        std::string(header) + ")");
      }
    }
  }
  return found;
}

TEST(IncludeDirection, HoldsInEveryFolderOfTheProduct) {
  int files = 0;
  std::vector<std::string> found;
  for (const std::string& file : source_files({"frontend", "ir", "codegen", "runtime", "driver"})) {
    const std::vector<std::string> more = violations(file, read_file(file));
    found.insert(found.end(), more.begin(), more.end());
    ++files;
  }
  EXPECT_THAT(found, IsEmpty());
  EXPECT_GT(files, 0) << "no source was found below " << source_root();
}

TEST(IncludeDirection, QuotedHeadersAreNamedFromTheRepositoryRoot) {
  std::vector<std::string> found;
  for (const std::string& file :
       source_files({"frontend", "ir", "codegen", "runtime", "driver", "tests", "bench"})) {
    int line_number = 0;
    const std::string text = read_file(file);
    for (std::string_view line : lines_of(text)) {
      ++line_number;
      const std::string_view header = included_header(line);
      if (header.empty() || line.find('"') == std::string_view::npos) continue;
      if (!std::filesystem::exists(source_root() / header)) {
        found.push_back(file + ":" + std::to_string(line_number) + ": " + std::string(header));
      }
    }
  }
  EXPECT_THAT(found, IsEmpty());
}

// The rules themselves, on small sources: a checker that accepts everything would pass the tests
// above.

TEST(IncludeDirectionRules, AllowWhatTheTableAllows) {
  EXPECT_THAT(violations("ir/expr.h", "#include <vector>\n#include \"ir/support/check.h\"\n"),
              IsEmpty());
  EXPECT_THAT(violations("ir/tensor/print.cpp", "#include \"ir/expr.h\"\n"), IsEmpty());
  EXPECT_THAT(violations("ir/passes/autodiff.cpp", "#include \"ir/tensor/program.h\"\n"),
              IsEmpty());
  EXPECT_THAT(violations("codegen/cpu/emit.cpp", "#include <llvm/IR/IRBuilder.h>\n"), IsEmpty());
  EXPECT_THAT(violations("runtime/jit/engine.cpp", "#include \"codegen/cpu/emit.h\"\n"), IsEmpty());
  EXPECT_THAT(violations("driver/main.cpp", "#include \"runtime/jit/engine.h\"\n"), IsEmpty());
  EXPECT_THAT(violations("runtime/core/idx.cpp", "#include <zlib.h>\n"), IsEmpty());
}

TEST(IncludeDirectionRules, NameFileLineAndBothFolders) {
  EXPECT_THAT(violations("ir/expr.cpp", "// a line\n#include \"ir/passes/simplify.h\"\n"),
              ElementsAre("ir/expr.cpp:2: ir must not see ir/passes (ir/passes/simplify.h)"));
}

TEST(IncludeDirectionRules, ForbidEveryOtherDirection) {
  const std::pair<std::string, std::string> forbidden[] = {
      {"ir/support/check.cpp", "ir/expr.h"},
      {"ir/tensor/print.cpp", "frontend/lexer.h"},
      {"frontend/elaborate.cpp", "ir/passes/simplify.h"},
      {"frontend/elaborate.cpp", "driver/compile.h"},
      {"codegen/cpu/emit.cpp", "ir/passes/schedule.h"},
      {"codegen/cpu/emit.cpp", "frontend/ast.h"},
      {"codegen/cpu/emit.cpp", "runtime/core/train.h"},
      {"runtime/core/train.cpp", "ir/support/check.h"},
      {"runtime/core/train.cpp", "ir/expr.h"},
      {"runtime/core/train.cpp", "codegen/cpu/emit.h"},
      {"runtime/core/train.cpp", "runtime/jit/engine.h"},
      {"runtime/jit/engine.cpp", "frontend/ast.h"},
      {"runtime/jit/engine.cpp", "ir/passes/schedule.h"},
      {"runtime/jit/engine.cpp", "driver/compile.h"},
      {"ir/passes/simplify.cpp", "runtime/core/train.h"},
      {"ir/loop/print.cpp", "llvm/IR/Module.h"},
      {"driver/main.cpp", "llvm/IR/Module.h"},
      {"runtime/core/train.cpp", "llvm/ADT/StringRef.h"},
      {"runtime/core/train.cpp", "nlohmann/json.hpp"},
      {"runtime/jit/engine.cpp", "llvm/IR/Module.h"},
      {"codegen/names.cpp", "llvm/IR/Module.h"},
      {"runtime/jit/engine.cpp", "cuda.h"},
      {"driver/main.cpp", "nvrtc.h"},
      {"driver/main.cpp", "gtest/gtest.h"},
      {"ir/expr.cpp", "tests/house/source_files.h"},
  };
  for (const auto& [file, header] : forbidden) {
    EXPECT_EQ(violations(file, "#include \"" + header + "\"\n").size(), 1u)
        << file << " " << header;
    EXPECT_EQ(violations(file, "  # include <" + header + ">\n").size(), 1u)
        << file << " " << header;
  }
}

TEST(IncludeDirectionRules, KnowEveryFolder) {
  EXPECT_EQ(violations("runtime/attic/old.cpp", "").size(), 1u);
}

}  // namespace
}  // namespace fusegrad::house
