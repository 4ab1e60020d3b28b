// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Stages as text: for `emit`, and for the dump folder.
#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "driver/compile.h"
#include "frontend/ast_print.h"
#include "ir/kernel/print.h"
#include "ir/loop/print.h"
#include "ir/tensor/print.h"

namespace fusegrad::driver {
namespace {

/// The module with the chosen program only; the whole one for "".
template <typename Module>
Module selected(const Module& module, const std::string& program) {
  if (program.empty()) return module;
  Module result;
  for (const auto& candidate : module.programs) {
    if (candidate.name == program) result.programs.push_back(candidate);
  }
  return result;
}

std::string machine_text(const Compilation& compilation, Stage stage, const std::string& program) {
  std::string text;
  for (size_t i = 0; i < compilation.code.programs.size(); ++i) {
    const std::string& name = compilation.code.table.programs[i].name;
    if (!program.empty() && name != program) continue;
    const runtime::CompiledProgram& code = compilation.code.programs[i];
    if (program.empty()) text += fmt::format("; program {}\n", name);
    text += stage == Stage::llvm       ? code.llvm_text()
            : stage == Stage::llvm_opt ? code.optimized_llvm_text()
                                       : code.assembly();
  }
  return text;
}

std::string write_file(const std::filesystem::path& path, const std::string& text) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) return fmt::format("{}: {}", path.string(), std::strerror(errno));
  bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  int write_error = errno;
  if (std::fclose(file) != 0 && written) {
    written = false;
    write_error = errno;
  }
  return written ? "" : fmt::format("{}: {}", path.string(), std::strerror(write_error));
}

}  // namespace

std::string stage_text(const Compilation& compilation, Stage stage, const std::string& program) {
  switch (stage) {
    case Stage::ast:
      return frontend::print(compilation.ast);
    case Stage::tensor:
      return ir::print(selected(compilation.tensor, program), "tensor");
    case Stage::tensor_grad:
      return ir::print(selected(compilation.tensor_grad, program), "tensor.grad");
    case Stage::tensor_opt:
      return ir::print(selected(compilation.tensor_opt, program), "tensor.opt");
    case Stage::kernels:
      return ir::print(selected(compilation.kernels, program));
    case Stage::loops:
      return ir::print(selected(compilation.loops, program));
    case Stage::llvm:
    case Stage::llvm_opt:
    case Stage::assembly:
      return machine_text(compilation, stage, program);
  }
  return "";
}

std::string fusion_remarks(const Compilation& compilation, const SourceManager& sources,
                           const std::string& program) {
  std::string text;
  auto place = [&](const Span& origin) -> std::string {
    if (!origin.valid()) return "";
    LineColumn at = sources.position(origin.file, origin.begin);
    return fmt::format(" ({}:{}:{})", sources.name(origin.file), at.line, at.column);
  };
  for (const auto& [name, remarks] : compilation.save_remarks) {
    if (!program.empty() && name != program) continue;
    for (const ir::SaveRemark& remark : remarks) {
      text +=
          fmt::format("{}: {} for backward: {}: {}{}\n", name, remark.tensor,
                      remark.stored ? "stored" : "not stored", remark.reason, place(remark.origin));
    }
  }
  for (const ir::KernelProgram& candidate : compilation.kernels.programs) {
    if (!program.empty() && candidate.name != program) continue;
    for (const ir::FusionRemark& remark : candidate.remarks) {
      text +=
          fmt::format("{}: {} -> {}: {}: {}{}\n", candidate.name, remark.producer, remark.consumer,
                      remark.fused ? "fused" : "not fused", remark.reason, place(remark.origin));
    }
  }
  return text;
}

std::string dump_stages(const Compilation& compilation, const Messages& messages,
                        const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return fmt::format("{}: {}", folder, error.message());
  auto write = [&](std::string_view name, const std::string& text) {
    return write_file(std::filesystem::path(folder) / name, text);
  };
  if (std::string failed = write("00-source.fg", std::string(messages.sources.text(0)));
      !failed.empty())
    return failed;
  for (const StageName& stage : stage_names) {
    std::string text = stage_text(compilation, stage.stage, "");
    if (text.empty()) continue;
    std::string extension = stage.stage == Stage::ast        ? ".fg"
                            : stage.stage == Stage::assembly ? ".s"
                            : stage.stage >= Stage::llvm     ? ".ll"
                                                             : ".txt";
    if (std::string failed = write(std::string(stage.dump_file) + extension, text); !failed.empty())
      return failed;
  }
  return write("31-fusion.txt", fusion_remarks(compilation, messages.sources, ""));
}

}  // namespace fusegrad::driver
