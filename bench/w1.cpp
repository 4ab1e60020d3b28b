// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// W1: softmax regression 784 -> 10, ours against C++ on OpenBLAS. A round runs both, at every
// thread count, one after the other, with the FMA probe before each, so that a disturbance of the
// machine meets all of them; the table holds medians over the rounds. Both start at zero weights
// and must end at the same loss.
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bench/child_process.h"
#include "bench/fma_probe.h"
#include "bench/idx_images.h"

namespace fusegrad::bench {
namespace {

namespace fs = std::filesystem;

constexpr double outputs = 10.0;
// Both do the same arithmetic in f32, in a different order.
constexpr double allowed_loss_difference = 1e-3;
constexpr double allowed_accuracy_difference = 1e-3;

struct Options {
  std::string data;
  std::string tool;
  std::string peer;
  std::string model;
  std::string commit = "unknown";
  int rounds = 7;
  int epochs = 3;
  std::vector<int> threads = {1, 2};
};

/// One program at one thread count, and what was measured of it.
struct Contender {
  std::string name;
  std::vector<std::string> command;  ///< without the options that a round adds
  int threads = 1;
  std::vector<double> epoch_seconds;
  std::vector<double> program_seconds;  ///< start to end of a process that trains one epoch
  double loss = NAN;                    ///< of the last epoch
  double accuracy = NAN;
  std::string library;  ///< if its log names one
};

struct TemporaryFolder {
  TemporaryFolder() {
    std::string pattern = (fs::temp_directory_path() / "fusegrad-bench-XXXXXX").string();
    if (mkdtemp(pattern.data()) != nullptr) path = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    if (!path.empty()) fs::remove_all(path, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  fs::path path;
};

double median(std::vector<double> values) {
  if (values.empty()) return NAN;
  std::ranges::sort(values);
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

/// Processor seconds since boot that all processes together used; nothing if the system does not
/// say.
std::optional<double> busy_seconds_of_machine() {
  std::ifstream stat("/proc/stat");
  std::string label;
  double user = 0, nice = 0, system = 0;
  if (!(stat >> label >> user >> nice >> system) || label != "cpu") return std::nullopt;
  return (user + nice + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

double own_seconds() {
  double total = 0.0;
  for (const int who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    rusage usage{};
    getrusage(who, &usage);
    for (const timeval& time : {usage.ru_utime, usage.ru_stime}) {
      total += static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
    }
  }
  return total;
}

std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown processor";
}

/// The objects of a log with this "event". Nothing if the log is not one JSON object a line.
std::optional<std::vector<nlohmann::json>> read_events(const fs::path& log,
                                                       const std::string& event) {
  std::vector<nlohmann::json> events;
  std::ifstream stream(log);
  for (std::string line; std::getline(stream, line);) {
    nlohmann::json object = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!object.is_object()) return std::nullopt;
    if (object.value("event", "") == event) events.push_back(std::move(object));
  }
  return events;
}

/// Trains `epochs` epochs and adds what the log says to the contender. Prints what went wrong and
/// returns false if something did.
bool run_once(Contender& contender, int epochs, const fs::path& data, const fs::path& folder) {
  const fs::path log = folder / "log.jsonl";
  const fs::path output = folder / "output.txt";
  std::error_code ignored;
  fs::remove(log, ignored);
  std::vector<std::string> command = contender.command;
  for (const std::string& word :
       {std::string("--data"), data.string(), std::string("--threads"),
        std::to_string(contender.threads), std::string("--epochs"), std::to_string(epochs),
        std::string("--log-json"), log.string()}) {
    command.push_back(word);
  }
  const ChildResult result = run_child(command, output);
  const auto events = read_events(log, "epoch");
  if (!result.succeeded || !events || events->size() != static_cast<size_t>(epochs)) {
    fmt::print(stderr, "failed: {}\n", fmt::join(command, " "));
    std::ifstream text(output);
    for (std::string line; std::getline(text, line);) fmt::print(stderr, "  {}\n", line);
    return false;
  }
  for (const nlohmann::json& event :
       read_events(log, "library").value_or(std::vector<nlohmann::json>{})) {
    contender.library = event.value("name", "");
  }
  if (epochs == 1) {
    contender.program_seconds.push_back(result.seconds);
    return true;
  }
  for (const nlohmann::json& event : *events) {
    contender.epoch_seconds.push_back(event.value("seconds", NAN));
    contender.loss = event.value("loss", NAN);
    contender.accuracy = event.value("/metrics/accuracy"_json_pointer, NAN);
  }
  return true;
}

/// False, with a message, if two contenders did not train the same model.
bool agree(const std::vector<Contender>& contenders) {
  const Contender& first = contenders.front();
  for (const Contender& other : contenders) {
    if (!(std::abs(other.loss - first.loss) <= allowed_loss_difference) ||
        !(std::abs(other.accuracy - first.accuracy) <= allowed_accuracy_difference)) {
      fmt::print(stderr,
                 "{} ends at loss {:.6f} and accuracy {:.4f}, but {} at {:.6f} and {:.4f}: they do "
                 "not compute the same\n",
                 first.name, first.loss, first.accuracy, other.name, other.loss, other.accuracy);
      return false;
    }
  }
  return true;
}

/// The contenders are ordered by name, then threads: names.size() groups of one entry per thread
/// count.
void print_table(const std::vector<Contender>& contenders, const std::vector<int>& threads,
                 double flops_per_epoch, double peak) {
  const size_t columns = threads.size();
  const auto print_head = [&](const std::string& title) {
    fmt::print("\n{:<34}", title);
    for (const int count : threads)
      fmt::print("{:>22}", fmt::format("{} thread{}", count, count == 1 ? "" : "s"));
    fmt::print("\n");
  };
  const auto print_ratio = [&](auto measured) {
    if (contenders.size() != 2 * columns) return;
    fmt::print("{:<34}", contenders[0].name + " / " + contenders[columns].name);
    for (size_t column = 0; column < columns; ++column) {
      fmt::print("{:>21.2f}x",
                 measured(contenders[column]) / measured(contenders[columns + column]));
    }
    fmt::print("\n");
  };

  const auto epoch = [](const Contender& contender) { return median(contender.epoch_seconds); };
  print_head("one epoch (ms, share of FMA peak)");
  for (size_t index = 0; index < contenders.size(); ++index) {
    const Contender& contender = contenders[index];
    if (index % columns == 0) fmt::print("{:<34}", contender.name);
    const double share = flops_per_epoch / epoch(contender) / (peak * 1e9 * contender.threads);
    fmt::print("{:>13.2f} {:>6.1f} %", epoch(contender) * 1e3, share * 100);
    if ((index + 1) % columns == 0) fmt::print("\n");
  }
  print_ratio(epoch);

  const auto program = [](const Contender& contender) { return median(contender.program_seconds); };
  print_head("whole program, one epoch (ms)");
  for (size_t index = 0; index < contenders.size(); ++index) {
    if (index % columns == 0) fmt::print("{:<34}", contenders[index].name);
    fmt::print("{:>22.1f}", program(contenders[index]) * 1e3);
    if ((index + 1) % columns == 0) fmt::print("\n");
  }
  print_ratio(program);
}

int run(const Options& options) {
  const TemporaryFolder folder;
  if (folder.path.empty()) {
    fmt::print(stderr, "cannot make a temporary folder\n");
    return 1;
  }
  LabelledImages images;
  if (options.data.empty()) {
    images = made_up_images(60'000);
  } else if (auto read = read_idx_images(options.data)) {
    images = std::move(*read);
  } else {
    fmt::print(stderr, "cannot read {}/{} (or .gz) and its labels\n", options.data,
               images_file_name);
    return 1;
  }
  // Both read the same unpacked copy: the time of zlib is no matter of theirs.
  if (!write_idx_images(images, folder.path)) {
    fmt::print(stderr, "cannot write to {}\n", folder.path.string());
    return 1;
  }
  const auto count = static_cast<double>(images.count);
  const double flops_per_epoch = 2 * 2 * count * static_cast<double>(images.pixels) * outputs;
  images = {};

  std::vector<Contender> contenders;
  for (const int threads : options.threads) {
    contenders.push_back({"C++ + OpenBLAS", {options.peer}, threads, {}, {}, NAN, NAN, {}});
  }
  if (!options.tool.empty()) {
    for (const int threads : options.threads) {
      contenders.push_back(
          {"fusegrad", {options.tool, "train", options.model}, threads, {}, {}, NAN, NAN, {}});
    }
  }

  const auto begin = std::chrono::steady_clock::now();
  const std::optional<double> busy_at_begin = busy_seconds_of_machine();
  const double own_at_begin = own_seconds();
  std::vector<double> peaks;
  for (int round = 0; round < options.rounds; ++round) {
    for (size_t position = 0; position < contenders.size(); ++position) {
      // Every other round backwards: nobody always runs after the same neighbour.
      const size_t index = round % 2 == 0 ? position : contenders.size() - 1 - position;
      peaks.push_back(measure_fma_peak());
      if (!run_once(contenders[index], options.epochs, folder.path, folder.path)) return 1;
      if (!run_once(contenders[index], 1, folder.path, folder.path)) return 1;
    }
  }
  const double wall =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  const std::optional<double> busy_at_end = busy_seconds_of_machine();
  const double others =
      busy_at_begin && busy_at_end
          ? std::max(0.0, (*busy_at_end - *busy_at_begin - (own_seconds() - own_at_begin)) / wall)
          : NAN;

  const double peak = median(peaks);
  fmt::print("processor   {}, {} logical\n", processor_name(), sysconf(_SC_NPROCESSORS_ONLN));
  fmt::print("compiler    g++ {}\n", __VERSION__);
  fmt::print("library     {}\n", contenders.front().library);
  fmt::print("commit      {}\n", options.commit);
  fmt::print("data        {} images, {}\n", count, options.data.empty() ? "made up" : "real");
  fmt::print("rounds      {} of {} epochs; other processes used {:.2f} processors meanwhile\n",
             options.rounds, options.epochs, others);
  fmt::print("FMA peak    {:.1f} GFLOP/s a core, {} (lowest {:.1f}, highest {:.1f})\n", peak,
             fma_instructions(), std::ranges::min(peaks), std::ranges::max(peaks));
  print_table(contenders, options.threads, flops_per_epoch, peak);
  fmt::print("\nafter {} epochs: loss {:.4f}, accuracy {:.4f}\n", options.epochs,
             contenders.front().loss, contenders.front().accuracy);
  return agree(contenders) ? 0 : 1;
}

}  // namespace
}  // namespace fusegrad::bench

int main(int argc, char** argv) {
  fusegrad::bench::Options options;
  CLI::App app("W1: softmax regression, fusegrad against C++ on OpenBLAS");
  app.add_option("--peer", options.peer, "the OpenBLAS program")->required();
  app.add_option("--tool", options.tool, "the fusegrad program; without it only the peer is run");
  app.add_option("--model", options.model, "the model file for the tool");
  app.add_option("--data", options.data, "folder with MNIST's training files, plain or .gz");
  app.add_option("--commit", options.commit, "printed");
  app.add_option("--rounds", options.rounds)->check(CLI::Range(1, 1000));
  app.add_option("--epochs", options.epochs, "of each measured run")->check(CLI::Range(2, 100));
  app.add_option("--threads", options.threads, "thread counts")->delimiter(',');
  CLI11_PARSE(app, argc, argv);
  return fusegrad::bench::run(options);
}
