// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// A long run must not be lost because nobody can be told about it: what cannot be written is
// reported once and training goes on.
#include "runtime/core/report.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>

#include "runtime/core/exit_codes.h"
#include "runtime/core/json_text.h"

namespace fusegrad::runtime {

namespace {

std::string metrics_object(const std::vector<Metric>& metrics) {
  std::string text = "{";
  for (const Metric& metric : metrics) {
    if (text.size() > 1) text += ',';
    text += json_string(metric.label) + ":" + json_number(metric.value);
  }
  return text + "}";
}

std::string epoch_head(int64_t epoch, int64_t epochs) {
  const std::string total = fmt::format("{}", epochs);
  return fmt::format("epoch {:>{}}/{}", epoch, total.size(), total);
}

std::string seconds_text(double seconds) {
  return seconds < 0.1 ? fmt::format("{:.3f} s", seconds) : fmt::format("{:.2f} s", seconds);
}

std::string duration_text(double seconds) {
  if (!(seconds < 360000)) return "a long time";
  const auto whole = static_cast<int64_t>(std::ceil(seconds));
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{}:{:02} min", whole / 60, whole % 60);
  return fmt::format("{}:{:02} h", whole / 3600, whole % 3600 / 60);
}

bool is_terminal(int descriptor) {
  if (isatty(descriptor) != 1) return false;
  const char* kind = std::getenv("TERM");
  return kind != nullptr && *kind != '\0' && std::string_view(kind) != "dumb";
}

size_t terminal_columns(int descriptor) {
  winsize size = {};
  if (ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

}  // namespace

std::string short_number(double value) {
  const double magnitude = std::abs(value);
  const bool plain = magnitude == 0 || (magnitude >= 0.001 && magnitude < 1e6);
  return plain || !std::isfinite(value) ? fmt::format("{:.4f}", value)
                                        : fmt::format("{:.3e}", value);
}

std::string epoch_event(const EpochRecord& record) {
  std::string text =
      fmt::format(R"({{"event":"epoch","epoch":{},"loss":{},"metrics":{})", record.epoch,
                  json_number(record.loss), metrics_object(record.metrics));
  if (record.validation_loss) {
    text += fmt::format(R"(,"val_loss":{},"val_metrics":{})", json_number(*record.validation_loss),
                        metrics_object(record.validation_metrics));
  }
  return text + fmt::format(R"(,"seconds":{}}})", json_number(record.seconds));
}

std::string compile_event(std::string_view program, double seconds, const StageSeconds& stages,
                          std::string_view cache) {
  std::string text = fmt::format(R"({{"event":"compile","program":{},"seconds":{},"stages":{{)",
                                 json_string(program), json_number(seconds));
  for (size_t i = 0; i < stages.size(); ++i) {
    if (i != 0) text += ',';
    text += json_string(stages[i].first) + ":" + json_number(stages[i].second);
  }
  return text + fmt::format(R"(}},"cache":{}}})", json_string(cache));
}

std::string end_event(const EndRecord& record) {
  return fmt::format(
      R"({{"event":"end","exit_code":{},"epochs":{},"steps":{},"samples":{},"seconds":{}}})",
      record.exit_code, record.epochs, record.steps, record.samples, json_number(record.seconds));
}

std::string epoch_line(const EpochRecord& record) {
  std::string line = epoch_head(record.epoch, record.epochs);
  line += "  loss " + short_number(record.loss);
  for (const Metric& metric : record.metrics) {
    line += fmt::format("  {} {}", metric.label, short_number(metric.value));
  }
  if (record.validation_loss) {
    line += "  val_loss " + short_number(*record.validation_loss);
    for (const Metric& metric : record.validation_metrics) {
      line += fmt::format("  val_{} {}", metric.label, short_number(metric.value));
    }
  }
  return line + "  " + seconds_text(record.seconds);
}

LineWriter::LineWriter(int descriptor, std::string name, int messages_descriptor)
    : descriptor_(descriptor), name_(std::move(name)), messages_descriptor_(messages_descriptor) {}

void LineWriter::write(std::string_view line) { write_raw(std::string(line) + "\n"); }

void LineWriter::write_raw(std::string_view bytes) {
  if (failed_) return;
  const int error = write_all(descriptor_, bytes);
  if (error != 0) report_failure(error);
}

void LineWriter::report_failure(int error_number) {
  if (failed_) return;
  failed_ = true;
  // Nobody is left to be told when stderr fails as well.
  (void)write_all(messages_descriptor_,
                  fmt::format("warning: cannot write to {}: {}; going on without it\n", name_,
                              system_message(error_number)));
}

JsonLog::JsonLog(FileDescriptor file, std::string path, int messages_descriptor)
    : file_(std::move(file)),
      path_(std::move(path)),
      writer_(file_.number(), "the log " + quoted(path_), messages_descriptor) {}

Expected<JsonLog> JsonLog::open(const std::string& path, const std::vector<std::string>& never,
                                int messages_descriptor) {
  if (path.empty() || path.find('\0') != std::string::npos) {
    return Failure{ExitCode::usage, fmt::format("the log {} is no file name", quoted(path)), {}};
  }
  for (const std::string& other : never) {
    if (!same_file(path, other)) continue;
    return Failure{
        ExitCode::usage,
        fmt::format("the log {} is the file {}, which would be lost", quoted(path), quoted(other)),
        {}};
  }
  // Not blocking: a named pipe without a reader is an error and not a halt.
  FileDescriptor file(
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666));
  if (!file.valid()) {
    return Failure{ExitCode::usage,
                   fmt::format("cannot write the log {}: {}", quoted(path), system_message(errno)),
                   {}};
  }
  return JsonLog(std::move(file), path, messages_descriptor);
}

bool JsonLog::close() {
  const int error = file_.close();
  if (error != 0) writer_.report_failure(error);
  return !writer_.failed();
}

Report::Report(const Display& display)
    : display_(display),
      terminal_(!display.quiet && display.terminal.value_or(is_terminal(display.descriptor))),
      output_(display.descriptor, "the standard output", display.messages_descriptor),
      start_(std::chrono::steady_clock::now()) {}

void Report::clear_bar() {
  if (bar_width_ == 0) return;
  output_.write_raw("\r" + std::string(bar_width_, ' ') + "\r");
  bar_width_ = 0;
}

void Report::progress(int64_t epoch, int64_t epochs, const PassProgress& pass) {
  if (!terminal_ || pass.steps <= 0) return;
  const double done = static_cast<double>(pass.steps_done) / static_cast<double>(pass.steps);
  const double done_of_run =
      (static_cast<double>(epoch - 1) + done) / static_cast<double>(std::max<int64_t>(epochs, 1));
  const double elapsed =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  const double remaining = done_of_run > 0 ? elapsed / done_of_run * (1 - done_of_run) : INFINITY;
  constexpr int cells = 24;
  const int full = std::clamp(static_cast<int>(done * cells), 0, cells);
  std::string line = fmt::format("{}  [{}{}] {:3.0f} %  loss {}  ETA {}", epoch_head(epoch, epochs),
                                 std::string(static_cast<size_t>(full), '#'),
                                 std::string(static_cast<size_t>(cells - full), '.'), done * 100,
                                 short_number(pass.loss), duration_text(remaining));
  // A line that wraps cannot be taken back.
  const size_t columns = terminal_columns(display_.descriptor);
  if (line.size() >= columns) line.resize(columns - 1);
  const size_t width = line.size();
  if (bar_width_ > width) line.append(bar_width_ - width, ' ');
  bar_width_ = width;
  output_.write_raw("\r" + line);
}

void Report::epoch(const EpochRecord& record) {
  if (display_.quiet) return;
  clear_bar();
  output_.write(epoch_line(record));
}

void Report::message(std::string_view line) {
  clear_bar();
  (void)write_all(display_.messages_descriptor, std::string(line) + "\n");
}

}  // namespace fusegrad::runtime
