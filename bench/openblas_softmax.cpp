// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Classes are the slow dimension of weights and logits: with weights [784, 10] OpenBLAS takes a
// third longer for the update (and as long for the logits), and the loops over a batch below
// vectorise this way.
#include "bench/openblas_softmax.h"

#include <cblas.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <iterator>
#include <numeric>

namespace fusegrad::bench {
namespace {

/// e^x for x in [-87, 0], to about 2 ulp. Inline and free of branches, so that loops over it
/// vectorise.
inline float exp_of(float x) {
  x = std::max(x, -87.0f);
  const float n = std::nearbyint(x * 1.44269504f);
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  const float power = std::bit_cast<float>((static_cast<int32_t>(n) + 127) << 23);
  return (p * r * r + r + 1.0f) * power;
}

/// Natural logarithm for normal x > 0, to about 2 ulp (the polynomial of Cephes).
inline float log_of(float x) {
  const auto bits = std::bit_cast<int32_t>(x);
  const int32_t shifted = bits - 0x3f3504f3;  // so that the mantissa lies in [sqrt(1/2), sqrt(2))
  const auto exponent = static_cast<float>(shifted >> 23);
  const float m = std::bit_cast<float>((shifted & 0x007fffff) + 0x3f3504f3) - 1.0f;
  float p = 7.0376836292e-2f;
  p = p * m - 1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f;
  p = p * m - 1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f;
  p = p * m - 1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f;
  p = p * m - 2.4999993993e-1f;
  p = p * m + 3.3333331174e-1f;
  const float square = m * m;
  return p * m * square - 0.5f * square + m + exponent * 0.693147181f;
}

}  // namespace

OpenblasSoftmax::OpenblasSoftmax(const LabelledImages& data, float learning_rate)
    : count_(data.count),
      pixels_(data.pixels),
      learning_rate_(learning_rate),
      images_(data.images.size()),
      labels_(data.labels),
      weights_(static_cast<size_t>(classes * data.pixels)),
      bias_(classes),
      logits_(classes * batch) {
  std::ranges::transform(data.images, images_.begin(),
                         [](uint8_t pixel) { return static_cast<float>(pixel) / 255.0f; });
}

EpochMeans OpenblasSoftmax::train_epoch() {
  loss_sum_ = 0.0;
  correct_ = 0;
  const int pixels = static_cast<int>(pixels_);
  for (int64_t begin = 0; begin < count_; begin += batch) {
    const int rows = static_cast<int>(std::min(batch, count_ - begin));
    const float* images = images_.data() + begin * pixels_;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, classes, rows, pixels, 1.0f,
                weights_.data(), pixels, images, pixels, 0.0f, logits_.data(), batch);
    finish_forward(labels_.data() + begin, rows);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, classes, pixels, rows, -learning_rate_,
                logits_.data(), batch, images, pixels, 1.0f, weights_.data(), pixels);
  }
  const auto count = static_cast<double>(count_);
  return {loss_sum_ / count, static_cast<double>(correct_) / count};
}

void OpenblasSoftmax::finish_forward(const uint8_t* labels, int64_t rows) {
  // Whole batches go through the loops, with what was there before in the columns of a short one:
  // fixed trip counts vectorise without a remainder. Only sums look at `rows`.
  float* logits = logits_.data();
  alignas(64) float largest[batch];
  alignas(64) int32_t answer[batch];
  alignas(64) float label_logit[batch];
  alignas(64) float sum[batch];
  alignas(64) int32_t label[batch] = {};
  alignas(64) float loss[batch];
  std::copy(labels, labels + rows, label);

  for (int64_t b = 0; b < batch; ++b) {
    largest[b] = -INFINITY;
    answer[b] = 0;
    label_logit[b] = 0.0f;
    sum[b] = 0.0f;
  }
  for (int32_t k = 0; k < classes; ++k) {
    float* row = logits + k * batch;
    const float bias = bias_[static_cast<size_t>(k)];
    for (int64_t b = 0; b < batch; ++b) {
      const float value = row[b] + bias;
      row[b] = value;
      answer[b] = value > largest[b] ? k : answer[b];
      largest[b] = value > largest[b] ? value : largest[b];
      label_logit[b] = label[b] == k ? value : label_logit[b];
    }
  }
  for (int64_t k = 0; k < classes; ++k) {
    float* row = logits + k * batch;
    for (int64_t b = 0; b < batch; ++b) {
      const float value = exp_of(row[b] - largest[b]);
      row[b] = value;
      sum[b] += value;
    }
  }
  for (int64_t b = 0; b < batch; ++b) loss[b] = log_of(sum[b]) - (label_logit[b] - largest[b]);
  for (int64_t b = 0; b < rows; ++b) {
    loss_sum_ += static_cast<double>(loss[b]);
    correct_ += answer[b] == label[b];
  }

  const float share = 1.0f / static_cast<float>(rows);
  for (int64_t b = 0; b < batch; ++b) sum[b] = share / sum[b];
  for (int32_t k = 0; k < classes; ++k) {
    float* row = logits + k * batch;
    for (int64_t b = 0; b < batch; ++b) {
      const float gradient = row[b] * sum[b] - (label[b] == k ? share : 0.0f);
      row[b] = b < rows ? gradient : 0.0f;
    }
    constexpr int64_t lanes = 16;
    float partial[lanes] = {};
    for (int64_t b = 0; b < batch; b += lanes) {
      for (int64_t lane = 0; lane < lanes; ++lane) partial[lane] += row[b + lane];
    }
    bias_[static_cast<size_t>(k)] -=
        learning_rate_ * std::accumulate(std::begin(partial), std::end(partial), 0.0f);
  }
}

}  // namespace fusegrad::bench
