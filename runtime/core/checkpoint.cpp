// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What is not a tensor is text in the metadata; sums are the bits of their numbers.
#include "runtime/core/checkpoint.h"

#include <zlib.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <limits>

#include "runtime/core/exit_codes.h"
#include "runtime/core/tensor_differences.h"
#include "runtime/core/text_values.h"
#include "runtime/core/version.h"

namespace fusegrad::runtime {

namespace {

constexpr std::string_view format_version = "1";
constexpr std::string_view best_prefix = "best/";
/// Nothing that a run counts comes near it.
constexpr int64_t most = int64_t{1} << 62;

std::string bits_text(double value) {
  return fmt::format("{:016x}", std::bit_cast<uint64_t>(value));
}

/// "LOSS METRIC METRIC; PART PART; PART"
std::string sums_text(const PassSums& sums) {
  std::string text = bits_text(sums.loss);
  for (const double metric : sums.metrics) text += " " + bits_text(metric);
  for (const std::vector<double>& part : sums.parts) {
    text += ";";
    for (const double value : part) text += " " + bits_text(value);
  }
  return text;
}

bool read_bits(std::string_view& text, double& value) {
  if (text.size() < 16) return false;
  uint64_t bits = 0;
  const char* begin = text.data();
  const auto [end, error] = std::from_chars(begin, begin + 16, bits, 16);
  if (error != std::errc() || end != begin + 16) return false;
  value = std::bit_cast<double>(bits);
  text.remove_prefix(16);
  return true;
}

bool take(std::string_view& text, char character) {
  if (!text.starts_with(character)) return false;
  text.remove_prefix(1);
  return true;
}

bool read_sums(std::string_view text, PassSums& sums) {
  if (!read_bits(text, sums.loss)) return false;
  while (take(text, ' ')) {
    if (!read_bits(text, sums.metrics.emplace_back())) return false;
  }
  while (take(text, ';')) {
    std::vector<double>& part = sums.parts.emplace_back();
    while (take(text, ' ')) {
      if (!read_bits(text, part.emplace_back())) return false;
    }
  }
  return text.empty();
}

/// Takes the metadata's fields one by one; the first that is missing or wrong is the problem.
class Fields {
 public:
  explicit Fields(const Metadata& metadata) : metadata_(metadata) {}

  const std::string& problem() const { return problem_; }

  std::string text(const char* key) {
    const auto found = metadata_.find(key);
    if (found == metadata_.end()) {
      fail(fmt::format("its metadata have no {}", key));
      return "";
    }
    return found->second;
  }
  int64_t number(const char* key, int64_t least, int64_t largest = most) {
    const std::string value = text(key);
    const std::optional<int64_t> number = whole_number(value);
    if (!number || *number < least || *number > largest) {
      fail(fmt::format("{} is {}, not a number from {} to {}", key, quoted(value), least, largest));
      return least;
    }
    return *number;
  }
  bool flag(const char* key) { return number(key, 0, 1) == 1; }
  double real(const char* key) {
    const std::string value = text(key);
    std::string_view rest = value;
    double number = 0;
    if (!read_bits(rest, number) || !rest.empty()) {
      fail(fmt::format("{} is {}, not the bits of a number", key, quoted(value)));
    }
    return number;
  }
  void fail(std::string problem) {
    if (problem_.empty()) problem_ = std::move(problem);
  }

