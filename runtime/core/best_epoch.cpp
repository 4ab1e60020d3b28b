// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// States are kept with the weights: running means belong to them.
#include "runtime/core/best_epoch.h"

#include <algorithm>

namespace fusegrad::runtime {

bool BestEpoch::judge(const Session& session, int64_t epoch, double loss) {
  if (epoch_ != 0 && !(loss < loss_)) return false;
  epoch_ = epoch;
  loss_ = loss;
  kept_.clear();
  if (!keeps_weights_) return true;
  for (const NamedBuffer& buffer : session.run_buffers()) {
    kept_.emplace_back(buffer.data, buffer.data + memory_bytes(buffer));
  }
  return true;
}

void BestEpoch::restore_history(int64_t epoch, double loss,
                                std::vector<std::vector<std::byte>> kept) {
  epoch_ = epoch;
  loss_ = loss;
  kept_ = std::move(kept);
}

void BestEpoch::restore(const Session& session) const {
  const std::vector<NamedBuffer> buffers = session.run_buffers();
  RUNTIME_CHECK(buffers.size() == kept_.size(), "{} buffers, {} kept", buffers.size(),
                kept_.size());
  for (size_t i = 0; i < buffers.size(); ++i) {
    std::copy(kept_[i].begin(), kept_[i].end(), buffers[i].data);
  }
}

}  // namespace fusegrad::runtime
