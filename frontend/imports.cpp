// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Following imports from file to file.
#include "frontend/imports.h"

#include <fmt/format.h>

#include <filesystem>
#include <set>
#include <string>
#include <utility>
#include <variant>

#include "frontend/parser.h"

namespace fusegrad::frontend {

namespace {

class ImportReader {
 public:
  ImportReader(const ElaborateOptions& options, SourceManager& sources, Diagnostics& diagnostics,
               Reporter& reporter)
      : options_(options), sources_(sources), diagnostics_(diagnostics), reporter_(reporter) {}

  std::deque<ast::File> read(const ast::File& model) {
    known_.insert(normal(std::string(sources_.name(model.file))));
    follow(model);
    // Grows while it is walked.
    for (size_t i = 0; i < files_.size(); ++i) follow(files_[i]);
    return std::move(files_);
  }

 private:
  static std::string normal(const std::string& path) {
    return std::filesystem::path(path).lexically_normal().string();
  }

  void follow(const ast::File& file) {
    for (const ast::Item& item : file.items) {
      if (const auto* import = std::get_if<ast::Import>(&item)) read_one(*import, file.file);
    }
  }

  void read_one(const ast::Import& import, uint32_t from) {
    if (import.path.kind != ast::ExpressionKind::string) return;  // the parser reported it
    const std::string& written = import.path.text;
    const std::filesystem::path path(written);
    bool leaves_folder =
        written.empty() || path.is_absolute() || written.find('\0') != std::string::npos;
    for (const std::filesystem::path& part : path) leaves_folder = leaves_folder || part == "..";
    if (leaves_folder) {
      reporter_.add(Complaint("E0710", import.path.span,
                              "an import names a file beside this one or in a folder below",
                              "not such a path"));
      return;
    }
    const std::string full =
        normal((std::filesystem::path(sources_.name(from)).parent_path() / path).string());
    if (!known_.insert(full).second) return;
    if (files_.size() >= max_imported_files) {
      reporter_.add(Complaint("E0710", import.path.span,
                              fmt::format("more than {} files are imported", max_imported_files),
                              "this one is too much"));
      return;
    }
    Result<std::string> text = options_.read_file
                                   ? options_.read_file(full)
                                   : Result<std::string>(Error{"no file can be read here"});
    if (!text) {
      reporter_.add(Complaint("E0710", import.path.span, fmt::format("cannot import `{}`", written),
                              text.error().message));
      return;
    }
    const uint32_t number = sources_.add(full, std::move(*text));
    Diagnostics found;
    files_.push_back(parse(sources_, number, found));
    for (const Diagnostic& diagnostic : found.all()) diagnostics_.add(diagnostic);
  }

  const ElaborateOptions& options_;
  SourceManager& sources_;
  Diagnostics& diagnostics_;
  Reporter& reporter_;
  std::set<std::string> known_;
  std::deque<ast::File> files_;
};

}  // namespace

std::deque<ast::File> read_imports(const ast::File& model, const ElaborateOptions& options,
                                   SourceManager& sources, Diagnostics& diagnostics,
                                   Reporter& reporter) {
  return ImportReader(options, sources, diagnostics, reporter).read(model);
}

}  // namespace fusegrad::frontend
