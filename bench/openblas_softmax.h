// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The peer of W1: softmax regression as a C++ programmer writes it on top of a BLAS.
#pragma once

#include <cstdint>
#include <vector>

#include "bench/idx_images.h"

namespace fusegrad::bench {

struct EpochMeans {
  double loss = 0.0;      ///< mean cross-entropy, each batch measured before its update
  double accuracy = 0.0;  ///< likewise; the first of equal logits counts as the answer
};

/// Plain SGD from zero weights, batch after batch in file order; the last, short batch is kept.
/// A step is two sgemm calls: logits, and the weight update with the gradient folded into beta = 1.
class OpenblasSoftmax {
 public:
  /// Pixels are converted to f32 and divided by 255 here, once.
  OpenblasSoftmax(const LabelledImages& data, float learning_rate);

  EpochMeans train_epoch();

 private:
  static constexpr int64_t classes = 10;
  static constexpr int64_t batch = 128;

  /// Bias, softmax, loss, accuracy and the gradient of the logits, for the first `rows` columns.
  void finish_forward(const uint8_t* labels, int64_t rows);

  int64_t count_;
  int64_t pixels_;
  float learning_rate_;
  std::vector<float> images_;    ///< [count, pixels]
  std::vector<uint8_t> labels_;  ///< [count]
  std::vector<float> weights_;   ///< [classes, pixels]
  std::vector<float> bias_;      ///< [classes]
  std::vector<float> logits_;    ///< [classes, batch]; its gradient after finish_forward
  double loss_sum_ = 0.0;
  int64_t correct_ = 0;
};

}  // namespace fusegrad::bench
