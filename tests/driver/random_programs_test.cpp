// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Random programs through every level: T's f64 evaluator, K's, L's f32 evaluator and machine code.
// Machine code equals L bit for bit; L stays within the computed error bound of T; K in f64 equals
// simplified T in f64.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "ir/kernel/evaluate.h"
#include "ir/kernel/print.h"
#include "ir/kernel/verify.h"
#include "ir/loop/evaluate.h"
#include "ir/loop/print.h"
#include "ir/loop/verify.h"
#include "ir/passes/passes.h"
#include "ir/tensor/print.h"
#include "ir/tensor/verify.h"
#include "runtime/jit/job_builder.h"
#include "tests/support/error_bound.h"
#include "tests/support/random_statements.h"

namespace fusegrad::test {
namespace {

using namespace ir;

void put(std::span<std::byte> bytes, const Buffer& buffer, const TensorValue& value) {
  runtime::Layout layout;
  bool input = buffer.kind == BufferKind::input;
  for (const Extent& extent : buffer.shape) layout.shape.push_back(extent.maximum);
  if (buffer.packed_dimension >= 0) {
    layout.blocked_dimension = buffer.packed_dimension;
    layout.block = buffer.packed_block;
  }
  for (int64_t i = 0; i < value.elements(); ++i) {
    // Inputs lead with rows, so fewer rows than the batch are a prefix.
    int64_t at = input ? i : layout.physical_position(i);
    std::byte* target = bytes.data() + at * byte_size(buffer.type);
    auto n = static_cast<size_t>(i);
    if (buffer.type == ScalarType::f32) {
      auto real = static_cast<float>(value.reals[n]);
      std::memcpy(target, &real, sizeof real);
    } else if (buffer.type == ScalarType::i32) {
      auto integer = static_cast<int32_t>(value.integers[n]);
      std::memcpy(target, &integer, sizeof integer);
    } else {
      *target = static_cast<std::byte>(value.integers[n]);
    }
  }
}

std::vector<double> get(std::span<const std::byte> bytes, const Buffer& buffer, int64_t rows) {
  runtime::Layout layout;
  for (const Extent& extent : buffer.shape) layout.shape.push_back(extent.maximum);
  if (buffer.packed_dimension >= 0) {
    layout.blocked_dimension = buffer.packed_dimension;
    layout.block = buffer.packed_block;
  }
  std::vector<double> values;
  std::vector<int64_t> sizes = sizes_at(buffer.shape, rows);
  int64_t count = 1;
  for (int64_t size : sizes) count *= size;
  for (int64_t i = 0; i < count; ++i) {
    // From the position among the actual rows to the one at the full batch.
    int64_t rest = i;
    int64_t natural = 0;
    int64_t stride = 1;
    for (size_t d = sizes.size(); d-- > 0;) {
      natural += rest % sizes[d] * stride;
      rest /= sizes[d];
      stride *= buffer.shape[d].maximum;
    }
    const std::byte* source =
        bytes.data() + layout.physical_position(natural) * byte_size(buffer.type);
    if (buffer.type == ScalarType::f32) {
      float real = 0;
      std::memcpy(&real, source, sizeof real);
      values.push_back(real);
    } else if (buffer.type == ScalarType::i32) {
      int32_t integer = 0;
      std::memcpy(&integer, source, sizeof integer);
      values.push_back(integer);
    } else {
      values.push_back(static_cast<double>(*source));
    }
  }
  return values;
}

void fill(OwnedLoopMemory& memory, const LoopProgram& loops, const TensorValues& values) {
  for (const Buffer& buffer : loops.buffers) {
    auto value = values.find(buffer.name);
    if (value != values.end()) put(memory.bytes(buffer.name), buffer, value->second);
  }
}

/// Memory as the runtime gives it to generated code: every buffer at a multiple of 64 bytes,
/// temporaries in one arena.
class AlignedMemory {
 public:
  AlignedMemory(const LoopProgram& loops, OwnedLoopMemory& initial) {
    std::byte* arena = allocate(loops.arena_bytes);
    for (const Buffer& buffer : loops.buffers) {
      if (buffer.kind == BufferKind::temporary) {
        pointers_[buffer.name] = arena + buffer.offset;
        continue;
      }
      std::span<std::byte> bytes = initial.bytes(buffer.name);
      std::byte* copy = allocate(static_cast<int64_t>(bytes.size()));
      std::memcpy(copy, bytes.data(), bytes.size());
      pointers_[buffer.name] = copy;
    }
  }
  std::byte* at(const std::string& buffer) { return pointers_.at(buffer); }

