// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The stages from L to code in memory, each timed, and the linking of finished objects with
// JITLink.
#include "runtime/jit/llvm/compile.h"

#include <llvm/ExecutionEngine/Orc/Core.h>
#include <llvm/ExecutionEngine/Orc/ExecutorProcessControl.h>
#include <llvm/ExecutionEngine/Orc/MapperJITLinkMemoryManager.h>
#include <llvm/ExecutionEngine/Orc/MemoryMapper.h>
#include <llvm/ExecutionEngine/Orc/ObjectLinkingLayer.h>
#include <llvm/ExecutionEngine/Orc/TaskDispatch.h>
#include <llvm/Support/MemoryBuffer.h>

#include <chrono>
#include <cmath>
#include <cstring>
#include <utility>

#include "codegen/cpu/emit_llvm.h"
#include "codegen/cpu/llvm_state.h"
#include "codegen/cpu/object.h"
#include "codegen/cpu/optimize.h"
#include "ir/support/check.h"

namespace fusegrad::runtime {
namespace {

namespace orc = llvm::orc;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Error failure(std::string_view what, llvm::Error error) {
  return Error{fmt::format("{}: {}", what, llvm::toString(std::move(error)))};
}

/// One object in memory of its own: text, constants and jump tables of a program lie in one
/// reservation, near enough for small-model relocations however large the process is; written
/// first, then made executable and read-only.
class LoadedObject {
 public:
  static Result<std::unique_ptr<LoadedObject>> load(const std::vector<char>& object,
                                                    const std::vector<std::string>& symbols) {
    constexpr size_t reservation_granularity = size_t{1} << 16;
    auto memory = orc::MapperJITLinkMemoryManager::CreateWithMapper<orc::InProcessMemoryMapper>(
        reservation_granularity);
    if (!memory) return failure("no memory for generated code", memory.takeError());
    // Linking happens in this thread: a pool of threads would cost more than the work.
    auto process = orc::SelfExecutorProcessControl::Create(
        nullptr, std::make_unique<orc::InPlaceTaskDispatcher>(), std::move(*memory));
    if (!process) return failure("cannot set up linking", process.takeError());

    std::unique_ptr<LoadedObject> loaded(new LoadedObject(std::move(*process)));
    orc::ExecutionSession& session = loaded->session_;
    // The first thing reported is the cause; what the calls below return only says that linking
    // failed.
    session.setErrorReporter([object = loaded.get()](llvm::Error error) {
      std::string text = llvm::toString(std::move(error));
      if (object->cause_.empty()) object->cause_ = std::move(text);
    });
    auto library = session.createJITDylib("program");
    if (!library) return failure("cannot set up linking", library.takeError());
    if (llvm::Error error = library->define(orc::absoluteSymbols(support_functions(session)))) {
      return failure("cannot define the support functions", std::move(error));
    }
    auto copy = llvm::MemoryBuffer::getMemBufferCopy(llvm::StringRef(object.data(), object.size()),
                                                     "program");
    if (llvm::Error error = loaded->layer_.add(*library, std::move(copy))) {
      return failure("cannot add the generated code", std::move(error));
    }
    orc::SymbolLookupSet wanted;
    for (const std::string& symbol : symbols) wanted.add(session.intern(symbol));
    auto found = session.lookup(orc::makeJITDylibSearchOrder(&*library), std::move(wanted));
    if (!found) {
      Error error = failure("cannot load the generated code", found.takeError());
      if (!loaded->cause_.empty()) error.message += " (" + loaded->cause_ + ")";
      return error;
    }
    for (const std::string& symbol : symbols) {
      loaded->functions_.push_back(
          found->at(session.intern(symbol)).getAddress().toPtr<KernelFunction>());
    }
    return loaded;
  }

  ~LoadedObject() { llvm::consumeError(session_.endSession()); }
  LoadedObject(const LoadedObject&) = delete;
  LoadedObject& operator=(const LoadedObject&) = delete;

  const std::vector<KernelFunction>& functions() const { return functions_; }

 private:
  explicit LoadedObject(std::unique_ptr<orc::ExecutorProcessControl> process)
      : session_(std::move(process)), layer_(session_) {}

  /// What LLVM calls where the instruction set lacks an operation. All of these are exact, so the
  /// bits do not depend on who implements them.
  static orc::SymbolMap support_functions(orc::ExecutionSession& session) {
    orc::SymbolMap map;
    auto add = [&](const char* name, auto* function) {
      map[session.intern(name)] = {orc::ExecutorAddr::fromPtr(function),
                                   llvm::JITSymbolFlags::Exported | llvm::JITSymbolFlags::Callable};
    };
    add("fma", static_cast<double (*)(double, double, double)>(&::fma));
    add("fmaf", &::fmaf);
    add("floor", static_cast<double (*)(double)>(&::floor));
    add("floorf", &::floorf);
    add("memcpy", &::memcpy);
    add("memset", &::memset);
    return map;
  }

  std::string cause_;
  orc::ExecutionSession session_;
  orc::ObjectLinkingLayer layer_;
  std::vector<KernelFunction> functions_;
};

/// Code in this process, and how to read it.
struct LoadedCode : CompiledProgram::State {
  codegen::CpuTarget target;
  std::unique_ptr<LoadedObject> loaded;

  std::string assembly() const override { return codegen::disassemble(object, target); }
};

}  // namespace

Result<CompiledProgram> compile(const ir::LoopProgram& program, const JitOptions& options) {
  using Clock = std::chrono::steady_clock;
  auto state = std::make_unique<LoadedCode>();
  state->target = options.target ? *options.target : codegen::host_target();
  state->buffer_names = codegen::buffer_table(program);

  Clock::time_point start = Clock::now();
  codegen::LlvmModule module =
      codegen::emit_llvm(program, state->buffer_names, state->target,
                         {.value_names = options.keep_text, .symbol_prefix = ""});
  state->seconds.emit = seconds_since(start);
  if (options.keep_text) state->llvm_text = module.text();

  start = Clock::now();
  std::string_view passes = options.passes ? *options.passes : codegen::default_passes();
  if (!passes.empty()) codegen::optimize(module, passes);
  state->seconds.optimize = seconds_since(start);
  if (options.keep_text) state->optimized_llvm_text = module.text();

  start = Clock::now();
  state->object = codegen::generate_object(module);
  state->seconds.codegen = seconds_since(start);

  start = Clock::now();
  std::vector<std::string> symbols = codegen::symbol_names(program);
  auto loaded = LoadedObject::load(state->object, symbols);
  if (!loaded) return loaded.error();
  state->loaded = std::move(*loaded);
  for (size_t i = 0; i < symbols.size(); ++i) {
    bool fresh =
        state->functions.emplace(program.functions[i].name, state->loaded->functions()[i]).second;
    FG_CHECK(fresh, "two functions `{}`", program.functions[i].name);
  }
  state->seconds.link = seconds_since(start);
  return CompiledProgram(std::move(state));
}

}  // namespace fusegrad::runtime
