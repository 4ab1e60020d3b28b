// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reads and writes safetensors: 8 bytes little-endian header length, a JSON header, the tensors'
// bytes.
//
// Format: github.com/huggingface/safetensors, README "Format". The header is
// {"__metadata__":{"key":"text",...},"name":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},...};
// offsets count from the end of the header; elements are little-endian, row-major.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "runtime/core/aligned_bytes.h"
#include "runtime/core/error.h"
#include "runtime/core/file.h"
#include "runtime/core/job_table.h"
#include "runtime/core/session.h"

namespace fusegrad::runtime {

using Metadata = std::map<std::string, std::string>;

/// A tensor in row-major order.
struct NamedTensor {
  std::string name;
  ElementType element = ElementType::f32;
  std::vector<int64_t> shape;
  std::vector<std::byte> bytes;
};

/// A copy of what the buffer holds.
NamedTensor tensor_of(const NamedBuffer& buffer);

/// Parameters of a session and the states that belong to the model (Session::weights), in natural
/// layout.
std::vector<NamedTensor> parameters_of(const Session& session);

/// Looks before a long run whether `path` can be written in the end: its folder exists and lets us
/// create files, and what stands there already is a regular file or a character device. Fails with
/// ExitCode::checkpoint.
Expected<Unit> check_save_target(const std::string& path);

/// Whether tensors with NaN or infinite elements are written.
enum class NonFinite : uint8_t { refuse, write };

/// In the metadata of checkpoints, with the version of their format (checkpoint.h).
inline constexpr const char* checkpoint_key = "fusegrad.checkpoint";

/// Writes the tensors, sorted by name, with `metadata`, {"format":"pt"}, which other tools look
/// for, and a checksum of the whole file. A temporary file beside `path` is written, synced and
/// renamed, then the folder is synced: whatever happens, `path` holds the old content or the new,
/// and no temporary file is left by a failure. A symbolic link is followed. A character device is
/// written to directly. Fails with ExitCode::checkpoint and one line; with ExitCode::numbers when
/// an element is not finite and that is refused.
Expected<Unit> write_safetensors(const std::string& path, std::vector<NamedTensor> tensors,
                                 const Metadata& metadata = {},
                                 NonFinite non_finite = NonFinite::refuse);

/// A file's content, checked.
struct WeightsFile {
  Metadata metadata;                 ///< without our checksum
  std::vector<NamedTensor> tensors;  ///< sorted by name
  bool has_checksum = false;         ///< and it is right; files of other programs have none
  const NamedTensor* find(const std::string& name) const;
};

struct WeightsLimits {
  int64_t largest_header = int64_t{16} << 20;
  int64_t largest_bytes = int64_t{16} << 30;
};

/// Reads strictly: the header length fits the file; the header is one JSON object with no key
/// twice; element types BOOL U8 I32 F32 F64; at most 8 dimensions; shape times element size equals
/// the offsets' distance; the tensors cover the data without hole, overlap or rest; a checksum of
/// ours, if there is one, is right. Fails with
/// ExitCode::checkpoint (weights that cannot be used) and one line that names file, position, what
/// was expected and what was found.
Expected<WeightsFile> read_safetensors(const std::string& path, const WeightsLimits& limits = {});
Expected<WeightsFile> read_safetensors(const InputFile& file, const WeightsLimits& limits = {});

/// Puts a file's tensors into the session's weights. Names, element types and shapes must be the
/// same, none missing and, unless the file is a checkpoint, none too many; otherwise nothing is
/// changed and the message is a table of the differences (ExitCode::checkpoint).
Expected<Unit> restore_parameters(const WeightsFile& weights, Session& session);

}  // namespace fusegrad::runtime
