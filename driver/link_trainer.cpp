// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Everything is prepared in a folder of its own and moved at the end, so a failure leaves nothing.
#include "driver/link_trainer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <system_error>

#include "driver/text_file.h"
#include "runtime/core/exit_codes.h"
#include "runtime/core/file.h"
#include "runtime/jit/installation.h"

extern char** environ;

namespace fusegrad::driver {
namespace {

namespace fs = std::filesystem;
using runtime::ExitCode;
using runtime::Expected;
using runtime::Failure;
using runtime::Unit;

constexpr const char* archive_name = "libfusegrad_core.a";

Failure no_tool_chain(std::string message) { return {ExitCode::device, std::move(message), {}}; }

const char* environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

Expected<std::string> find_linker() {
  std::error_code ignored;
  for (const char* name : {"c++", "g++", "clang++"}) {
    const std::string path = environment("PATH");
    for (size_t begin = 0; begin <= path.size();) {
      const size_t end = std::min(path.find(':', begin), path.size());
      const fs::path candidate = fs::path(path.substr(begin, end - begin)) / name;
      begin = end + 1;
      if (candidate.is_absolute() && fs::is_regular_file(candidate, ignored) &&
          access(candidate.c_str(), X_OK) == 0) {
        return candidate.string();
      }
    }
  }
  return no_tool_chain(
      "building needs a linker: none of c++, g++ and clang++ is on PATH (on Debian: apt-get "
      "install "
      "g++)");
}

Expected<std::string> find_archive() {
  const std::string chosen = environment("FUSEGRAD_RUNTIME_DIR");
  const std::vector<std::string> folders =
      chosen.empty() ? runtime::installation_folders() : std::vector<std::string>{chosen};
  if (std::string archive = runtime::find_in_folders(folders, archive_name); !archive.empty()) {
    return archive;
  }
  return no_tool_chain(fmt::format(
      "building needs the runtime's archive {}, which is not in {} (FUSEGRAD_RUNTIME_DIR names "
      "another folder)",
      archive_name, runtime::folder_list(folders)));
}

/// A folder beside the output, removed at the end with what is in it.
class ScratchFolder {
 public:
  explicit ScratchFolder(const std::string& output) {
    std::string pattern = output + ".XXXXXX";
    if (mkdtemp(pattern.data()) != nullptr) path_ = pattern;
  }
  ~ScratchFolder() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

Failure cannot_write(const std::string& output, int error_number) {
  return {ExitCode::usage,
          fmt::format("cannot write {}: {}", runtime::quoted(output),
                      runtime::system_message(error_number)),
          {}};
}

/// Runs a program with standard output and errors in a file. Returns its exit code, or -1.
int run_quietly(const std::vector<std::string>& arguments, const std::string& messages) {
  std::vector<char*> raw;
  raw.reserve(arguments.size() + 1);
  for (const std::string& argument : arguments) raw.push_back(const_cast<char*>(argument.c_str()));
  raw.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  if (posix_spawn_file_actions_init(&actions) != 0) return -1;
  pid_t child = -1;
  bool started = posix_spawn_file_actions_addopen(&actions, 2, messages.c_str(),
                                                  O_WRONLY | O_CREAT | O_TRUNC, 0600) == 0 &&
                 posix_spawn_file_actions_adddup2(&actions, 2, 1) == 0 &&
                 posix_spawn(&child, raw[0], &actions, nullptr, raw.data(), environ) == 0;
  posix_spawn_file_actions_destroy(&actions);
  if (!started) return -1;
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return -1;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/// A shared library has a stub in C and a prefix of names; an executable has neither.
struct LibraryPart {
  std::string stub;
  std::string prefix;
};

/// Runs the driver; what it says is the failure.
Expected<Unit> run_driver(const std::vector<std::string>& arguments, const std::string& messages) {
  if (run_quietly(arguments, messages) == 0) return Unit{};
  Result<std::string> said = read_text_file(messages);
  return no_tool_chain(fmt::format("{} could not link the trainer:\n{}",
                                   runtime::quoted(arguments[0]), said ? *said : ""));
}

Expected<Unit> write_part(const std::string& path, std::string_view bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (!file) return cannot_write(path, errno);
  return Unit{};
}

/// Compiles the stub and adds what makes a shared library.
Expected<Unit> add_library(const LibraryPart& library, const std::string& folder,
                           const std::string& output, std::vector<std::string>& arguments) {
  const std::string stub = folder + "/stub.c";
  const std::string object = folder + "/stub.o";
  const std::string exports = folder + "/exports";
  if (Expected<Unit> written = write_part(stub, library.stub); !written) return written.error();
  const std::string script = fmt::format("{{ global: {}_*; local: *; }};\n", library.prefix);
  if (Expected<Unit> written = write_part(exports, script); !written) return written.error();
  // The driver for C++ compiles C when it is told to.
  Expected<Unit> compiled = run_driver(
      {arguments[0], "-x", "c", "-std=gnu99", "-O2", "-fPIC", "-w", "-c", stub, "-o", object},
      folder + "/messages");
  if (!compiled) return compiled.error();
  arguments.insert(arguments.end(),
                   {"-shared", "-Wl,-soname," + fs::path(output).filename().string(),
                    "-Wl,--version-script=" + exports, object});
  return Unit{};
}

Expected<Unit> link(const std::vector<std::vector<char>>& objects, const LibraryPart* library,
                    const std::string& output) {
  Expected<std::string> linker = find_linker();
  if (!linker) return linker.error();
  Expected<std::string> archive = find_archive();
  if (!archive) return archive.error();
  std::error_code problem;
  if (fs::is_directory(output, problem)) return cannot_write(output, EISDIR);
  const ScratchFolder scratch(output);
  if (scratch.path().empty()) return cannot_write(output, errno);

  const std::string linked = scratch.path() + "/trainer";
  std::vector<std::string> arguments = {*linker, "-o", linked};
  if (library != nullptr) {
    Expected<Unit> added = add_library(*library, scratch.path(), output, arguments);
    if (!added) return added.error();
  }
  for (size_t i = 0; i < objects.size(); ++i) {
    std::string path = fmt::format("{}/{}.o", scratch.path(), i);
    Expected<Unit> written = write_part(path, {objects[i].data(), objects[i].size()});
    if (!written) return written.error();
    arguments.push_back(std::move(path));
  }
  // libc and libm stay shared: they belong to the system that the trainer runs on.
  for (const char* argument : {"-static-libstdc++", "-static-libgcc", "-Wl,--gc-sections",
                               "-Wl,-z,noexecstack", "-Wl,--as-needed", "-s", "-pthread"}) {
    arguments.emplace_back(argument);
  }
  arguments.insert(arguments.end(), {*archive, "-l:libz.a", "-lm"});
  Expected<Unit> done = run_driver(arguments, scratch.path() + "/messages");
  if (!done) return done.error();
  fs::rename(linked, output, problem);
  if (problem) return cannot_write(output, problem.value());
  return Unit{};
}

}  // namespace

Expected<Unit> link_trainer(const std::vector<std::vector<char>>& objects,
                            const std::string& output) {
  return link(objects, nullptr, output);
}

Expected<Unit> link_library(const std::vector<std::vector<char>>& objects, const std::string& stub,
                            const std::string& prefix, const std::string& output) {
  const LibraryPart library = {stub, prefix};
  return link(objects, &library, output);
}

}  // namespace fusegrad::driver