 private:
  const Metadata& metadata_;
  std::string problem_;
};

/// Without a session: what Session::run_buffers will be.
std::vector<TensorType> expected_tensors(const JobTable& job) {
  std::vector<TensorType> tensors;
  for (const BufferEntry* buffer : run_buffer_entries(job)) {
    tensors.push_back({buffer->name, buffer->element, buffer->layout.shape});
  }
  return tensors;
}

Failure unusable(const std::string& path, std::string_view why) {
  return {
      ExitCode::checkpoint, fmt::format("cannot use the checkpoint {}: {}", quoted(path), why), {}};
}

}  // namespace

DataFingerprint fingerprint(const Split& split) {
  unsigned long sum = 0;
  for (const Column& column : split.columns) {
    const std::optional<int64_t> bytes = tensor_bytes(column.element, column.shape);
    RUNTIME_CHECK(bytes, "a column of {}", type_text(column.element, column.shape));
    sum = crc32_z(sum, reinterpret_cast<const Bytef*>(column.bytes.data()),
                  static_cast<size_t>(*bytes));
  }
  return {split.samples, static_cast<int64_t>(sum)};
}

Expected<Unit> write_checkpoint(const std::string& path, const JobTable& job,
                                const Session& session, const RunState& state,
                                const BestEpoch& best) {
  if (const std::optional<std::string> parameter = session.non_finite_parameter()) {
    return Failure{ExitCode::numbers,
                   fmt::format("no checkpoint is written: parameter {} holds a value that is not "
                               "finite after step {}",
                               quoted(*parameter), state.step),
                   {}};
  }
  const std::vector<NamedBuffer> buffers = session.run_buffers();
  std::vector<NamedTensor> tensors;
  for (const NamedBuffer& buffer : buffers) tensors.push_back(tensor_of(buffer));
  for (size_t i = 0; i < best.kept().size(); ++i) {
    NamedBuffer kept = buffers[i];
    // It is only read.
    kept.data = const_cast<std::byte*>(best.kept()[i].data());
    kept.name = std::string(best_prefix) + kept.name;
    tensors.push_back(tensor_of(kept));
  }
  const TrainSettings& settings = job.settings;
  const auto text = [](int64_t number) { return fmt::format("{}", number); };
  const Metadata metadata = {
      {checkpoint_key, std::string(format_version)},
      {"fusegrad.version", version_text},
      {"model", job.model_name},
      {"model_text", job.model_text},
      {"epoch", text(state.epoch)},
      {"position", text(state.sums.steps)},
      {"step", text(state.step)},
      {"epochs", text(state.epochs)},
      {"samples", text(state.sums.samples)},
      {"sums", sums_text(state.sums)},
      {"seconds", bits_text(state.seconds)},
      {"target_reached", text(state.target_reached ? 1 : 0)},
      {"best_epoch", text(state.best_epoch)},
      {"best_loss", bits_text(state.best_loss)},
      {"batch", text(settings.batch)},
      {"seed", text(settings.seed)},
      {"shuffle", text(settings.shuffle ? 1 : 0)},
      {"last", settings.last == LastBatch::keep ? "keep" : "drop"},
      {"data_samples", text(state.data.samples)},
      {"data_checksum", text(state.data.checksum)},
  };
  // States may be infinite on purpose (the least value so far); parameters were looked at.
  return write_safetensors(path, std::move(tensors), metadata, NonFinite::write);
}

Expected<Checkpoint> read_checkpoint(const std::string& path) {
  Expected<WeightsFile> file = read_safetensors(path);
  if (!file) return file.error();
  if (!file->metadata.contains(checkpoint_key)) {
    return unusable(path, "it is no checkpoint (weights alone start a new run: --init-from)");
  }
  if (!file->has_checksum) return unusable(path, "it has no checksum");
  Checkpoint checkpoint;
  checkpoint.path = path;
  Fields fields(file->metadata);
  if (const std::string version = fields.text(checkpoint_key); version != format_version) {
    return unusable(path, fmt::format("its format has version {}, this program knows {}",
                                      quoted(version), format_version));
  }
  fields.text("fusegrad.version");
  fields.text("model");
  checkpoint.model_text = fields.text("model_text");
  RunState& state = checkpoint.state;
  state.epoch = fields.number("epoch", 1, most_epochs + 1);
  state.sums.steps = fields.number("position", 0);
  state.step = fields.number("step", state.sums.steps);
  state.epochs = fields.number("epochs", 0, most_epochs);
  state.sums.samples = fields.number("samples", 0);
  if (!read_sums(fields.text("sums"), state.sums)) fields.fail("sums are not the bits of numbers");
  state.seconds = fields.real("seconds");
  if (!(state.seconds >= 0)) fields.fail("seconds are negative");
  state.target_reached = fields.flag("target_reached");
  state.best_epoch = fields.number("best_epoch", 0, state.epoch);
  state.best_loss = fields.real("best_loss");
  checkpoint.batch = fields.number("batch", 1);
  checkpoint.seed = fields.number("seed", 0, std::numeric_limits<int64_t>::max());
  checkpoint.shuffle = fields.flag("shuffle");
  const std::string last = fields.text("last");
  if (last != "keep" && last != "drop") fields.fail("last is neither keep nor drop");
  checkpoint.last = last == "keep" ? LastBatch::keep : LastBatch::drop;
  state.data.samples = fields.number("data_samples", 1);
  state.data.checksum = fields.number("data_checksum", 0);
  if (!fields.problem().empty()) return unusable(path, fields.problem());
  checkpoint.file = std::move(*file);
  return checkpoint;
}

std::optional<Failure> check_fit(const Checkpoint& checkpoint, const JobTable& job) {
  const auto fail = [&](std::string_view why) {
    return Failure{ExitCode::checkpoint,
                   fmt::format("the checkpoint {} does not fit the model `{}`:{}",
                               quoted(checkpoint.path), job.model_name, why),
                   {}};
  };
  const std::vector<TensorType> expected = expected_tensors(job);
  std::vector<TensorType> found;
  std::vector<TensorType> best;
  for (const NamedTensor& tensor : checkpoint.file.tensors) {
    const bool is_best = tensor.name.starts_with(best_prefix);
    (is_best ? best : found)
        .push_back({is_best ? tensor.name.substr(best_prefix.size()) : tensor.name, tensor.element,
                    tensor.shape});
  }
  if (auto differences = tensor_differences(expected, found)) return fail(*differences);
  if (!best.empty()) {
    if (auto differences = tensor_differences(expected, best)) {
      return fail(" the best epoch's tensors:" + *differences);
    }
  }
  const TrainSettings& settings = job.settings;
  if (checkpoint.batch != settings.batch) {
    return fail(fmt::format(" its batch is {}, not {}", checkpoint.batch, settings.batch));
  }
  if (checkpoint.shuffle != settings.shuffle) {
    return fail(fmt::format(" it was trained with shuffle = {}", checkpoint.shuffle));
  }
  if (checkpoint.last != settings.last) {
    return fail(fmt::format(" it was trained with last = {}",
                            checkpoint.last == LastBatch::keep ? "keep" : "drop"));
  }
  return std::nullopt;
}

std::optional<Failure> restore(const Checkpoint& checkpoint, Session& session, BestEpoch& best) {
  const RunState& state = checkpoint.state;
  if (!session.accepts(state.sums)) {
    return unusable(checkpoint.path, "its sums are not those of the model's metrics");
  }
  const std::vector<NamedBuffer> buffers = session.run_buffers();
  std::vector<std::vector<std::byte>> kept;
  for (const NamedBuffer& buffer : buffers) {
    if (!best.keeps_weights()) break;
    const NamedTensor* tensor = checkpoint.file.find(std::string(best_prefix) + buffer.name);
    if (tensor == nullptr) break;
    std::vector<std::byte> bytes(buffer.data, buffer.data + memory_bytes(buffer));
    NamedBuffer target = buffer;
    target.data = bytes.data();
    store_natural_elements(target, tensor->bytes);
    kept.push_back(std::move(bytes));
  }
  for (const NamedBuffer& buffer : buffers) {
    store_natural_elements(buffer, checkpoint.file.find(buffer.name)->bytes);
  }
  session.set_steps_done(state.step);
  // Without the weights of an epoch there is nothing to return to, so it is not the best one.
  if (kept.size() == buffers.size() || !best.keeps_weights()) {
    best.restore_history(state.best_epoch, state.best_loss, std::move(kept));
  }
  return std::nullopt;
}

}  // namespace fusegrad::runtime
