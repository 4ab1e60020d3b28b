// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a training run says: a line per epoch for people, a line per event for programs.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/core/error.h"
#include "runtime/core/file.h"
#include "runtime/core/session.h"

namespace fusegrad::runtime {

/// One line of the epoch table.
struct EpochRecord {
  int64_t epoch = 0;
  int64_t epochs = 0;
  double loss = 0;
  std::vector<Metric> metrics;
  std::optional<double>
      validation_loss;  ///< with validation_metrics; nothing where there is no such split
  std::vector<Metric> validation_metrics;
  double seconds = 0;  ///< the training part
};

/// How a run ended.
struct EndRecord {
  int exit_code = 0;
  int64_t epochs = 0;  ///< completed
  int64_t steps = 0;
  int64_t samples = 0;  ///< trained on, each as often as it was
  double seconds = 0;
};

/// Seconds by stage, in the order in which the stages ran.
using StageSeconds = std::vector<std::pair<std::string, double>>;

// The lines of the log, without the line end. Floats are in shortest round-trip form, NaN is null.
// {"event":"epoch","epoch":1,"loss":0.5,"metrics":{"accuracy":0.9},"val_loss":0.4,"val_metrics":{"accuracy":0.9},
//  "seconds":1.5}; without validation the two keys val_* are absent.
std::string epoch_event(const EpochRecord& record);
// {"event":"compile","program":"train","seconds":1.5,"stages":{"parse":0.1},"cache":"miss"}
std::string compile_event(std::string_view program, double seconds, const StageSeconds& stages,
                          std::string_view cache);
// {"event":"end","exit_code":0,"epochs":20,"steps":9380,"samples":1200000,"seconds":30.5}
std::string end_event(const EndRecord& record);

/// "epoch  3/20  loss 0.3121  accuracy 0.9127  val_loss 0.3263  val_accuracy 0.9054  1.23 s"
std::string epoch_line(const EpochRecord& record);

/// A loss or metric for people: four decimals, or an exponent where those would say nothing.
std::string short_number(double value);

/// Writes lines to a descriptor it does not own. The first failure is reported on stderr, once;
/// later lines are dropped, because half a line is worse than none.
class LineWriter {
 public:
  LineWriter(int descriptor, std::string name, int messages_descriptor = 2);
  void write(std::string_view line);  ///< adds the line end
  void write_raw(std::string_view bytes);
  bool failed() const { return failed_; }
  /// For a failure that shows elsewhere, at closing.
  void report_failure(int error_number);

 private:
  int descriptor_;
  std::string name_;
  int messages_descriptor_;
  bool failed_ = false;
};

/// The file of --log-json: one JSON object a line, written as it happens.
class JsonLog {
 public:
  /// Creates or empties the file. Fails with ExitCode::usage when it cannot, or when it is one of
  /// the files in `never` (the model file, for one), which must not be overwritten.
  static Expected<JsonLog> open(const std::string& path, const std::vector<std::string>& never = {},
                                int messages_descriptor = 2);
  void write(std::string_view event) { writer_.write(event); }
  const std::string& path() const { return path_; }
  /// Closes the file; true when everything has been written. A full disk has then been reported on
  /// stderr.
  bool close();

 private:
  JsonLog(FileDescriptor file, std::string path, int messages_descriptor);
  FileDescriptor file_;
  std::string path_;
  LineWriter writer_;
};

/// Where the epoch lines go and whether that is a terminal.
struct Display {
  int descriptor = 1;
  int messages_descriptor = 2;
  bool quiet = false;
  /// Nothing: asks isatty and TERM.
  std::optional<bool> terminal;
};

/// Prints epoch lines, and on a terminal a bar with the estimated time to the end of the run. No
/// colours and no escape codes are used (so NO_COLOR changes nothing); with TERM=dumb or unset
/// there is no bar.
class Report {
 public:
  explicit Report(const Display& display);
  /// On a terminal: redraws the bar.
  void progress(int64_t epoch, int64_t epochs, const PassProgress& pass);
  void epoch(const EpochRecord& record);
  /// A line for stderr; the bar is taken away before.
  void message(std::string_view line);
  /// Takes the bar away, so that what the caller prints next stands on a line of its own.
  void clear_bar();
  bool wants_progress() const { return terminal_; }
  bool failed() const { return output_.failed(); }

 private:
  Display display_;
  bool terminal_ = false;
  LineWriter output_;
  size_t bar_width_ = 0;  ///< columns that are on the screen and must be overwritten
  std::chrono::steady_clock::time_point start_;
};

}  // namespace fusegrad::runtime
