// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Random scalar expressions over the tensors that a program has so far. Used by random_program.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "ir/linear_form.h"
#include "ir/tensor/program.h"
#include "tests/support/random_program.h"

namespace fusegrad::test {

/// Draws indices, conditions and values for one statement after the other. Indices in range are
/// chosen with their interval in hand; what may leave gets an `else`.
class RandomExpressions {
 public:
  struct Tensor {
    std::string name;
    ir::ScalarType type = ir::ScalarType::f32;
    ir::Shape shape;
    int64_t values = 0;  ///< of integers: 0..values
    bool moves = false;  ///< depends on a parameter
  };

  RandomExpressions(uint64_t seed, const RandomProgramOptions& options)
      : engine_(seed), options_(options) {}

  // ---- Numbers.
  int below(int n) { return static_cast<int>(engine_() % static_cast<uint64_t>(n)); }
  bool chance(int percent) { return below(100) < percent; }
  template <typename T>
  const T& any_of(const std::vector<T>& items) {
    return items[static_cast<size_t>(below(static_cast<int>(items.size())))];
  }
  template <typename T>
  T pick(std::initializer_list<T> items) {
    return *(items.begin() + below(static_cast<int>(items.size())));
  }
  ir::Extent rows(int64_t factor = 1) { return ir::Extent::of_rows(options_.batch, factor); }
  ir::Extent size();
  ir::ExprRef real(double value) const { return ir::make_real(value, options_.real); }

  // ---- What can be read.
  void add(Tensor tensor) { tensors_.push_back(std::move(tensor)); }
  const std::vector<Tensor>& tensors() const { return tensors_; }
  /// Tensors that some expression reads.
  std::set<std::string> used;
  /// Whether a parameter moves what was drawn since this was set to false.
  bool moves = false;

  // ---- One statement.
  void set_scope(const std::vector<ir::IndexRange>& left,
                 const std::vector<ir::IndexRange>& binders);
  bool has_indices() const { return !scope_.empty(); }
  /// A linear combination of some indices; needs has_indices().
  ir::ExprRef linear();
  /// The position in the flattened space of two or three indices: what a reshape reads.
  ir::ExprRef flattened();
  /// A condition that no parameter can change.
  ir::ExprRef condition();
  ir::ExprRef expression(int depth);
  /// A product of two reads, as contractions have it.
  ir::ExprRef product();

 private:
  bool inside(const ir::ExprRef& index, ir::Extent extent);
  const ir::IndexRange& any_index() { return any_of(scope_); }
  ir::ExprRef gathered();
  ir::ExprRef plain(ir::Extent extent);
  ir::ExprRef index_for(ir::Extent extent);
  ir::ExprRef read(const Tensor& tensor);
  const Tensor& any_real();
  ir::ExprRef read_real();
  ir::ExprRef read_other();
  ir::ExprRef scalar();
  ir::ExprRef random_number();
  ir::ExprRef smooth(const ir::ExprRef& e);
  ir::ExprRef marked(const ir::ExprRef& e);

  std::mt19937_64 engine_;
  RandomProgramOptions options_;
  std::vector<Tensor> tensors_;
  std::vector<ir::IndexRange> left_;
  std::vector<ir::IndexRange> scope_;
  ir::IndexRanges ranges_;
  int64_t next_stream_ = 1;
};

}  // namespace fusegrad::test
