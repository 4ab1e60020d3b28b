// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Training on each kind of data, from the model file to the loss.
#include "runtime/core/readers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <set>

#include "frontend/data_readers.h"
#include "tests/driver/tool.h"
#include "tests/runtime/array_files.h"

namespace fusegrad::test {
namespace {

using testing::HasSubstr;

/// Writes `text` as model.fg into the folder and trains it there.
ToolRun train(const std::string& folder, const std::string& text) {
  write_file(folder + "/model.fg", text);
  return run_tool({"train", folder + "/model.fg", "--threads", "2"});
}

/// The value behind `name` in the last line that has it.
double last_value(const ToolRun& run, const std::string& name) {
  const size_t at = run.output.rfind(name + " ");
  EXPECT_NE(at, std::string::npos) << run.output << run.errors;
  return at == std::string::npos ? 0 : std::atof(run.output.c_str() + at + name.size() + 1);
}

TEST(Readers, TheTablesOfFrontEndAndRuntimeHaveTheSameNames) {
  std::set<std::string_view> written;
  for (const frontend::ReaderSignature& signature : frontend::reader_signatures()) {
    EXPECT_TRUE(signature.text.starts_with(std::string(signature.name) + "("));
    // The front end turns it into what reads the other input.
    if (signature.name != "shift") written.insert(signature.name);
  }
  std::set<std::string_view> known;
  for (const runtime::Reader& reader : runtime::readers()) known.insert(reader.name);
  EXPECT_EQ(written, known);
}

/// 120 people; who is old and has the plan `plus` leaves.
std::string people() {
  std::string table = "id;age;plan;height;left\n";
  uint32_t bits = 7;
  for (int i = 0; i < 120; ++i) {
    bits = bits * 1664525U + 1013904223U;
    const uint32_t age = 20 + (bits >> 8) % 60;
    const bool plus = (bits >> 20 & 1) != 0;
    table += fmt::format("{};{};{};{};{}\n", i, age, plus ? "plus" : "\"basic\"",
                         1.5 + (bits >> 24) % 50 / 100.0, age > 50 && plus ? 1 : 0);
  }
  return table;
}

std::string people_model(const std::string& rows_of_test) {
  return R"(
const Rows = 100
model people {
  input numbers: f32[B, 2]
  input plan: u8[B] in 0..2
  input leaves: u8[B] in 0..2
  x[b, j in 0..3] = if j < 2 then numbers[b, j else 0] else real(plan[b])
  z = reshape(dense(relu(dense(x, 16)), 1), [B])
  loss = mean(squared_error(z, real(leaves)))
  metric hits = mean(b: if (z[b] > 0.5) == (leaves[b] == 1) then 1 else 0)
}
data table {
  train { numbers = csv("people.csv", columns = ["age", "height"], standardise = true,
                        rows = [0, Rows], separator = ";")
          plan    = csv("people.csv", column = 2, categories = ["basic", "plus"], rows = [0, Rows], separator = ";")
          leaves  = csv("people.csv", column = "left", rows = [0, Rows], separator = ";") }
  test  { numbers = csv("people.csv", columns = ["age", "height"], standardise = true,
                        rows = )" +
         rows_of_test + R"(, separator = ";")
          plan    = csv("people.csv", column = 2, categories = ["basic", "plus"], rows = [100, 120], separator = ";")
          leaves  = csv("people.csv", column = "left", rows = [100, 120], separator = ";") }
}
train { batch = 20  epochs = 60  optimizer = momentum(lr = 0.05)  seed = 3 }
)";
}

TEST(Readers, CsvTrains) {
  const std::string folder = make_folder("csv");
  write_file(folder + "/people.csv", people());
  const ToolRun run = train(folder, people_model("[100, 120]"));
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  EXPECT_THAT(run.errors, HasSubstr("data  train.numbers  " + folder + "/people.csv  f32[100, 2]"));
  EXPECT_THAT(run.errors, HasSubstr("data  train.plan  " + folder + "/people.csv  u8[100]"));
  EXPECT_THAT(run.errors, HasSubstr("data  test.leaves  " + folder + "/people.csv  u8[20]"));
  EXPECT_GT(last_value(run, "val_hits"), 0.85) << run.output;
}

TEST(Readers, CsvNamesLineAndColumnAtThePlaceInTheModel) {
  const std::string folder = make_folder("csv_wrong");
  std::string table = people();
  const size_t line = table.find("\n41;") + 1;
  table.replace(line, table.find(';', line + 3) - line, "41;");
  write_file(folder + "/people.csv", table);
  ToolRun run = train(folder, people_model("[100, 120]"));
  EXPECT_EQ(run.exit_code, 4);
  EXPECT_THAT(run.errors, HasSubstr("`" + folder +
                                    "/people.csv`, line 43, column 1 (`age`): the "
                                    "value is missing"));
  EXPECT_THAT(run.errors, HasSubstr("model.fg:13:25"));
  write_file(folder + "/people.csv", people());
  run = train(folder, people_model("[100, 121]"));
  EXPECT_EQ(run.exit_code, 4);
  EXPECT_THAT(run.errors, HasSubstr("expected rows 100 to 120, as `rows` says; the file has 120"));
}

TEST(Readers, NpzTrains) {
  const std::string folder = make_folder("npz");
  std::vector<float> points;
  std::vector<int32_t> sides;
  for (int i = 0; i < 96; ++i) {
    const int x = i * 37 % 96 - 48;
    const int y = i * 53 % 96 - 48;
    points.push_back(static_cast<float>(x) / 48);
    points.push_back(static_cast<float>(y) / 48);
    sides.push_back(x + y > 0 ? 1 : 0);
  }
  using runtime::bytes_of;
  write_file(
      folder + "/points.npz",
      runtime::zip_archive({{"point.npy", runtime::npy("<f4", "(96, 2)", bytes_of(points))},
                            {"sides.npy", runtime::npy("<i4", "(96,)", bytes_of(sides)), true}},
                           runtime::ZipSizes::numpy));
  const std::string model = R"(
model sides {
  input point: f32[B, 2]
  input side: i32[B] in 0..2
  logits = dense(point, 2)
  loss = mean(cross_entropy(logits, side))
  metric hits = mean(b: if argmax(k: logits[b, k]) == side[b] then 1 else 0)
}
data points {
  train { point = npz("points.npz")  side = npz("points.npz", array = "sides") }
  test  { point = npz("points.npz")  side = npz("points.npz", "sides") }
}
train { batch = 32  epochs = 60  optimizer = sgd(lr = 0.5) }
)";
  ToolRun run = train(folder, model);
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  EXPECT_THAT(run.errors, HasSubstr("data  train.point  " + folder + "/points.npz  f32[96, 2]"));
  EXPECT_THAT(run.errors, HasSubstr("data  test.side  " + folder + "/points.npz  i32[96]"));
  EXPECT_GT(last_value(run, "val_hits"), 0.95) << run.output;

