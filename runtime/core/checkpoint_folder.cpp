// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Names are hints: what a file is, it says itself. Nothing is removed that is newer than two files
// known to be good.
#include "runtime/core/checkpoint_folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "runtime/core/exit_codes.h"
#include "runtime/core/replace_file.h"
#include "runtime/core/text_values.h"

namespace fusegrad::runtime {

namespace {

constexpr std::string_view prefix = "step-";
constexpr std::string_view suffix = ".safetensors";

std::string step_file(const std::string& folder, int64_t step) {
  return fmt::format("{}/{}{:08}{}", folder, prefix, step, suffix);
}

std::string best_file(const std::string& folder) {
  return fmt::format("{}/best{}", folder, suffix);
}

/// The steps in a name that step_file() makes.
std::optional<int64_t> step_in(std::string_view name) {
  if (!name.starts_with(prefix) || !name.ends_with(suffix)) return std::nullopt;
  name.remove_prefix(prefix.size());
  name.remove_suffix(suffix.size());
  const std::optional<int64_t> step = whole_number(name);
  return step && *step >= 0 && name.size() >= 8 ? step : std::nullopt;
}

struct FolderFile {
  int64_t step = 0;
  std::string path;
};

/// Files by name, those with most steps first.
Expected<std::vector<FolderFile>> step_files(const std::string& folder) {
  const std::unique_ptr<DIR, int (*)(DIR*)> open(opendir(folder.c_str()), closedir);
  if (open == nullptr) {
    return Failure{
        ExitCode::checkpoint,
        fmt::format("cannot read the folder {}: {}", quoted(folder), system_message(errno)),
        {}};
  }
  std::vector<FolderFile> files;
  while (const dirent* entry = readdir(open.get())) {
    if (const std::optional<int64_t> step = step_in(entry->d_name)) {
      files.push_back({*step, folder + "/" + entry->d_name});
    }
  }
  std::sort(files.begin(), files.end(), [](const FolderFile& left, const FolderFile& right) {
    return left.step != right.step ? left.step > right.step : left.path < right.path;
  });
  return files;
}

/// What replace_file() leaves when the process is killed. Only for whom holds the lock.
void remove_unfinished(const std::string& folder) {
  const std::unique_ptr<DIR, int (*)(DIR*)> open(opendir(folder.c_str()), closedir);
  if (open == nullptr) return;
  while (const dirent* entry = readdir(open.get())) {
    const std::string_view name = entry->d_name;
    const bool is_ours = name.starts_with(".step-") || name.starts_with(".best.safetensors.");
    if (is_ours && name.ends_with(".tmp")) {
      (void)unlink((folder + "/" + std::string(name)).c_str());
    }
  }
}

}  // namespace

Expected<FoundCheckpoint> find_checkpoint(const std::string& path) {
  if (!is_folder(path)) {
    Expected<Checkpoint> checkpoint = read_checkpoint(path);
    if (!checkpoint) return checkpoint.error();
    return FoundCheckpoint{std::move(*checkpoint), {}};
  }
  Expected<std::vector<FolderFile>> files = step_files(path);
  if (!files) return files.error();
  struct stat status = {};
  if (stat(best_file(path).c_str(), &status) == 0) files->push_back({-1, best_file(path)});
  if (files->empty()) {
    return Failure{
        ExitCode::checkpoint, fmt::format("the folder {} has no checkpoints", quoted(path)), {}};
  }
  std::vector<std::string> skipped;
  for (const FolderFile& file : *files) {
    Expected<Checkpoint> checkpoint = read_checkpoint(file.path);
    if (checkpoint) return FoundCheckpoint{std::move(*checkpoint), std::move(skipped)};
    skipped.push_back(checkpoint.error().message);
  }
  std::string message = fmt::format("none of the checkpoints in {} can be used", quoted(path));
  for (const std::string& reason : skipped) message += "\n  = note: " + reason;
  return Failure{ExitCode::checkpoint, std::move(message), {}};
}

Expected<CheckpointFolder> CheckpointFolder::open(const std::string& path,
                                                  const FoundCheckpoint* resumed) {
  const auto fail = [&](std::string_view why) {
    return Failure{ExitCode::checkpoint,
                   fmt::format("cannot keep checkpoints in {}: {}", quoted(path), why),
                   {}};
  };
  if (path.empty() || path.find('\0') != std::string::npos) return fail("this is no folder name");
  if (mkdir(path.c_str(), 0777) != 0 && errno != EEXIST) return fail(system_message(errno));
  if (!is_folder(path)) return fail("it is no folder");
  if (faccessat(AT_FDCWD, path.c_str(), W_OK | X_OK, AT_EACCESS) != 0) {
    return fail(system_message(errno));
  }
  FileDescriptor lock(
      ::open((path + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666));
  if (!lock.valid()) return fail(fmt::format("lock: {}", system_message(errno)));
  // It ends with the process, however that ends.
  if (flock(lock.number(), LOCK_EX | LOCK_NB) != 0) {
    return fail(errno == EWOULDBLOCK ? "another run writes there" : system_message(errno));
  }
  remove_unfinished(path);
  Expected<std::vector<FolderFile>> files = step_files(path);
  if (!files) return files.error();
  CheckpointFolder folder(path, std::move(lock));
  for (const FolderFile& file : *files) {
    if (resumed == nullptr) {
      return Failure{ExitCode::usage,
                     fmt::format("{} has the checkpoints of another run, such as {}\n"
                                 "  = help: `--resume {}` goes on with it; a new run needs another "
                                 "folder",
                                 quoted(path), quoted(file.path), path),
                     {}};
    }
    const int64_t here = resumed->checkpoint.state.step;
    if (same_file(file.path, resumed->checkpoint.path)) folder.good_ = {here};
    const bool is_damaged = std::any_of(
        resumed->skipped.begin(), resumed->skipped.end(),
        [&](const auto& reason) { return reason.find(quoted(file.path)) != std::string::npos; });
    if (file.step > here && !is_damaged) {
      return Failure{
          ExitCode::usage,
          fmt::format("{} has {}, which is later than step {} that the run goes on from\n"
                      "  = help: give another `--checkpoint-dir`, or remove what is "
                      "later",
                      quoted(path), quoted(file.path), here),
          {}};
    }
  }
  if (resumed != nullptr) folder.last_file_ = resumed->checkpoint.path;
  return folder;
}

Expected<Unit> CheckpointFolder::save(const JobTable& job, const Session& session,
                                      const RunState& state, const BestEpoch& best) {
  std::string file = step_file(path_, state.step);
  Expected<Unit> written = write_checkpoint(file, job, session, state, best);
  if (!written) return written.error();
  last_file_ = std::move(file);
  std::erase(good_, state.step);
  good_.push_back(state.step);
  if (good_.size() > 2) good_.erase(good_.begin());
  if (good_.size() < 2) return Unit{};
  const int64_t oldest_kept = *std::min_element(good_.begin(), good_.end());
  Expected<std::vector<FolderFile>> files = step_files(path_);
  if (!files) return Unit{};
  for (const FolderFile& old : *files) {
    // What cannot be removed takes space and does no harm.
    if (old.step < oldest_kept) (void)unlink(old.path.c_str());
  }
  return Unit{};
}

Expected<Unit> CheckpointFolder::save_best(const JobTable& job, const Session& session,
                                           const RunState& state, const BestEpoch& best) {
  return write_checkpoint(best_file(path_), job, session, state, best);
}

}  // namespace fusegrad::runtime
