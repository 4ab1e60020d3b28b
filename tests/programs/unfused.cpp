// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Everything is stored, nothing is shared: too simple to be wrong in the ways that fusion can be.
#include "tests/programs/unfused.h"

#include <fmt/format.h>

#include <utility>

namespace fusegrad::test {
namespace {

using namespace ir;

Kernel kernel_of(const TensorStatement& source, Storage storage, const std::string& target,
                 size_t ordinal) {
  Kernel kernel;
  kernel.name = fmt::format("k{}", ordinal);
  kernel.rows = source.indices;
  KernelStatement statement;
  statement.storage = storage;
  statement.name = target;
  for (const IndexRange& index : source.indices) statement.indices.push_back({true, index});
  statement.type = source.type;
  statement.reduction = source.reduction;
  statement.binders = source.binders;
  statement.condition = source.condition;
  statement.value = source.value;
  kernel.statements.push_back(std::move(statement));
  return kernel;
}

Buffer buffer_of(BufferKind kind, const std::string& name, ScalarType type, const Shape& shape) {
  Buffer buffer;
  buffer.kind = kind;
  buffer.name = name;
  buffer.type = type;
  buffer.shape = shape;
  return buffer;
}

TensorStatement copy_of(const TensorProgram& program, const std::string& tensor) {
  TensorStatement copy;
  copy.type = *program.type_of(tensor);
  std::vector<ExprRef> indices;
  const Shape shape = *program.shape_of(tensor);
  for (const Extent& extent : shape) {
    copy.indices.push_back({fmt::format("i{}", indices.size()), 0, extent});
    indices.push_back(make_index(copy.indices.back().name));
  }
  copy.value = make_read(tensor, copy.type, indices);
  return copy;
}

}  // namespace

KernelProgram unfused(const TensorProgram& program) {
  KernelProgram result;
  result.name = program.name;
  result.batch = program.batch;
  result.real = program.real;
  for (const TensorDeclaration& declaration : program.declarations) {
    const BufferKind kind = declaration.kind == TensorKind::input       ? BufferKind::input
                            : declaration.kind == TensorKind::parameter ? BufferKind::parameter
                                                                        : BufferKind::state;
    result.buffers.push_back(
        buffer_of(kind, declaration.name, declaration.type, declaration.shape));
    result.buffers.back().range = declaration.range;
  }
  size_t ordinal = 0;
  for (const TensorStatement& statement : program.statements) {
    result.buffers.push_back(
        buffer_of(BufferKind::temporary, statement.name, statement.type, statement.shape()));
    result.launches.push_back({{kernel_of(statement, Storage::out, statement.name, ordinal++)}});
  }
  Launch results;
  for (const TensorResult& item : program.results) {
    const std::string name = fmt::format("result{}", result.results.size());
    TensorStatement copy = copy_of(program, item.tensor);
    result.buffers.push_back(buffer_of(BufferKind::result, name, copy.type, copy.shape()));
    results.kernels.push_back(kernel_of(copy, Storage::out, name, ordinal++));
    result.results.push_back({item.kind, item.label, name});
  }
  if (!results.kernels.empty()) result.launches.push_back(std::move(results));
  Launch updates;
  for (const TensorUpdate& update : program.updates) {
    updates.kernels.push_back(
        kernel_of(copy_of(program, update.value), Storage::inplace, update.target, ordinal++));
  }
  if (!updates.kernels.empty()) result.launches.push_back(std::move(updates));
  return result;
}

}  // namespace fusegrad::test
