// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// File descriptors that close themselves, reads and writes that are complete or say why not.
#pragma once

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "runtime/core/error.h"

namespace fusegrad::runtime {

/// Owns a file descriptor; -1 is none.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int number) : number_(number) {}
  FileDescriptor(FileDescriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    if (this != &other) {
      close();
      number_ = std::exchange(other.number_, -1);
    }
    return *this;
  }
  ~FileDescriptor() { close(); }

  int number() const { return number_; }
  bool valid() const { return number_ >= 0; }
  /// Closes now. Returns 0 or the system's error number: a full disk may only be reported here.
  int close();

 private:
  int number_ = -1;
};

/// A path or name for a message: in backticks, control characters as \xNN.
std::string quoted(std::string_view text);

/// What the system says about an error number: "No such file or directory".
std::string system_message(int error_number);

/// "a folder", "a named pipe", ... for a mode of fstat.
const char* file_kind(unsigned mode);

/// A regular file that is open for reading, and its length then.
struct InputFile {
  FileDescriptor descriptor;
  std::string path;  ///< for messages
  int64_t size = 0;
};

/// Opens without waiting (a named pipe does not block) and refuses everything but a regular file.
Expected<InputFile, DataFailure> open_input(const std::string& path);

/// The same for a descriptor that is already open.
Expected<InputFile, DataFailure> check_input(FileDescriptor descriptor, std::string path);

/// Fills `bytes` from that offset. Returns how many were there (fewer: the file ends), or -1 with
/// errno.
int64_t read_at(const FileDescriptor& descriptor, int64_t offset, std::span<std::byte> bytes);

/// Writes everything; waits where the other end is slow. Returns 0 or the system's error number.
int write_all(int descriptor, std::string_view bytes);

/// True for the path of a folder, or of a link to one.
bool is_folder(const std::string& path);

/// True when both paths exist and are one file, by whatever names.
bool same_file(const std::string& left, const std::string& right);

/// While it lives a signal is ignored, so that the failing call reports an error instead: SIGXFSZ
/// at a file-size limit, SIGPIPE when a reader is gone. Without it either would end the process and
/// lose the weights.
class IgnoredSignal {
 public:
  explicit IgnoredSignal(int signal_number);
  ~IgnoredSignal();
  IgnoredSignal(const IgnoredSignal&) = delete;
  IgnoredSignal& operator=(const IgnoredSignal&) = delete;

 private:
  int signal_number_;
  struct sigaction previous_;
  bool replaced_;
};

}  // namespace fusegrad::runtime
