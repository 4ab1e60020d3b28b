// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A path in a model file must not reach outside the folders that the person at the command line
// named, by
// `..` or by a symbolic link. The kernel checks it while it opens (openat2), so nothing can be
// swapped in between; where openat2 is missing or filtered, symbolic links below a folder are
// refused altogether.
#include "runtime/core/data_path.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>

namespace fusegrad::runtime {

namespace {

constexpr size_t longest_path = 4096;
constexpr uint64_t open_flags = O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY;

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::string join(const std::string& folder, const std::string& path) {
  if (folder.empty()) return path;
  return folder.back() == '/' ? folder + path : folder + "/" + path;
}

/// Opens each folder on the way without following a symbolic link. Returns a descriptor or -1 with
/// errno, ELOOP or ENOTDIR at a link.
int open_without_links(int folder, const std::string& path) {
  const std::vector<std::string_view> components = split(path, '/');
  FileDescriptor current;
  for (size_t i = 0; i + 1 < components.size(); ++i) {
    if (components[i].empty() || components[i] == ".") continue;
    const int next =
        openat(current.valid() ? current.number() : folder, std::string(components[i]).c_str(),
               O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (next < 0) {
      // O_NOFOLLOW with O_DIRECTORY reports a link as "not a folder", which would read as "not
      // found".
      struct stat status = {};
      const int error = errno;
      const bool link =
          fstatat(current.valid() ? current.number() : folder, std::string(components[i]).c_str(),
                  &status, AT_SYMLINK_NOFOLLOW) == 0 &&
          S_ISLNK(status.st_mode);
      errno = link ? ELOOP : error;
      return -1;
    }
    current = FileDescriptor(next);
  }
  return openat(current.valid() ? current.number() : folder, std::string(components.back()).c_str(),
                static_cast<int>(open_flags) | O_NOFOLLOW);
}

/// Returns a descriptor or -1 with errno; EXDEV or ELOOP when a link leads outside.
int open_beneath(int folder, const std::string& path) {
  open_how how = {};
  how.flags = open_flags;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  // EAGAIN: something on the way was renamed meanwhile; the kernel asks to try again.
  for (int attempt = 0; attempt < 16; ++attempt) {
    const long descriptor = syscall(SYS_openat2, folder, path.c_str(), &how, sizeof how);
    if (descriptor >= 0) return static_cast<int>(descriptor);
    if (errno == ENOSYS || errno == EPERM) return open_without_links(folder, path);
    if (errno != EAGAIN && errno != EINTR) return -1;
  }
  return -1;
}

DataFailure refused(const std::string& path, std::string message) {
  DataFailure failure;
  failure.kind = DataFailureKind::path_refused;
  failure.path = path;
  failure.message = std::move(message);
  return failure;
}

std::optional<DataFailure> check_path(const std::string& path) {
  if (path.empty()) return refused(path, "the path of a data file is empty");
  if (path.size() > longest_path) {
    return refused(path, fmt::format("the path of a data file has {} bytes; at most {} are allowed",
                                     path.size(), longest_path));
  }
  if (path.find('\0') != std::string::npos) {
    return refused(path, fmt::format("the path {} holds a NUL byte", quoted(path)));
  }
  if (path.front() == '/') {
    DataFailure failure = refused(
        path, fmt::format("the path {} is absolute; a model file names data relative to a folder",
                          quoted(path)));
    failure.helps.push_back("write the path below a folder and name the folder with --data DIR");
    return failure;
  }
  for (const std::string_view component : split(path, '/')) {
    if (component != "..") continue;
    DataFailure failure =
        refused(path, fmt::format("the path {} leaves its folder with `..`", quoted(path)));
    failure.helps.push_back("write the path below a folder and name the folder with --data DIR");
    return failure;
  }
  return std::nullopt;
}

}  // namespace

std::vector<std::string> DataSearch::folders() const {
  std::vector<std::string> result;
  if (!data_dir.empty()) result.push_back(data_dir);
  for (const std::string_view entry : split(data_path, ':')) {
    if (!entry.empty()) result.emplace_back(entry);
  }
  const size_t slash = model_file.rfind('/');
  result.push_back(slash == std::string::npos ? std::string()
                                              : model_file.substr(0, slash == 0 ? 1 : slash));
  if (!system_dir.empty()) result.push_back(system_dir);
  return result;
}

Expected<InputFile, DataFailure> find_data(const std::string& path, const DataSearch& search) {
  if (std::optional<DataFailure> failure = check_path(path)) return *failure;
  if (!search.data_dir.empty() && !is_folder(search.data_dir)) {
    DataFailure failure;
    failure.kind = DataFailureKind::not_found;
    failure.path = search.data_dir;
    failure.message = fmt::format("{}, given with --data, is no folder", quoted(search.data_dir));
    return failure;
  }
  std::vector<std::string> names = {path};
  if (!path.ends_with(".gz")) names.push_back(path + ".gz");

  std::string places;
  for (const std::string& folder : search.folders()) {
    FileDescriptor directory(
        open(folder.empty() ? "." : folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    for (const std::string& name : names) {
      const std::string candidate = join(folder, name);
      places += fmt::format("{}{}", places.empty() ? "" : ", ", quoted(candidate));
      if (!directory.valid()) continue;
      FileDescriptor descriptor(open_beneath(directory.number(), name));
      if (descriptor.valid()) return check_input(std::move(descriptor), candidate);
      const int error = errno;
      if (error == ENOENT || error == ENOTDIR) continue;
      if (error == EXDEV || error == ELOOP) {
        DataFailure failure = refused(
            candidate, fmt::format("{} leaves {} through a symbolic link", quoted(candidate),
                                   folder.empty() ? "the model file's folder" : quoted(folder)));
        failure.helps.push_back("name the folder in which the file really lies with --data DIR");
        return failure;
      }
      DataFailure failure;
      failure.path = candidate;
      failure.message = fmt::format("cannot open {}: {}", quoted(candidate), system_message(error));
      return failure;
    }
  }
  DataFailure failure;
  failure.kind = DataFailureKind::not_found;
  failure.path = path;
  failure.message = fmt::format("cannot find the data file {}; looked at {}", quoted(path), places);
  failure.helps.push_back("name the folder that holds it with --data DIR or FUSEGRAD_DATA_PATH");
  const size_t slash = path.find('/');
  // What may be pasted into a shell holds nothing but the characters of a package name.
  const std::string package = path.substr(0, slash == std::string::npos ? 0 : slash);
  if (!package.empty() &&
      package.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789+-.") == std::string::npos) {
    failure.helps.push_back(
        fmt::format("data sets of Debian are in packages named like their folder: "
                    "apt-get install dataset-{}",
                    package));
  }
  return failure;
}

}  // namespace fusegrad::runtime
