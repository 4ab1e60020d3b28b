// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// build: compile as `train` does, write objects instead of running, link.
#include <fmt/format.h>

#include <filesystem>
#include <optional>
#include <utility>

#include "driver/commands.h"
#include "driver/compile.h"
#include "driver/job_settings.h"
#include "driver/library_text.h"
#include "driver/link_trainer.h"
#include "driver/model_messages.h"
#include "runtime/core/cpu_features.h"
#include "runtime/core/exit_codes.h"
#include "runtime/core/file.h"
#include "runtime/core/replace_file.h"
#include "runtime/jit/trainer_objects.h"

namespace fusegrad::driver {
namespace {

using runtime::CodeVariant;
using runtime::ExitCode;
using runtime::Failure;

/// Every x86-64 processor of the last ten years has it, and with it vectors of 8 and FMA.
constexpr const char* default_level = "x86-64-v3";

runtime::Expected<std::vector<CodeVariant>> variants_for(std::vector<std::string> names) {
  if (names.empty()) {
    names.emplace_back(runtime::features_of_level(default_level) ? default_level : "native");
  }
  std::vector<CodeVariant> variants;
  for (const std::string& name : names) {
    if (name == "native") {
      variants.push_back({name, runtime::features_of(runtime::this_cpu())});
      continue;
    }
    auto features = runtime::features_of_level(name);
    if (!features) {
      return Failure{
          ExitCode::usage,
          fmt::format("--target-cpu: {} is not known here; known are native, and on x86-64 "
                      "machines x86-64, x86-64-v2, x86-64-v3 and x86-64-v4",
                      runtime::quoted(name)),
          {}};
    }
    variants.push_back({name, std::move(*features)});
  }
  return variants;
}

/// `libNAME.so` has `NAME.h` beside it and, as the linker wants the name, `NAME.pc`.
runtime::Expected<runtime::Unit> build_library(const runtime::TrainerObjects& objects,
                                               const std::string& output) {
  const std::filesystem::path path(output);
  std::string name = path.stem().string();
  const bool is_usual = name.starts_with("lib") && name.size() > 3 && path.extension() == ".so";
  if (is_usual) name = name.substr(3);
  const std::filesystem::path header = path.parent_path() / (name + ".h");
  std::vector<std::pair<std::filesystem::path, std::string>> texts = {
      {header, library_header(objects.table)}};
  if (is_usual) {
    texts.emplace_back(path.parent_path() / (name + ".pc"),
                       library_pkg_config(objects.table, name));
  }
  auto linked = link_library(objects.objects, library_stub(objects.table, runtime::job_symbol),
                             c_name(objects.table.model_name), output);
  if (!linked) return linked;
  for (const auto& [file, text] : texts) {
    const auto failed = runtime::replace_file(
        file.string(), [&](int descriptor) { return runtime::write_all(descriptor, text); });
    if (failed) {
      return Failure{ExitCode::usage,
                     fmt::format("cannot write {}: {}", runtime::quoted(file.string()), *failed),
                     {}};
    }
  }
  return runtime::Unit{};
}

}  // namespace

int build(const BuildCommand& command) {
  auto variants = variants_for(command.targets);
  if (!variants) return report_failure(variants.error());
  if (runtime::same_file(command.output, command.model.path)) {
    return report_failure({ExitCode::usage,
                           fmt::format("the trainer would be written over the model file {}",
                                       runtime::quoted(command.model.path)),
                           {}});
  }
  Messages messages;
  CompileRequest request = request_for(command.model);
  request.until = Stage::loops;
  std::optional<Compilation> compilation = compile(request, messages);
  report_messages(messages);
  if (!compilation) return messages.exit_code;
  auto objects =
      runtime::build_trainer_objects(compilation->loops,
                                     job_settings(compilation->job, command.model.path,
                                                  messages.sources.text(compilation->model_file)),
                                     *variants);
  if (!objects) return report_failure({ExitCode::device, objects.error().message, {}});
  auto linked = command.kind == "shared" ? build_library(*objects, command.output)
                                         : link_trainer(objects->objects, command.output);
  if (!linked) return report_failure(linked.error());
  return ExitCode::done;
}

}  // namespace fusegrad::driver
