// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reading and writing are one list of fields, so they cannot drift apart.
//
// "FGTR", version (i64), checksum of the rest (CRC-32 as i64), then the fields: integers as i64,
// enumerators and booleans as a byte, texts and lists with their length in front; little endian.
#include "runtime/core/shipped_job.h"

#include <zlib.h>

#include <bit>
#include <cstring>
#include <type_traits>

#include "runtime/core/exit_codes.h"

static_assert(std::endian::native == std::endian::little, "shipped jobs are little-endian");

namespace fusegrad::runtime {

namespace {

constexpr std::string_view magic = "FGTR";
constexpr int64_t version = 1;

/// Moves fields from an object to bytes, or back.
template <bool reading>
class Transfer {
 public:
  Transfer() = default;
  explicit Transfer(std::string_view bytes) : rest_(bytes) {}

  bool good() const { return good_; }
  std::string& bytes() { return bytes_; }
  std::string_view rest() const { return rest_; }

  template <typename First, typename Second, typename... More>
  void fields(First& first, Second& second, More&... more) {
    field(first);
    fields(second, more...);
  }
  template <typename Last>
  void fields(Last& last) {
    field(last);
  }

 private:
  void raw(void* value, size_t size) {
    if (size == 0) return;  // an empty piece may have no address
    if constexpr (reading) {
      if (rest_.size() < size) {
        good_ = false;
        rest_ = {};
        return;
      }
      std::memcpy(value, rest_.data(), size);
      rest_.remove_prefix(size);
    } else {
      bytes_.append(static_cast<const char*>(value), size);
    }
  }

  void byte(uint8_t& value, uint8_t last) {
    raw(&value, 1);
    if (value > last) {
      good_ = false;
      value = 0;
    }
  }

  /// A length: nothing takes less than a byte, so it cannot exceed what is left.
  size_t length(size_t size) {
    auto number = static_cast<int64_t>(size);
    field(number);
    if constexpr (reading) {
      if (number < 0 || static_cast<uint64_t>(number) > rest_.size()) {
        good_ = false;
        number = 0;
      }
    }
    return static_cast<size_t>(number);
  }

  void field(int64_t& value) { raw(&value, sizeof value); }
  void field(double& value) { raw(&value, sizeof value); }
  void field(int& value) {
    int64_t wide = value;
    field(wide);
    value = static_cast<int>(wide);
    good_ = good_ && value == wide;
  }
  void field(bool& value) {
    uint8_t number = value ? 1 : 0;
    byte(number, 1);
    value = number == 1;
  }
  template <typename Enumeration>
  void enumerator(Enumeration& value, Enumeration last) {
    auto number = static_cast<uint8_t>(value);
    byte(number, static_cast<uint8_t>(last));
    value = static_cast<Enumeration>(number);
  }
  void field(ElementType& value) { enumerator(value, ElementType::f64); }
  void field(BufferKind& value) { enumerator(value, BufferKind::positions); }
  void field(ResultKind& value) { enumerator(value, ResultKind::smallest); }
  void field(LastBatch& value) { enumerator(value, LastBatch::keep); }
  void field(Target::Comparison& value) { enumerator(value, Target::Comparison::greater_equal); }

  void field(std::string& text) {
    const size_t size = length(text.size());
    if constexpr (reading) text.resize(size);
    raw(text.data(), size);
  }
  template <typename T>
  void field(std::vector<T>& list) {
    const size_t size = length(list.size());
    if constexpr (reading) list.resize(size);
    for (T& item : list) {
      if (!good_) return;
      field(item);
    }
  }
  template <typename T>
  void field(std::optional<T>& value) {
    bool there = value.has_value();
    field(there);
    if constexpr (reading) {
      if (there) value.emplace();
    }
    if (there) field(*value);
  }
  void field(ReaderValue& value) {
    auto index = static_cast<uint8_t>(value.index());
    byte(index, std::variant_size_v<ReaderValue> - 1);
    if constexpr (reading) alternative<0>(value, index);
    std::visit([this](auto& content) { this->field(content); }, value);
  }
  template <size_t candidate>
  static void alternative(ReaderValue& value, size_t index) {
    if constexpr (candidate < std::variant_size_v<ReaderValue>) {
      if (candidate == index) {
        value.emplace<candidate>();
      } else {
        alternative<candidate + 1>(value, index);
      }
    }
  }