 private:
  struct Free {
    void operator()(std::byte* bytes) const { std::free(bytes); }
  };
  std::byte* allocate(int64_t bytes) {
    size_t size = (static_cast<size_t>(bytes) + 64 + 63) / 64 * 64;
    blocks_.emplace_back(static_cast<std::byte*>(std::aligned_alloc(64, size)));
    std::memset(blocks_.back().get(), 0, size);
    return blocks_.back().get();
  }
  std::vector<std::unique_ptr<std::byte, Free>> blocks_;
  std::map<std::string, std::byte*> pointers_;
};

void check_seed(uint64_t seed) {
  TensorProgram program = random_statements(seed);
  SCOPED_TRACE("seed " + std::to_string(seed) + "\n" + print(program));
  std::vector<std::string> violations = verify(program);
  ASSERT_TRUE(violations.empty()) << violations[0];
  TensorProgram simple = simplify(program);
  check_verified(simple, "tensor.opt");
  KernelModule kernels;
  kernels.programs.push_back(group(simple));
  kernels = schedule(kernels);
  kernels.programs[0] = plan_memory(kernels.programs[0]);
  check_verified(kernels.programs[0], "kernels");
  LoopProgram lowered = lower_to_loops(kernels.programs[0]);
  check_verified(lowered, "loops", false);
  LoopProgram loops = expand_functions(lowered);
  check_verified(loops, "loops", true);

  auto code = runtime::compile(loops);
  ASSERT_TRUE(code) << code.error().message;

  // A full batch and a short one.
  for (int64_t rows : {program.batch, (program.batch + 1) / 2}) {
    TensorValues values = random_values(program, rows, seed);
    ir::Uniforms uniforms;
    uniforms.rows = rows;
    uniforms.step = 1;
    LoopUniforms loop_uniforms{rows, 1, 0, 0, 0};
    runtime::Uniforms code_uniforms{rows, 1, 0, 0, 0};

    OwnedLoopMemory evaluated(loops);
    fill(evaluated, loops, values);
    LoopEvaluator evaluator(loops);
    Status ran = evaluator.run(evaluated.view(), loop_uniforms, LoopOrder{3, true});
    ASSERT_TRUE(ran) << ran.error().message << "\n" << print(loops);

    OwnedLoopMemory initial(loops);
    fill(initial, loops, values);
    AlignedMemory generated(loops, initial);
    std::vector<void*> pointers;
    for (const std::string& name : code->buffer_names()) {
      pointers.push_back(name == row_list_name ? static_cast<void*>(initial.row_list().data())
                                               : static_cast<void*>(generated.at(name)));
    }
    for (const LoopLaunch& launch : loops.launches) {
      for (const std::string& name : launch.functions) {
        const LoopFunction* function = loops.find_function(name);
        code->function(name)(pointers.data(), &code_uniforms, 0, task_count(*function, rows));
      }
    }
    for (const Buffer& buffer : loops.buffers) {
      if (buffer.kind == BufferKind::temporary) continue;
      auto a = evaluated.bytes(buffer.name);
      ASSERT_EQ(std::memcmp(a.data(), generated.at(buffer.name), a.size()), 0)
          << "machine code and L differ in " << buffer.name << "\n"
          << print(loops);
    }

    std::map<std::string, BoundedTensor> bounds = evaluate_with_bounds(program, values, uniforms);
    auto within_bound = [&](const std::string& tensor, const std::string& buffer) {
      double ratio = worst_ratio(bounds.at(tensor),
                                 get(evaluated.bytes(buffer), *loops.find_buffer(buffer), rows));
      EXPECT_TRUE(ratio <= 1) << buffer << " is " << ratio << " times its bound away\n"
                              << print(simple) << print(kernels.programs[0]);
    };
    for (const TensorResult& result : program.results) {
      for (const KernelResult& stored : loops.results) {
        if (stored.label == result.label) within_bound(result.tensor, stored.buffer);
      }
    }
    for (const TensorUpdate& update : program.updates) within_bound(update.value, update.target);

    // K in f64, kernels of a launch in reverse order and in-place at once, is simplified T in f64.
    TensorValues t = evaluate(simple, values, uniforms, Precision::all_f64);
    TensorValues k = evaluate(kernels.programs[0], values, uniforms, Precision::all_f64);
    for (const KernelResult& result : kernels.programs[0].results) {
      for (const TensorResult& source : simple.results) {
        if (source.label != result.label) continue;
        EXPECT_EQ(t.at(source.tensor).reals.size(), k.at(result.buffer).reals.size());
        for (size_t i = 0; i < t.at(source.tensor).reals.size(); ++i) {
          double a = t.at(source.tensor).reals[i];
          double b = k.at(result.buffer).reals[i];
          ASSERT_TRUE(a == b || (std::isnan(a) && std::isnan(b)))
              << result.buffer << " " << a << " " << b;
        }
        EXPECT_EQ(t.at(source.tensor).integers, k.at(result.buffer).integers);
      }
    }
    for (const TensorUpdate& update : simple.updates) {
      EXPECT_EQ(t.at(update.target).reals, k.at(update.target).reals) << update.target;
    }
  }
}

// 2,000 seeds in all; a sanitizer's build runs a tenth of them.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr uint64_t seeds_per_part = 25;
#else
constexpr uint64_t seeds_per_part = 250;
#endif

class RandomPrograms : public testing::TestWithParam<uint64_t> {};

TEST_P(RandomPrograms, MeanTheSameOnEveryLevel) {
  uint64_t first = GetParam() * seeds_per_part;
  uint64_t last = first + seeds_per_part;
  if (const char* only = std::getenv("FUSEGRAD_SEED")) {
    first = std::strtoull(only, nullptr, 10);
    last = first + 1;
  }
  for (uint64_t seed = first; seed < last; ++seed) {
    check_seed(seed);
    if (testing::Test::HasFailure()) return;  // one program at a time is enough to read
  }
}

// Parts that run side by side.
INSTANTIATE_TEST_SUITE_P(Seeds, RandomPrograms, testing::Range<uint64_t>(0, 8));

}  // namespace
}  // namespace fusegrad::test
