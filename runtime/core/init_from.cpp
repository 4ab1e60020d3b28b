// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// By name and said aloud: a layer that silently kept its random values would look like bad
// training.
#include "runtime/core/init_from.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <vector>

#include "runtime/core/exit_codes.h"
#include "runtime/core/file.h"
#include "runtime/core/nearest.h"
#include "runtime/core/safetensors.h"
#include "runtime/core/tensor_differences.h"
#include "runtime/core/text_values.h"

namespace fusegrad::runtime {

namespace {

/// The name under `renames`; the longest old name that fits counts. `used` gets that one.
std::string renamed(const std::string& name, const Renames& renames, std::set<std::string>& used) {
  const std::pair<const std::string, std::string>* best = nullptr;
  for (const auto& entry : renames) {
    const std::string& old = entry.first;
    const bool fits = name == old || (name.starts_with(old) && name.size() > old.size() &&
                                      name[old.size()] == '.');
    if (fits && (best == nullptr || old.size() > best->first.size())) best = &entry;
  }
  if (best == nullptr) return name;
  used.insert(best->first);
  return best->second + name.substr(best->first.size());
}

/// The first names, and how many more there are.
std::string list_of(const std::vector<std::string>& names) {
  constexpr size_t most = 8;
  const std::vector<std::string> first(
      names.begin(), names.begin() + static_cast<ptrdiff_t>(std::min(names.size(), most)));
  std::string text = fmt::format("{}", fmt::join(first, ", "));
  if (names.size() > most) text += fmt::format(" and {} more", names.size() - most);
  return text;
}

}  // namespace

Expected<Unit> add_rename(std::string_view assignment, Renames& renames) {
  return add_assignment("--rename", "OLD=NEW", assignment, renames);
}

Expected<std::string> init_from(const std::string& path, const Renames& renames,
                                const Session& session) {
  Expected<WeightsFile> file = read_safetensors(path);
  if (!file) return file.error();
  const bool is_checkpoint = file->metadata.contains(checkpoint_key);
  const std::vector<NamedBuffer> buffers = session.weights();
  std::map<std::string, const NamedTensor*> given;
  std::set<std::string> used;
  std::vector<std::string> old_names;
  for (const NamedTensor& tensor : file->tensors) {
    // Of the best epoch in a checkpoint.
    if (is_checkpoint && tensor.name.find('/') != std::string::npos) continue;
    old_names.push_back(tensor.name);
    const std::string name = renamed(tensor.name, renames, used);
    if (!given.emplace(name, &tensor).second) {
      return Failure{
          ExitCode::usage,
          fmt::format("--rename: two tensors of {} would be {}", quoted(path), quoted(name)),
          {}};
    }
  }
  for (const auto& [old, name] : renames) {
    if (used.contains(old)) continue;
    std::string message = fmt::format("--rename: {} has no {}", quoted(path), quoted(old));
    if (const auto near = nearest_name(old, old_names, 3)) {
      message += fmt::format(", did you mean {}?", quoted(*near));
    }
    return Failure{ExitCode::usage, std::move(message), {}};
  }

  std::vector<TensorType> expected;
  std::vector<TensorType> found;
  std::vector<std::string> fresh;
  std::vector<std::string> left_out;
  std::set<std::string> wanted;
  for (const NamedBuffer& buffer : buffers) {
    wanted.insert(buffer.name);
    const auto tensor = given.find(buffer.name);
    if (tensor == given.end()) {
      fresh.push_back(buffer.name);
      continue;
    }
    expected.push_back({buffer.name, buffer.element, buffer.layout.shape});
    found.push_back({buffer.name, tensor->second->element, tensor->second->shape});
  }
  for (const auto& [name, tensor] : given) {
    if (!wanted.contains(name) && !is_checkpoint) left_out.push_back(quoted(name));
  }
  if (auto differences = tensor_differences(expected, found)) {
    return Failure{ExitCode::checkpoint,
                   fmt::format("weights of {} do not fit the model:{}", quoted(path), *differences),
                   {}};
  }
  if (expected.empty()) {
    return Failure{ExitCode::checkpoint,
                   fmt::format("{} has none of the model's names; it has {}", quoted(path),
                               list_of(old_names)),
                   {}};
  }
  for (const NamedBuffer& buffer : buffers) {
    const auto tensor = given.find(buffer.name);
    if (tensor != given.end()) store_natural_elements(buffer, tensor->second->bytes);
  }
  std::string message = fmt::format("initialised {} of {} tensors from {}", expected.size(),
                                    buffers.size(), quoted(path));
  if (!fresh.empty()) message += "; new: " + list_of(fresh);
  if (!left_out.empty()) message += "; left out: " + list_of(left_out);
  return message;
}

}  // namespace fusegrad::runtime
