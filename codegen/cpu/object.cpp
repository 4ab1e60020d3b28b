// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Code generation into memory, and the way back: what is shown is disassembled from the bytes that
// run, since a second code generation for text could differ in code model or section.
#include "codegen/cpu/object.h"

#include <llvm/ADT/SmallVector.h>
#include <llvm/IR/LegacyPassManager.h>
#include <llvm/MC/MCAsmInfo.h>
#include <llvm/MC/MCContext.h>
#include <llvm/MC/MCDisassembler/MCDisassembler.h>
#include <llvm/MC/MCInst.h>
#include <llvm/MC/MCInstPrinter.h>
#include <llvm/MC/MCInstrAnalysis.h>
#include <llvm/MC/MCInstrInfo.h>
#include <llvm/MC/MCRegisterInfo.h>
#include <llvm/MC/MCSubtargetInfo.h>
#include <llvm/MC/TargetRegistry.h>
#include <llvm/Object/ELFObjectFile.h>
#include <llvm/Object/ObjectFile.h>
#include <llvm/Support/MemoryBuffer.h>
#include <llvm/Support/raw_ostream.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "codegen/cpu/llvm_state.h"
#include "ir/support/check.h"

namespace fusegrad::codegen {
namespace {

template <typename T>
T expect(llvm::Expected<T> value) {
  if (!value) FG_UNREACHABLE("our own object: {}", llvm::toString(value.takeError()));
  return std::move(*value);
}

/// Reads back one object that generate_object wrote.
class Disassembler {
 public:
  Disassembler(const std::vector<char>& object, const CpuTarget& target)
      : buffer_(llvm::StringRef(object.data(), object.size()), "object") {
    initialize_llvm();
    file_ = expect(llvm::object::ObjectFile::createObjectFile(buffer_));
    std::string problem;
    const llvm::Target* native = llvm::TargetRegistry::lookupTarget(target.triple, problem);
    FG_CHECK(native != nullptr, "no LLVM target for {}: {}", target.triple, problem);
    registers_.reset(native->createMCRegInfo(target.triple));
    assembler_.reset(native->createMCAsmInfo(*registers_, target.triple, llvm::MCTargetOptions()));
    features_.reset(native->createMCSubtargetInfo(target.triple, target_cpu_name, target.features));
    instructions_.reset(native->createMCInstrInfo());
    analysis_.reset(native->createMCInstrAnalysis(instructions_.get()));
    context_ = std::make_unique<llvm::MCContext>(llvm::Triple(target.triple), assembler_.get(),
                                                 registers_.get(), features_.get());
    decoder_.reset(native->createMCDisassembler(*features_, *context_));
    constexpr unsigned intel_syntax = 1;
    printer_.reset(native->createMCInstPrinter(llvm::Triple(target.triple), intel_syntax,
                                               *assembler_, *instructions_, *registers_));
    FG_CHECK(decoder_ != nullptr && printer_ != nullptr, "no disassembler for {}", target.triple);
    printer_->setPrintImmHex(true);
  }

  std::string text() {
    collect_relocations();
    struct Function {
      llvm::object::SectionRef section;
      uint64_t begin = 0;
      uint64_t size = 0;
      std::string name;
    };
    std::vector<Function> functions;
    for (const llvm::object::SymbolRef& symbol : file_->symbols()) {
      if (expect(symbol.getType()) != llvm::object::SymbolRef::ST_Function) continue;
      llvm::object::section_iterator section = expect(symbol.getSection());
      if (section == file_->section_end()) continue;
      functions.push_back({*section, expect(symbol.getValue()),
                           llvm::object::ELFSymbolRef(symbol).getSize(),
                           expect(symbol.getName()).str()});
    }
    std::stable_sort(functions.begin(), functions.end(), [](const Function& a, const Function& b) {
      return std::pair(a.section.getIndex(), a.begin) < std::pair(b.section.getIndex(), b.begin);
    });
    for (const Function& function : functions) {
      function_names_[{function.section.getIndex(), function.begin}] = function.name;
    }
    std::string text;
    for (const Function& function : functions) {
      if (!text.empty()) text += '\n';
      text += function.name + ":\n";
      print_function(function.section, function.begin, function.begin + function.size, text);
    }
    return text;
  }

