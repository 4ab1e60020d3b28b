// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The epoch with the lowest loss, and its weights for those who want them back.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/core/session.h"

namespace fusegrad::runtime {

class BestEpoch {
 public:
  /// With `keeps_weights` judge() copies parameters and states.
  explicit BestEpoch(bool keeps_weights) : keeps_weights_(keeps_weights) {}

  /// True if the loss is the lowest so far.
  bool judge(const Session& session, int64_t epoch, double loss);
  /// What judge() found in an earlier part of the run. `kept` is empty, or holds for each buffer of
  /// Session::run_buffers its bytes in memory.
  void restore_history(int64_t epoch, double loss, std::vector<std::vector<std::byte>> kept);
  /// Puts the kept weights back.
  void restore(const Session& session) const;

  bool keeps_weights() const { return keeps_weights_; }
  int64_t epoch() const { return epoch_; }
  double loss() const { return loss_; }
  /// In the order of Session::run_buffers; empty while there are none.
  const std::vector<std::vector<std::byte>>& kept() const { return kept_; }

 private:
  bool keeps_weights_;
  int64_t epoch_ = 0;
  double loss_ = 0;
  std::vector<std::vector<std::byte>> kept_;
};

}  // namespace fusegrad::runtime