  void field(Extent& e) { fields(e.constant, e.per_row); }
  void field(Layout& l) { fields(l.shape, l.blocked_dimension, l.block); }
  void field(BufferEntry& b) {
    fields(b.name, b.kind, b.element, b.layout, b.arena_offset, b.source);
  }
  void field(TaskDimension& t) { fields(t.extent, t.tile); }
  void field(KernelEntry& k) { fields(k.name, k.tasks); }
  void field(LaunchEntry& l) { fields(l.kernels); }
  void field(ResultEntry& r) { fields(r.kind, r.label, r.buffer, r.per_row); }
  void field(ProgramTable& p) {
    fields(p.name, p.batch, p.buffers, p.launches, p.results, p.arena_bytes);
  }
  void field(InputEntry& i) {
    fields(i.name, i.element, i.row_shape, i.has_range, i.range_begin, i.range_end,
           i.is_for_outputs);
  }
  void field(ReaderArgument& a) { fields(a.name, a.value); }
  void field(DataEntry& d) { fields(d.split, d.input, d.reader, d.path, d.arguments); }
  void field(Target& t) { fields(t.metric, t.comparison, t.threshold); }
  void field(LearningRate& l) { fields(l.state, l.value); }
  void field(TrainSettings& s) {
    fields(s.batch, s.epochs, s.seed, s.shuffle, s.last, s.target, s.time_limit, s.patience,
           s.eval_every, s.learning_rate);
  }
  void field(JobTable& j) {
    fields(j.model_name, j.model_text, j.programs, j.inputs, j.data, j.settings);
  }
  void field(CodeVariant& v) { fields(v.name, v.features); }

  std::string bytes_;
  std::string_view rest_;
  bool good_ = true;
};

int64_t checksum(std::string_view bytes) {
  return static_cast<int64_t>(
      crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

}  // namespace

std::string shipped_bytes(const ShippedJob& job) {
  ShippedJob copy = job;
  Transfer<false> body;
  body.fields(copy.table, copy.variants);
  Transfer<false> head;
  int64_t format = version;
  int64_t sum = checksum(body.bytes());
  head.fields(format, sum);
  return std::string(magic) + head.bytes() + body.bytes();
}

Expected<ShippedJob> read_shipped_job(std::string_view bytes) {
  const auto fail = [](std::string_view why) {
    return Failure{ExitCode::device,
                   fmt::format("this trainer's file is damaged ({}); copy it again", why),
                   {}};
  };
  if (!bytes.starts_with(magic)) return fail("no job in it");
  Transfer<true> head(bytes.substr(magic.size()));
  int64_t format = 0;
  int64_t sum = 0;
  head.fields(format, sum);
  if (!head.good() || format != version) return fail("the job is of another version");
  if (checksum(head.rest()) != sum) return fail("the job's checksum differs");
  Transfer<true> body(head.rest());
  ShippedJob job;
  body.fields(job.table, job.variants);
  if (!body.good() || !body.rest().empty() || job.variants.empty()) {
    return fail("the job does not end where it should");
  }
  return job;
}

size_t kernel_count(const JobTable& table) {
  size_t count = 0;
  for (const ProgramTable& program : table.programs) {
    for (const LaunchEntry& launch : program.launches) count += launch.kernels.size();
  }
  return count;
}

void set_functions(JobTable& table, std::span<const KernelFunction> functions) {
  RUNTIME_CHECK(functions.size() == kernel_count(table), "{} functions for {} kernels",
                functions.size(), kernel_count(table));
  size_t next = 0;
  for (ProgramTable& program : table.programs) {
    for (LaunchEntry& launch : program.launches) {
      for (KernelEntry& kernel : launch.kernels) kernel.function = functions[next++];
    }
  }
}

}  // namespace fusegrad::runtime