 private:
  /// What the linker puts into an instruction.
  struct Relocation {
    std::string symbol;
    std::optional<llvm::object::SectionRef> section;  ///< of the symbol; none if it is external
    int64_t position = 0;                             ///< in that section
  };

  void collect_relocations() {
    for (const llvm::object::SectionRef& list : file_->sections()) {
      llvm::object::section_iterator target = expect(list.getRelocatedSection());
      if (target == file_->section_end()) continue;
      for (const llvm::object::RelocationRef& relocation : list.relocations()) {
        llvm::object::symbol_iterator symbol = relocation.getSymbol();
        if (symbol == file_->symbol_end()) continue;
        Relocation found;
        llvm::object::section_iterator section = expect(symbol->getSection());
        if (section != file_->section_end()) found.section = *section;
        found.symbol = expect(symbol->getName()).str();
        if (found.symbol.empty() && found.section) {
          found.symbol = expect(found.section->getName()).str();
        }
        found.position = static_cast<int64_t>(expect(symbol->getValue())) +
                         expect(llvm::object::ELFRelocationRef(relocation).getAddend());
        relocations_[{target->getIndex(), relocation.getOffset()}] = found;
      }
    }
  }

  /// The constant that an instruction reads, as 32-bit words: " # 0x3f800000 ...". The section
  /// holds entries of one size (".rodata.cst16").
  static std::string constant_text(const Relocation& relocation, int64_t behind_field) {
    llvm::object::ELFSectionRef section(*relocation.section);
    llvm::StringRef contents = expect(section.getContents());
    int64_t position = relocation.position + behind_field;
    llvm::StringRef name = expect(section.getName());
    int64_t size = 4;
    if (auto [head, digits] = name.rsplit(".cst"); !digits.empty()) {
      if (digits.getAsInteger(10, size)) size = 4;
    }
    if (position < 0 || position + size > static_cast<int64_t>(contents.size())) return "";
    std::string text = " #";
    for (int64_t word = 0; word + 4 <= size; word += 4) {
      uint32_t bits = 0;
      for (int64_t byte = 3; byte >= 0; --byte) {
        bits = bits << 8 |
               static_cast<unsigned char>(contents[static_cast<size_t>(position + word + byte)]);
      }
      text += fmt::format(" {:#010x}", bits);
    }
    return text;
  }

  void print_function(const llvm::object::SectionRef& section, uint64_t begin, uint64_t end,
                      std::string& text) {
    llvm::StringRef contents = expect(section.getContents());
    llvm::ArrayRef<uint8_t> bytes(reinterpret_cast<const uint8_t*>(contents.data()),
                                  contents.size());
    struct Line {
      uint64_t at = 0;
      uint64_t size = 0;
      llvm::MCInst instruction;
      std::optional<uint64_t> target;
      bool is_call = false;
    };
    std::vector<Line> lines;
    std::map<uint64_t, std::string> labels;
    for (uint64_t at = begin; at < end;) {
      Line line;
      line.at = at;
      auto status =
          decoder_->getInstruction(line.instruction, line.size, bytes.slice(at), at, llvm::nulls());
      FG_CHECK(status == llvm::MCDisassembler::Success && line.size > 0,
               "byte {} of our own code is no instruction", at);
      uint64_t target = 0;
      const bool linked = relocation_in(section, line.at, line.size) != relocations_.end();
      line.is_call = analysis_->isCall(line.instruction);
      if (!linked && (line.is_call || analysis_->isBranch(line.instruction)) &&
          analysis_->evaluateBranch(line.instruction, at, line.size, target)) {
        line.target = target;
        if (!line.is_call) labels[target] = "";
      }
      at += line.size;
      lines.push_back(std::move(line));
    }
    size_t count = 0;
    for (auto& [at, label] : labels) label = fmt::format(".L{}", count++);

    for (const Line& line : lines) {
      if (auto label = labels.find(line.at); label != labels.end()) text += label->second + ":\n";
      std::string printed;
      llvm::raw_string_ostream stream(printed);
      if (line.target) {
        printed = fmt::format(
            "\t{}\t{}", std::string(mnemonic(line.instruction)),
            line.is_call ? function_name(section, *line.target) : labels.at(*line.target));
      } else {
        printer_->printInst(&line.instruction, line.at, "", *features_, stream);
      }
      auto linked = relocation_in(section, line.at, line.size);
      if (linked != relocations_.end()) {
        // A field that is relative to the end of the instruction lies this far before it.
        const auto behind = static_cast<int64_t>(line.at + line.size - linked->first.second);
        if (linked->second.section) {
          printed += constant_text(linked->second, behind);
        } else {
          printed += " # " + linked->second.symbol;
        }
      }
      text += printed + '\n';
    }
  }

