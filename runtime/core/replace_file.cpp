// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The one way in which files of value are written: weights, formatted models.
#include "runtime/core/replace_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "runtime/core/file.h"

namespace fusegrad::runtime {
namespace {

/// fsync where the file system can; "cannot" is no failure of ours.
int sync(int descriptor) {
  while (fsync(descriptor) != 0) {
    if (errno == EINTR) continue;
    return errno == EINVAL || errno == ENOTSUP || errno == EROFS ? 0 : errno;
  }
  return 0;
}

}  // namespace

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return path.substr(0, slash == 0 ? 1 : slash);
}

std::string follow_links(const std::string& path) {
  const std::unique_ptr<char, void (*)(void*)> resolved(realpath(path.c_str(), nullptr), std::free);
  return resolved ? std::string(resolved.get()) : path;
}

std::optional<std::string> replace_file(const std::string& path,
                                        const std::function<int(int descriptor)>& write) {
  const std::string target = follow_links(path);
  // At a file-size limit the system would end the process; ignored, the call reports an error
  // instead.
  const IgnoredSignal no_size_signal(SIGXFSZ);

  struct stat status = {};
  if (stat(target.c_str(), &status) == 0 && S_ISCHR(status.st_mode)) {
    FileDescriptor device(open(target.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY));
    if (!device.valid()) return system_message(errno);
    if (const int error = write(device.number())) return system_message(error);
    if (const int error = device.close()) return system_message(error);
    return std::nullopt;
  }

  const std::string folder = folder_of(target);
  const size_t slash = target.rfind('/');
  const std::string name = slash == std::string::npos ? target : target.substr(slash + 1);
  const std::string prefix = slash == std::string::npos ? "" : target.substr(0, slash + 1);
  FileDescriptor file;
  std::string temporary;
  for (int attempt = 0; attempt < 100 && !file.valid(); ++attempt) {
    // Long names must leave room for the suffix (NAME_MAX is 255).
    temporary = fmt::format("{}.{}.{}-{}.tmp", prefix, name.substr(0, 200), getpid(), attempt);
    file = FileDescriptor(
        open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666));
    if (!file.valid() && errno != EEXIST) break;
  }
  if (!file.valid()) {
    return fmt::format("temporary file {}: {}", quoted(temporary), system_message(errno));
  }
  const auto give_up = [&](int error) {
    // Nothing can be done when this fails as well; the first reason is the one that helps.
    (void)unlink(temporary.c_str());
    return system_message(error);
  };
  if (const int error = write(file.number())) return give_up(error);
  // A file that only its owner could read stays so; where that is refused the usual permissions
  // remain.
  if (stat(target.c_str(), &status) == 0) (void)!fchmod(file.number(), status.st_mode & 0777);
  if (const int error = sync(file.number())) return give_up(error);
  if (const int error = file.close()) return give_up(error);
  if (rename(temporary.c_str(), target.c_str()) != 0) return give_up(errno);
  // The new name itself must survive a power cut.
  FileDescriptor directory(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid()) {
    if (errno == EACCES) return std::nullopt;
    return system_message(errno);
  }
  if (const int error = sync(directory.number())) return system_message(error);
  return std::nullopt;
}

}  // namespace fusegrad::runtime
