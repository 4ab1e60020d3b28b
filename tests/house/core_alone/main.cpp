// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A trainer as it is shipped: kernels written by hand, linked with runtime/core and nothing else of
// the project. That this program links is half of the test; that it trains, with no LLVM in the
// process, is the other half.
#include <fmt/format.h>
#include <link.h>

#include <cstdio>
#include <cstring>
#include <string>

#include "runtime/core/train.h"
#include "tests/runtime/linear_job.h"

namespace {

/// The file of a loaded library whose name contains "LLVM", or "".
std::string loaded_llvm() {
  std::string found;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* result) {
        if (std::strstr(info->dlpi_name, "LLVM") != nullptr) {
          *static_cast<std::string*>(result) = info->dlpi_name;
        }
        return 0;
      },
      &found);
  return found;
}

int fail(const std::string& message) {
  fmt::print(stderr, "{}\n", message);
  return 1;
}

}  // namespace

int main() {
  using namespace fusegrad::runtime;
  if (const std::string library = loaded_llvm(); !library.empty()) {
    return fail("runtime/core brings in " + library);
  }

  constexpr int64_t samples = 50;
  TrainSettings settings;
  settings.batch = 8;
  settings.epochs = 5;
  settings.last = LastBatch::keep;
  Dataset dataset;
  dataset.splits.push_back(LinearData(samples).split());
  TrainOptions options;
  options.threads = 2;
  options.display.quiet = true;
  const Expected<TrainOutcome> outcome = train(linear_job(settings, samples), dataset, options);
  if (!outcome) return fail(render(outcome.error()));

  if (outcome->epochs.size() != 5) return fail("an epoch is missing");
  const double first = outcome->epochs.front().loss;
  const double last = outcome->epochs.back().loss;
  if (!(last < 0.5 * first)) return fail(fmt::format("the loss went from {} to {}", first, last));
  fmt::print("loss {:.4f} -> {:.4f}\n", first, last);
  return 0;
}
