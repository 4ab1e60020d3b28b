// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Every call of the system that can fail is checked here once, short reads and writes included.
#include "runtime/core/file.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <system_error>

namespace fusegrad::runtime {

int FileDescriptor::close() {
  if (number_ < 0) return 0;
  const int status = ::close(std::exchange(number_, -1));
  // After EINTR Linux has closed the descriptor all the same.
  return status == 0 || errno == EINTR ? 0 : errno;
}

std::string quoted(std::string_view text) {
  std::string result = "`";
  for (const char character : text) {
    const auto byte = static_cast<unsigned char>(character);
    if (byte < 0x20 || byte == 0x7f) {
      result += fmt::format("\\x{:02x}", byte);
    } else {
      result += character;
    }
  }
  return result + "`";
}

std::string system_message(int error_number) {
  return std::generic_category().message(error_number);
}

const char* file_kind(unsigned mode) {
  if (S_ISREG(mode)) return "a regular file";
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISFIFO(mode)) return "a named pipe";
  if (S_ISCHR(mode)) return "a character device";
  if (S_ISBLK(mode)) return "a block device";
  if (S_ISSOCK(mode)) return "a socket";
  if (S_ISLNK(mode)) return "a symbolic link";
  return "something unknown";
}

Expected<InputFile, DataFailure> check_input(FileDescriptor descriptor, std::string path) {
  DataFailure failure;
  failure.path = path;
  struct stat status = {};
  if (fstat(descriptor.number(), &status) != 0) {
    failure.message = fmt::format("cannot look at {}: {}", quoted(path), system_message(errno));
    return failure;
  }
  if (!S_ISREG(status.st_mode)) {
    failure.message =
        fmt::format("{} is {}; expected a regular file", quoted(path), file_kind(status.st_mode));
    return failure;
  }
  InputFile file;
  file.descriptor = std::move(descriptor);
  file.path = std::move(path);
  file.size = status.st_size;
  return file;
}

Expected<InputFile, DataFailure> open_input(const std::string& path) {
  DataFailure failure;
  failure.path = path;
  if (path.empty() || path.find('\0') != std::string::npos) {
    failure.kind = DataFailureKind::path_refused;
    failure.message = path.empty() ? std::string("the path of a data file is empty")
                                   : fmt::format("the path {} holds a NUL byte", quoted(path));
    return failure;
  }
  FileDescriptor descriptor(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
  if (!descriptor.valid()) {
    const int error = errno;
    if (error == ENOENT || error == ENOTDIR) failure.kind = DataFailureKind::not_found;
    failure.message = fmt::format("cannot open {}: {}", quoted(path), system_message(error));
    return failure;
  }
  return check_input(std::move(descriptor), path);
}

int64_t read_at(const FileDescriptor& descriptor, int64_t offset, std::span<std::byte> bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count = pread(descriptor.number(), bytes.data() + done, bytes.size() - done,
                                static_cast<off_t>(offset + static_cast<int64_t>(done)));
    if (count == 0) break;
    if (count < 0) {
      if (errno == EINTR) continue;
      return -1;
    }
    done += static_cast<size_t>(count);
  }
  return static_cast<int64_t>(done);
}

int write_all(int descriptor, std::string_view bytes) {
  // A single write of 2 GiB or more is cut short by Linux anyway.
  constexpr size_t largest_piece = size_t{1} << 30;
  while (!bytes.empty()) {
    const ssize_t count = ::write(descriptor, bytes.data(), std::min(bytes.size(), largest_piece));
    if (count > 0) {
      bytes.remove_prefix(static_cast<size_t>(count));
      continue;
    }
    if (count == 0) return EIO;  // no progress and no reason: never try for ever
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return errno;
    pollfd waiting = {descriptor, POLLOUT, 0};
    if (poll(&waiting, 1, -1) < 0 && errno != EINTR) return errno;
  }
  return 0;
}

bool is_folder(const std::string& path) {
  struct stat status = {};
  return stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

bool same_file(const std::string& left, const std::string& right) {
  struct stat left_status = {};
  struct stat right_status = {};
  return stat(left.c_str(), &left_status) == 0 && stat(right.c_str(), &right_status) == 0 &&
         left_status.st_dev == right_status.st_dev && left_status.st_ino == right_status.st_ino;
}

IgnoredSignal::IgnoredSignal(int signal_number) : signal_number_(signal_number), previous_{} {
  struct sigaction ignore = {};
  ignore.sa_handler = SIG_IGN;
  sigemptyset(&ignore.sa_mask);
  replaced_ = sigaction(signal_number, &ignore, &previous_) == 0;
}

IgnoredSignal::~IgnoredSignal() {
  if (replaced_) sigaction(signal_number_, &previous_, nullptr);
}

}  // namespace fusegrad::runtime
