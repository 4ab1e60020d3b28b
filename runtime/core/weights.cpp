// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Between a session's memory and the tensors of a file.
#include <algorithm>

#include "runtime/core/exit_codes.h"
#include "runtime/core/safetensors.h"
#include "runtime/core/tensor_differences.h"

namespace fusegrad::runtime {

NamedTensor tensor_of(const NamedBuffer& buffer) {
  return {buffer.name, buffer.element, buffer.layout.shape, natural_elements(buffer)};
}

std::vector<NamedTensor> parameters_of(const Session& session) {
  std::vector<NamedTensor> tensors;
  for (const NamedBuffer& buffer : session.weights()) tensors.push_back(tensor_of(buffer));
  return tensors;
}

Expected<Unit> restore_parameters(const WeightsFile& weights, Session& session) {
  std::vector<TensorType> expected;
  std::vector<TensorType> found;
  const std::vector<NamedBuffer> buffers = session.weights();
  for (const NamedBuffer& buffer : buffers) {
    expected.push_back({buffer.name, buffer.element, buffer.layout.shape});
  }
  for (const NamedTensor& tensor : weights.tensors) {
    found.push_back({tensor.name, tensor.element, tensor.shape});
  }
  // A checkpoint has the states of the optimizer too.
  const bool is_checkpoint = weights.metadata.contains(checkpoint_key);
  if (auto differences = tensor_differences(expected, found, is_checkpoint)) {
    return Failure{ExitCode::checkpoint, "the weights do not fit the model:" + *differences, {}};
  }
  for (const NamedBuffer& buffer : buffers) {
    store_natural_elements(buffer, weights.find(buffer.name)->bytes);
  }
  return Unit{};
}

}  // namespace fusegrad::runtime
