// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What people and programs are told: exact lines, valid JSON, and no harm when nobody can be told.
#include "runtime/core/report.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <csignal>
#include <nlohmann/json.hpp>

#include "runtime/core/json_text.h"
#include "tests/runtime/runtime_test_support.h"

namespace fusegrad::runtime {
namespace {

using nlohmann::json;
using testing::HasSubstr;

EpochRecord record(bool validation) {
  EpochRecord result;
  result.epoch = 1;
  result.epochs = 20;
  result.loss = 0.40421;
  result.metrics = {{"accuracy", 0.88629}};
  if (validation) {
    result.validation_loss = 0.3263;
    result.validation_metrics = {{"accuracy", 0.9054}};
  }
  result.seconds = 1.2345;
  return result;
}

TEST(EpochLine, HasTheColumnsOfTheRun) {
  EXPECT_EQ(
      epoch_line(record(true)),
      "epoch  1/20  loss 0.4042  accuracy 0.8863  val_loss 0.3263  val_accuracy 0.9054  1.23 s");
  EpochRecord last = record(false);
  last.epoch = 20;
  last.seconds = 0.0184;
  EXPECT_EQ(epoch_line(last), "epoch 20/20  loss 0.4042  accuracy 0.8863  0.018 s");
}

TEST(ShortNumber, SaysSomethingAtEverySize) {
  EXPECT_EQ(short_number(0), "0.0000");
  EXPECT_EQ(short_number(0.001), "0.0010");
  EXPECT_EQ(short_number(0.00012345), "1.234e-04");
  EXPECT_EQ(short_number(-2.5), "-2.5000");
  EXPECT_EQ(short_number(1.5e9), "1.500e+09");
  EXPECT_EQ(short_number(NAN), "nan");
  EXPECT_EQ(short_number(INFINITY), "inf");
}

TEST(Log, EventsAreWhatTheDocumentationSays) {
  EXPECT_EQ(epoch_event(record(true)),
            R"({"event":"epoch","epoch":1,"loss":0.40421,"metrics":{"accuracy":0.88629},)"
            R"("val_loss":0.3263,"val_metrics":{"accuracy":0.9054},"seconds":1.2345})");
  EXPECT_EQ(
      epoch_event(record(false)),
      R"({"event":"epoch","epoch":1,"loss":0.40421,"metrics":{"accuracy":0.88629},"seconds":1.2345})");
  EXPECT_EQ(
      compile_event("train", 1.5, {{"parse", 0.25}, {"llvm", 1.25}}, "miss"),
      R"({"event":"compile","program":"train","seconds":1.5,"stages":{"parse":0.25,"llvm":1.25},"cache":"miss"})");
  EXPECT_EQ(
      end_event({6, 2, 938, 120000, 3.5}),
      R"({"event":"end","exit_code":6,"epochs":2,"steps":938,"samples":120000,"seconds":3.5})");
}

TEST(Log, IsValidJsonForEveryLabelAndNumber) {
  EpochRecord strange = record(true);
  strange.loss = NAN;
  strange.validation_loss = -INFINITY;
  strange.metrics = {
      {"quote\" back\\slash", 1e-300}, {"line\nbreak\x01", 0.1 + 0.2}, {"über", 1e22}};
  strange.validation_metrics = {{std::string("\xff\xc0\xaf", 3), -0.0}};
  const json parsed = json::parse(epoch_event(strange));
  EXPECT_TRUE(parsed["loss"].is_null());
  EXPECT_TRUE(parsed["val_loss"].is_null());
  EXPECT_EQ(parsed["metrics"]["quote\" back\\slash"], 1e-300);
  EXPECT_EQ(parsed["metrics"]["line\nbreak\x01"], 0.1 + 0.2);  // every bit comes back
  EXPECT_EQ(parsed["metrics"]["über"], 1e22);
  EXPECT_TRUE(parsed["val_metrics"].contains("\ufffd\ufffd\ufffd"));
}

TEST(JsonText, Utf8Lengths) {
  EXPECT_EQ(utf8_length("a"), 1U);
  EXPECT_EQ(utf8_length("ü"), 2U);
  EXPECT_EQ(utf8_length("€"), 3U);
  EXPECT_EQ(utf8_length("😀"), 4U);
  for (const char* bad :
       {"\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf0\x80\x80\x80",
        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe2\x82", "\xff"}) {
    EXPECT_EQ(utf8_length(bad), 0U);
  }
}

/// A file that collects what is written to its descriptor.
class Capture {
 public:
  Capture() : descriptor_(memfd_create("capture", MFD_CLOEXEC)) {}
  int number() const { return descriptor_.number(); }
  std::string text() const {
    std::string result(4096, '\0');
    const int64_t count = read_at(descriptor_, 0, std::as_writable_bytes(std::span(result)));
    result.resize(static_cast<size_t>(count));
    return result;
  }

 private:
  FileDescriptor descriptor_;
};

TEST(JsonLog, WritesALineAnEventAsItHappens) {
  const TemporaryFolder folder;
  const std::string path = folder / "log.jsonl";
  write_file(path, "old content");
  Expected<JsonLog> log = JsonLog::open(path);
  ASSERT_TRUE(log);
  log->write("{\"event\":1}");
  EXPECT_EQ(file_content(path), "{\"event\":1}\n");
  log->write("{\"event\":2}");
  EXPECT_EQ(file_content(path), "{\"event\":1}\n{\"event\":2}\n");
  EXPECT_TRUE(log->close());
}

TEST(JsonLog, AFullDiskIsReportedOnce) {
  const Capture messages;
  Expected<JsonLog> log = JsonLog::open("/dev/full", {}, messages.number());
  ASSERT_TRUE(log);
  for (int i = 0; i < 3; ++i) log->write("{}");
  EXPECT_FALSE(log->close());
  EXPECT_EQ(messages.text(),
            "warning: cannot write to the log `/dev/full`: No space left on device; going on "
            "without it\n");
}

TEST(JsonLog, RefusesWhatItCannotOrMustNotWrite) {
  const TemporaryFolder folder;
  Expected<JsonLog> log = JsonLog::open(folder / "absent/log");
  ASSERT_FALSE(log);
  EXPECT_EQ(log.error().exit_code, 2);
  EXPECT_THAT(log.error().message, HasSubstr("No such file or directory"));
  EXPECT_FALSE(JsonLog::open(""));
  EXPECT_FALSE(JsonLog::open(folder.path()));
  write_file(folder / "m.fg", "model");
  std::filesystem::create_symlink("m.fg", folder / "alias");
  log = JsonLog::open(folder / "alias", {folder / "m.fg"});
  ASSERT_FALSE(log);
  EXPECT_THAT(log.error().message, HasSubstr("which would be lost"));
  EXPECT_EQ(file_content(folder / "m.fg"), "model");
}

Display display_of(const Capture& output, bool terminal) {
  Display display;
  display.descriptor = output.number();
  display.messages_descriptor = output.number();
  display.terminal = terminal;
  return display;
}

TEST(Report, PlainOutputHasNoControlCharacters) {
  const Capture output;
  Report report(display_of(output, false));
  EXPECT_FALSE(report.wants_progress());
  report.progress(1, 20, {5, 10, 0.5});
  report.epoch(record(false));
  EXPECT_EQ(output.text(), "epoch  1/20  loss 0.4042  accuracy 0.8863  1.23 s\n");
}

TEST(Report, ATerminalShowsABarAndKeepsTheFinalLine) {
  const Capture output;
  Report report(display_of(output, true));
  EXPECT_TRUE(report.wants_progress());
  report.progress(1, 20, {5, 10, 0.5});
  EXPECT_THAT(output.text(),
              HasSubstr("\repoch  1/20  [############............]  50 %  loss 0.5000  ETA "));
  report.epoch(record(false));
  // What a person sees: carriage returns go back to the line's start.
  std::string screen;
  size_t column = 0;
  size_t line_start = 0;
  for (const char character : output.text()) {
    if (character == '\r') {
      column = 0;
    } else if (character == '\n') {
      screen += '\n';
      line_start = screen.size();
      column = 0;
    } else {
      if (line_start + column >= screen.size()) screen += ' ';
      screen[line_start + column++] = character;
    }
  }
  const std::string expected = "epoch  1/20  loss 0.4042  accuracy 0.8863  1.23 s";
  EXPECT_EQ(screen.substr(0, expected.size()), expected);
  EXPECT_EQ(screen.find_first_not_of(' ', expected.size()), screen.size() - 1) << screen;
  EXPECT_EQ(output.text().find('\x1b'), std::string::npos);
}

TEST(Report, QuietPrintsNoEpochs) {
  const Capture output;
  Display display = display_of(output, true);
  display.quiet = true;
  Report report(display);
  report.progress(1, 20, {5, 10, 0.5});
  report.epoch(record(true));
  EXPECT_EQ(output.text(), "");
}

TEST(Report, AClosedReaderIsReportedOnce) {
  const IgnoredSignal no_pipe_signal(SIGPIPE);
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  close(ends[0]);
  const FileDescriptor writer(ends[1]);
  const Capture messages;
  Display display;
  display.descriptor = writer.number();
  display.messages_descriptor = messages.number();
  Report report(display);
  for (int i = 0; i < 3; ++i) report.epoch(record(false));
  EXPECT_TRUE(report.failed());
  EXPECT_EQ(messages.text(),
            "warning: cannot write to the standard output: Broken pipe; going on without it\n");
}

}  // namespace
}  // namespace fusegrad::runtime