  std::string other = model;
  other.replace(other.find("array = \"sides\""), 15, "array = \"labels\"");
  run = train(folder, other);
  EXPECT_EQ(run.exit_code, 4);
  EXPECT_THAT(run.errors, HasSubstr("holds no array `labels`"));
  EXPECT_THAT(run.errors, HasSubstr("it holds `point`, `sides`"));
}

TEST(Readers, CharsAndShiftTrain) {
  const std::string folder = make_folder("chars");
  std::string text;
  for (int i = 0; i < 100; ++i) text += "one two three\n";
  write_file(folder + "/text", text);
  // The different bytes: a line end, a space, e h n o r t w: nine.
  const std::string model = R"(
model letters {
  input text: u8[B, 16] in 0..9
  input next: u8[B, 16] in 0..9
  param table: real[9, 9] = 0.1 * normal()
  logits[b, t, d] = table[text[b, t], d]
  nll = cross_entropy(logits, next)
  loss = mean(nll)
}
data letters {
  train { text = chars("text", 0.0, 0.75)  next = shift(text, 1) }
  test  { text = chars("text", 0.75, 1.0)  next = shift(text, by = 1) }
}
train { batch = 8  epochs = 40  optimizer = sgd(lr = 5.0) }
)";
  ToolRun run = train(folder, model);
  ASSERT_EQ(run.exit_code, 0) << run.errors;
  // (1050 - 1) / 16 and (350 - 1) / 16 windows.
  EXPECT_THAT(run.errors, HasSubstr("data  train.text  " + folder + "/text  u8[65, 16]"));
  EXPECT_THAT(run.errors, HasSubstr("data  train.next  " + folder + "/text  u8[65, 16]"));
  EXPECT_THAT(run.errors, HasSubstr("data  test.next  " + folder + "/text  u8[21, 16]"));
  // What follows `e`, `o`, `t` and ` ` is not certain; guessing among nine letters costs 2.2.
  EXPECT_LT(last_value(run, "val_loss"), 0.7) << run.output;

  write_file(folder + "/text", text + "!");
  run = train(folder, model);
  EXPECT_EQ(run.exit_code, 4);
  EXPECT_THAT(run.errors, HasSubstr("error[E0702]"));
  EXPECT_THAT(run.errors, HasSubstr("holds 10 different bytes, which become 0 to 9"));
  EXPECT_THAT(run.errors, HasSubstr("declare `in 0..10`"));
}

TEST(Readers, RawAndNpyReadTheSameNumbers) {
  const std::string folder = make_folder("raw");
  std::vector<double> numbers;
  for (int i = 0; i < 64; ++i) numbers.push_back(i % 7 - 3);
  const std::string bytes = runtime::bytes_of(numbers);
  write_file(folder + "/numbers.npy", runtime::npy("<f8", "(16, 4)", bytes));
  write_file(folder + "/numbers.bin", "header" + bytes);
  const auto text = [&](const std::string& reader) {
    return R"(
model line {
  input x: f64[B, 4]
  s[b] = sum(j: x[b, j])
  loss = mean(squared_error(reshape(dense(x, 1), [B]), s))
}
data numbers { train { x = )" +
           reader + R"( } }
train { batch = 8  epochs = 5  optimizer = sgd(lr = 0.01)  precision = f64 }
)";
  };
  const ToolRun npy = train(folder, text("npy(\"numbers.npy\")"));
  ASSERT_EQ(npy.exit_code, 0) << npy.errors;
  for (const char* raw : {"raw(\"numbers.bin\", offset = 6)",
                          "raw(\"numbers.bin\", 6, shape = [16, 4], type = f64)"}) {
    const ToolRun run = train(folder, text(raw));
    ASSERT_EQ(run.exit_code, 0) << run.errors;
    EXPECT_EQ(last_value(run, "loss"), last_value(npy, "loss"));
  }
  const ToolRun run = train(folder, text("raw(\"numbers.bin\", 6, type = f32)"));
  EXPECT_EQ(run.exit_code, 4);
  EXPECT_THAT(run.errors, HasSubstr("holds f32[32, 4], which is f32[4] a record"));
}

}  // namespace
}  // namespace fusegrad::test