  /// The function of our own that begins there.
  std::string function_name(const llvm::object::SectionRef& section, uint64_t begin) const {
    auto found = function_names_.find({section.getIndex(), begin});
    FG_CHECK(found != function_names_.end(), "a call of what is no function, at byte {}", begin);
    return found->second;
  }

  std::string mnemonic(const llvm::MCInst& instruction) {
    std::string printed;
    llvm::raw_string_ostream stream(printed);
    printer_->printInst(&instruction, 0, "", *features_, stream);
    llvm::StringRef word = llvm::StringRef(printed).ltrim();
    return word.take_until([](char c) { return c == ' ' || c == '\t'; }).str();
  }

  using RelocationMap = std::map<std::pair<uint64_t, uint64_t>, Relocation>;

  RelocationMap::const_iterator relocation_in(const llvm::object::SectionRef& section, uint64_t at,
                                              uint64_t size) const {
    auto found = relocations_.lower_bound({section.getIndex(), at});
    bool inside = found != relocations_.end() && found->first.first == section.getIndex() &&
                  found->first.second < at + size;
    return inside ? found : relocations_.end();
  }

  llvm::MemoryBufferRef buffer_;
  std::unique_ptr<llvm::object::ObjectFile> file_;
  std::unique_ptr<llvm::MCRegisterInfo> registers_;
  std::unique_ptr<llvm::MCAsmInfo> assembler_;
  std::unique_ptr<llvm::MCSubtargetInfo> features_;
  std::unique_ptr<llvm::MCInstrInfo> instructions_;
  std::unique_ptr<llvm::MCInstrAnalysis> analysis_;
  std::unique_ptr<llvm::MCContext> context_;
  std::unique_ptr<llvm::MCDisassembler> decoder_;
  std::unique_ptr<llvm::MCInstPrinter> printer_;
  RelocationMap relocations_;                                            ///< by section and byte
  std::map<std::pair<uint64_t, uint64_t>, std::string> function_names_;  ///< likewise
};

}  // namespace

std::vector<char> generate_object(LlvmModule& module) {
  LlvmModule::State& state = module.state();
  llvm::SmallVector<char, 0> bytes;
  llvm::raw_svector_ostream stream(bytes);
  llvm::legacy::PassManager manager;
  llvm::MCContext* context = nullptr;
  bool refused = state.machine->addPassesToEmitMC(manager, context, stream);
  FG_CHECK(!refused, "the target cannot write objects");
  manager.run(*state.module);
  return {bytes.begin(), bytes.end()};
}

std::string disassemble(const std::vector<char>& object, const CpuTarget& target) {
  return Disassembler(object, target).text();
}

}  // namespace fusegrad::codegen
